"""``--pid``, ``--ipc``, ``--uts``, ``--cgroupns``, ``--userns``, ``--network``: whose namespace it is."""

from __future__ import annotations

import os
import re

import pytest

from support import probe
from support.command import Runner


def namespace(kind: str) -> str:
    return f"readlink /proc/self/ns/{kind}"


@pytest.mark.parametrize(
    ("flag", "kinds"),
    [
        ("--pid", ["pid"]),
        ("--ipc", ["ipc"]),
        ("--uts", ["uts"]),
        ("--cgroupns", ["cgroup"]),
        ("--network", ["net"]),
        ("--userns", ["user"]),
    ],
)
def test_namespace_of_the_host(mydocker: Runner, image: str, flag: str, kinds: list[str]) -> None:
    for kind in kinds:
        host = os.readlink(f"/proc/self/ns/{kind}")
        assert mydocker("run", "--rm", flag, "host", image, "sh", "-c", namespace(kind)).line == host


@pytest.mark.parametrize("kind", ["mnt", "pid", "ipc", "uts", "net", "cgroup"])
def test_namespace_of_its_own_by_default(mydocker: Runner, image: str, kind: str) -> None:
    host = os.readlink(f"/proc/self/ns/{kind}")
    found = mydocker("run", "--rm", image, "sh", "-c", namespace(kind)).line
    assert re.fullmatch(rf"{kind}:\[\d+\]", found)
    if kind == "cgroup" and probe.cgroup_hierarchies().keys() != {""}:
        return  # Docker's default is the host's on v1, a private one on v2
    assert found != host


@pytest.mark.parametrize(
    ("flag", "kind", "other"),
    [("--pid", "pid", ()), ("--ipc", "ipc", ("--ipc", "shareable")), ("--network", "net", ())],
)
def test_namespace_of_another_container(
    mydocker: Runner, image: str, flag: str, kind: str, other: tuple[str, ...]
) -> None:
    container, pid = mydocker.start(image, *other)
    shared = os.readlink(f"/proc/{pid}/ns/{kind}")
    found = mydocker("run", "--rm", flag, f"container:{container}", image, "sh", "-c", namespace(kind)).line
    assert found == shared != os.readlink(f"/proc/self/ns/{kind}")


def test_cgroupns_private(mydocker: Runner, image: str) -> None:
    found = mydocker("run", "--rm", "--cgroupns", "private", image, "cat", "/proc/self/cgroup").out
    assert {line.split(":", 2)[2] for line in found.splitlines()} == {"/"}


def test_ipc_none_has_no_shm(mydocker: Runner, image: str) -> None:
    assert (
        mydocker("run", "--rm", "--ipc", "none", image, "grep", " /dev/shm ", "/proc/mounts", check=1).line
        == ""
    )
