"""Views of the cgroup file system, and processes to put into a cgroup.

    host  what the machine has
    v1    without the cgroup2 mount of a hybrid host
    v2    cgroup2 alone on /sys/fs/cgroup; on a hybrid host with the few controllers that v1 does not hold

The two others exist in a mount namespace that the test process enters for the time of a test, so nothing
changes for anyone else: what is in the hierarchies is the same in every view.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import probe

if TYPE_CHECKING:
    from mydocker.runtime.cgroup import Cgroup

PARENT = "/mydocker-tests"
"""Where tests make theirs."""
MEGABYTE = 1 << 20

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
MS_REC_PRIVATE = 0x4000 | 1 << 18
MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def missing(kind: str) -> str | None:
    """Why this host has no such view, or why it would show nothing new; else None."""
    found = probe.cgroup_hierarchies()
    if kind == "v1" and not found.keys() - {""}:
        return "needs cgroup v1, which this host does not mount"
    if (kind == "v1" and "" not in found) or (kind == "v2" and not found.keys() - {""}):
        return f"{kind} is all that this host has, so the test ran in the view of the host"
    return None


def views() -> list[str]:
    """The host's own view, and those that show something else."""
    return [kind for kind in ("host", "v1", "v2") if missing(kind) is None]


@contextlib.contextmanager
def view(kind: str) -> Iterator[None]:
    """Be in a mount namespace of one's own with only that kind of hierarchy."""
    found = probe.cgroup_hierarchies()
    if kind == "host" or missing(kind):
        yield
        return
    home = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    directory = os.getcwd()
    try:
        _check(_libc.unshare(CLONE_NEWNS), "unshare(CLONE_NEWNS)")
        try:
            _check(_libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "mount --make-rprivate /")
            if kind == "v1":
                _check(_libc.umount2(found[""].encode(), MNT_DETACH), f"umount {found['']}")
            else:
                _check(_libc.umount2(b"/sys/fs/cgroup", MNT_DETACH), "umount --lazy /sys/fs/cgroup")
                _check(_libc.mount(b"cgroup2", b"/sys/fs/cgroup", b"cgroup2", 0xE, None), "mount cgroup2")
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNS), "setns to the mount namespace of before")
            os.chdir(directory)
    finally:
        os.close(home)


class Member:
    """A child that runs ``function`` in a cgroup; end it with ``end``, or kill the group and ``wait``."""

    def __init__(self, cgroup: Cgroup, function: Callable[[], int | None]):
        from mydocker.linux.process import clone3

        ready, told = os.pipe()
        cgroup.open_join()
        self.pid, self.pidfd = clone3(cgroup=cgroup.fd)
        if self.pid == 0:
            _child(cgroup.join, told, function)
        os.close(told)
        with os.fdopen(ready, "rb") as answer:
            if answer.read(1) != b"y":
                os.waitpid(self.pid, 0)
                raise AssertionError("the process could not join the cgroup")

    def wait(self) -> int:
        """Exit status, or minus the signal."""
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def cgroups(self) -> str:
        with open(f"/proc/{self.pid}/cgroup") as handle:
            return handle.read()


def _child(join: Callable[[], None], told: int, function: Callable[[], int | None]) -> None:
    code = 99
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        join()
        os.write(told, b"y")
        os.close(told)
        code = function() or 0
    finally:
        os._exit(code)


def idle() -> None:
    while True:
        signal.pause()


def spin() -> None:
    while True:
        pass


def can_freeze() -> bool:
    from mydocker.linux.cgroup.hierarchy import discover

    return any(hierarchy.unified or "freezer" in hierarchy.controllers for hierarchy in discover())


def freezer(pid: int) -> Callable[[], bool]:
    """Reads from the kernel whether the cgroup of a process is frozen."""
    places = probe.cgroup_hierarchies()
    with open(f"/proc/{pid}/cgroup") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, names, path in lines:
        if names == "" and "" in places:
            file_ = f"{places['']}{path}/cgroup.events"
            if os.path.exists(file_):
                return lambda: "frozen 1" in Path(file_).read_text()
    (path,) = [path for _, names, path in lines if names == "freezer"]
    return lambda: Path(f"{places['freezer']}{path}/freezer.state").read_text() != "THAWED\n"


def shared_page() -> mmap.mmap:
    """Memory that children share with the test."""
    return mmap.mmap(-1, mmap.PAGESIZE)


def enter_cgroup_namespace() -> None:
    """Leave for a cgroup and a mount namespace of one's own, with what is seen of v2 on /sys/fs/cgroup."""
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWCGROUP), "unshare(CLONE_NEWNS | CLONE_NEWCGROUP)")
    _check(_libc.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "mount --make-rprivate /")
    _check(_libc.umount2(b"/sys/fs/cgroup", MNT_DETACH), "umount --lazy /sys/fs/cgroup")
    _check(_libc.mount(b"cgroup2", b"/sys/fs/cgroup", b"cgroup2", 0xE, None), "mount cgroup2")


def enable_in(cgroup: Cgroup, controller: str) -> None:
    """Let the v2 cgroups below this one use a controller."""
    with open(f"{cgroup.paths()['unified']}/cgroup.subtree_control", "w") as handle:
        handle.write(f"+{controller}")


def enable_below(cgroup: Cgroup, controller: str) -> None:
    """Let this v2 cgroup use a controller, by way of all those above it."""
    mount = probe.cgroup_hierarchies()[""]
    directory = mount
    for name in os.path.relpath(cgroup.paths()["unified"], mount).split("/"):
        with open(f"{directory}/cgroup.subtree_control", "w") as handle:
            handle.write(f"+{controller}")
        directory = f"{directory}/{name}"


@contextlib.contextmanager
def undone_controllers() -> Iterator[None]:
    """Switch off again, at the root of v2, the controllers that were switched on meanwhile."""
    file = f"{probe.cgroup_hierarchies().get('', '')}/cgroup.subtree_control"
    if not os.path.exists(file):
        yield
        return
    with open(file) as handle:
        before = set(handle.read().split())
    try:
        yield
    finally:
        with open(file) as handle:
            new = set(handle.read().split()) - before
        if new:
            with open(file, "w") as handle:
                handle.write(" ".join(f"-{controller}" for controller in new))


def controllers() -> set[str]:
    """What can be limited in this view, by the v1 names."""
    from mydocker.linux.cgroup.hierarchy import discover

    found: set[str] = set()
    for hierarchy in discover():
        if hierarchy.unified:
            with open(f"{hierarchy.mount}/cgroup.controllers") as names:
                found.update({"io": "blkio"}.get(name, name) for name in names.read().split())
        else:
            found.update(hierarchy.controllers)
    return found


def need(controller: str) -> bool:
    """Skip without the controller; else say whether it is one of v2 here."""
    from mydocker.linux.cgroup.hierarchy import discover

    if controller not in controllers():
        pytest.skip(f"needs the cgroup controller {controller}, which this view of the kernel does not have")
    return not any(controller in hierarchy.controllers for hierarchy in discover())


def values(cgroup: Cgroup) -> dict[str, str]:
    """What ``describe`` reads back, by the name of the file."""
    return {os.path.basename(path): value for path, value in cgroup.describe()}


def existing(cgroup: Cgroup) -> list[str]:
    return [path for path in cgroup.paths().values() if os.path.exists(path)]


def eat_and_wait(size: int) -> None:
    memory = bytearray(size)
    for place in range(0, size, 4096):
        memory[place] = 1
    idle()


def usage(cgroup: Cgroup) -> int:
    memory = cgroup.stats().memory
    assert memory is not None
    return memory.usage
