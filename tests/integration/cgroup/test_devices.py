"""Device rules as the kernel applies them: the list of v1 and the program of v2 give the same answers."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from mydocker.errors import NotSupported
from mydocker.linux import bpf, bpf_device
from mydocker.linux.cgroup.hierarchy import discover
from mydocker.runtime import cgroup as cgroups
from support import cgroups as support
from support.cgroups import Member

PATH = "/mydocker-tests/devices"
NULL, ZERO, KMSG = (1, 3), (1, 5), (1, 11)
ACCESS = {"r": os.O_RDONLY, "w": os.O_WRONLY}


@pytest.fixture(autouse=True)
def need_device_rules(view: str) -> None:
    if view == "v1" and not any("devices" in h.controllers for h in discover()):
        pytest.skip("needs the devices controller of v1")


@pytest.fixture
def nodes() -> Iterator[str]:
    """A directory where device nodes work, whatever /tmp is mounted with."""
    with tempfile.TemporaryDirectory(dir="/dev") as directory:
        for major, minor in (NULL, ZERO, KMSG):
            os.mknod(f"{directory}/{major}:{minor}", stat.S_IFCHR | 0o600, os.makedev(major, minor))
        yield directory


def rule(text: str) -> Any:
    """``+ c 1:11 rw``: allow; ``- a``: deny everything."""
    sign, kind, *rest = text.split()
    found: dict[str, Any] = {"allow": sign == "+", "type": kind, "access": "rwm"}
    if rest:
        numbers, found["access"] = rest
        for name, number in zip(("major", "minor"), numbers.split(":"), strict=True):
            if number != "*":
                found[name] = int(number)
    return found


def permitted(cgroup: cgroups.Cgroup, nodes: str) -> set[str]:
    """What a process in the cgroup may do, as ``1:11 r``, tried out."""
    page = support.shared_page()

    def attempt() -> None:
        answers = []
        for major, minor in (NULL, ZERO, KMSG):
            for letter, flags in ACCESS.items():
                with contextlib.suppress(PermissionError):
                    os.close(os.open(f"{nodes}/{major}:{minor}", flags | os.O_NONBLOCK))
                    answers.append(f"{major}:{minor} {letter}")
            # The kernel lets everyone make a 0/0 node (a whiteout), and asks for all others.
            with contextlib.suppress(PermissionError):
                os.mknod(f"{nodes}/new", stat.S_IFBLK | 0o600, os.makedev(major, minor))
                os.unlink(f"{nodes}/new")
                answers.append(f"{major}:{minor} m")
        page.write("\n".join(answers).encode())

    assert Member(cgroup, attempt).wait() == 0
    return set(page[:].rstrip(b"\0").decode().splitlines())


NODES_OF_ALL = {"1:3 m", "1:5 m", "1:11 m"}
PROMISED = {"1:3 r", "1:3 w", "1:5 r", "1:5 w"} | NODES_OF_ALL
ALL = PROMISED | {"1:11 r", "1:11 w"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([], PROMISED),
        (["- a"], PROMISED),
        (["- a", "+ c 1:11 r"], PROMISED | {"1:11 r"}),
        (["- a", "+ c 1:11 rw"], ALL),
        (["- a", "+ c 1:* w"], PROMISED | {"1:11 w"}),
        (["- a", "+ c *:* rwm"], ALL),
        (["- a", "+ c 1:11 rw", "- c 1:11 w"], PROMISED | {"1:11 r"}),
        (["- a", "+ c 1:11 rw", "- c *:* rwm"], PROMISED),
        (["+ c 1:11 rw", "- a"], PROMISED),
        (["- a", "+ a"], ALL),
        (["+ a", "- c 1:11 w"], ALL - {"1:11 w"}),
        (["+ a", "- c 1:5 rw", "+ c 1:5 r"], ALL - {"1:5 w"}),
        (["+ a", "- b *:* m"], ALL - NODES_OF_ALL),
    ],
    ids=lambda value: " , ".join(value) if isinstance(value, list) else "",
)
def test_rules(nodes: str, rules: list[str], expected: set[str]) -> None:
    cgroup = cgroups.prepare(PATH, {"devices": [rule(text) for text in rules]})
    try:
        assert permitted(cgroup, nodes) == expected
    finally:
        cgroup.remove()


def test_an_update_replaces_the_list(nodes: str) -> None:
    cgroup = cgroups.prepare(PATH, {"devices": [rule("- a"), rule("+ c 1:11 r")]})
    try:
        for rules, expected in (
            (["- a", "+ c 1:11 w"], PROMISED | {"1:11 w"}),
            (["- a", "+ c 1:11 rw"], ALL),
            (["- a"], PROMISED),
            (["+ a"], ALL),
            (["- a", "+ c 1:11 r"], PROMISED | {"1:11 r"}),
        ):
            cgroup.update({"devices": [rule(text) for text in rules]})
            assert permitted(cgroup, nodes) == expected, rules
    finally:
        cgroup.remove()


def test_what_v1_would_ignore_is_refused_and_v2_does_it(nodes: str) -> None:
    resources: Any = {"devices": [rule("- a"), rule("+ c 1:* rw"), rule("- c 1:11 w")]}
    if any("devices" in h.controllers for h in discover()):
        with pytest.raises(NotSupported, match=r"device rule c 1:11 w: cgroup v1 cannot"):
            cgroups.prepare(PATH, resources)
        return
    cgroup = cgroups.prepare(PATH, resources)
    try:
        assert permitted(cgroup, nodes) == PROMISED | {"1:11 r"}
    finally:
        cgroup.remove()


def test_there_is_one_program_at_any_time(view: str) -> None:
    if view == "v1" or any("devices" in h.controllers for h in discover()):
        pytest.skip("here the devices controller of v1 decides")
    cgroup = cgroups.prepare(PATH, {})
    try:
        assert cgroup.fd is not None
        first = bpf.query(cgroup.fd)
        assert cgroup.describe()[-1][1] == f"program {first[0]}"
        cgroup.update({"devices": [rule("- a")]})
        second = bpf.query(cgroup.fd)
        assert (len(first), len(second)) == (1, 1)
        assert first != second
        cgroup.update({"devices": [rule("+ a")]})
        assert bpf.query(cgroup.fd) == []
    finally:
        cgroup.remove()


def test_the_verifier_is_quoted() -> None:
    """A program that reads a register that was never set."""
    code = bpf.instruction(bpf.BPF_ALU | bpf.BPF_MOV | bpf.BPF_X, 0, 7) + bpf.instruction(
        bpf.BPF_JMP | bpf.BPF_EXIT
    )
    with pytest.raises(OSError, match=r"the kernel refuses the BPF program: "):
        os.close(bpf.load(code))
    os.close(bpf.load(bpf_device.program(False, [])))
