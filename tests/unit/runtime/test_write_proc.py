"""What is written to /proc lands in the file that was meant, or nowhere (CVE-2025-52881)."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from mydocker.errors import Forbidden
from mydocker.linux import mount
from mydocker.linux.process import clone3
from mydocker.runtime.steps.limits import write_proc

pytestmark = pytest.mark.root

CLONE_NEWNS, CLONE_NEWUTS = 0x20000, 0x4000000
DOMAINNAME = "/proc/sys/kernel/domainname"
VICTIM = "/proc/self/oom_score_adj"


def isolated(action: Callable[[], object]) -> str:
    """What ``action`` returns, or raises, in mount and UTS namespaces of its own."""
    reader, writer = os.pipe()
    pid, pidfd = clone3(CLONE_NEWNS | CLONE_NEWUTS)
    if pid == 0:
        try:
            mount.mount(None, "/", None, mount.MS_PRIVATE | mount.MS_REC)
            try:
                said = str(action())
            except (Forbidden, OSError) as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        said = file.read()
    os.waitpid(pid, 0)
    os.close(pidfd)
    return said


def read(name: str) -> str:
    with open(name) as file:
        return file.read().strip()


@pytest.mark.parametrize(
    ("name", "shown"), [(DOMAINNAME, DOMAINNAME), ("/proc/thread-self/comm", "/proc/self/comm")]
)
def test_it_writes(name: str, shown: str) -> None:
    def change() -> str:
        write_proc(name, "one")
        return read(shown)

    assert isolated(change) == "one"


def test_another_file_of_procfs_bound_over_it_is_not_written() -> None:
    def attack() -> str:
        mount.mount(VICTIM, DOMAINNAME, None, mount.MS_BIND)
        try:
            write_proc(DOMAINNAME, "500")
        except Forbidden as error:
            return f"{error}, victim {read(VICTIM)}"
        return f"written, victim {read(VICTIM)}"

    assert (
        isolated(attack)
        == f"{DOMAINNAME} is not on procfs: something is mounted over it, victim {read(VICTIM)}"
    )


def test_a_tmpfs_in_its_place_is_refused() -> None:
    def attack() -> None:
        mount.mount("tmpfs", "/proc/sys/kernel", "tmpfs")
        open(DOMAINNAME, "w").close()
        write_proc(DOMAINNAME, "x")

    assert isolated(attack).startswith("Forbidden")

    def all_of_proc() -> None:
        mount.mount("tmpfs", "/proc", "tmpfs")
        os.makedirs("/proc/sys/kernel")
        os.symlink("/etc/hostname", DOMAINNAME)
        write_proc(DOMAINNAME, "x")

    assert isolated(all_of_proc) == "Forbidden: /proc is not the root of procfs"


def test_a_part_of_procfs_in_the_place_of_its_root() -> None:
    def attack() -> None:
        mount.mount("/proc/1", "/proc", None, mount.MS_BIND)
        write_proc("/proc/comm", "x")

    assert isolated(attack) == "Forbidden: /proc is not the root of procfs"
