"""Control groups for the session alone, which look like the roots of their hierarchies from inside.

    outside                                        inside
    /sys/fs/cgroup/memory/…/mydocker-tests-4711    /sys/fs/cgroup/memory
    /sys/fs/cgroup/unified/…/mydocker-tests-4711   /sys/fs/cgroup/unified
      session                                        session

(``session`` is where pytest is: v2 wants no process in a group that has groups below it.)

Inside, a cgroup namespace makes the paths of /proc/self/cgroup agree with that. So containers that something
else runs on this machine at the same time are not seen, and what a test leaves goes with the session.

``make`` and ``remove`` run outside of the session, ``enter`` in its first process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

LEAF = "session"
PATIENCE = 5.0


@dataclass(frozen=True)
class Group:
    """One hierarchy. ``controllers`` as in /proc/self/cgroup; ``parent`` is an open directory."""

    place: str
    parent: int
    path: str
    name: str
    controllers: str

    @property
    def unified(self) -> bool:
        return not self.controllers


def make(name: str) -> list[Group]:
    """A group below the caller's own in every hierarchy that is mounted and can be written to."""
    own = _own_paths()
    made = []
    for place, kind, root, options in _mounts():
        key = "" if kind == "cgroup2" else _key(options, own)
        if key not in own:
            continue
        below = os.path.relpath(own[key], root)
        parent = os.path.normpath(os.path.join(place, below))
        try:
            os.mkdir(os.path.join(parent, name))
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                continue
            raise
        fd = os.open(parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        made.append(Group(place, fd, os.path.join(parent, name), name, key))
    return made


def enter(groups: list[Group], unshare: Callable[[], None], mount: Callable[[str, str, str], None]) -> None:
    """Join every group, ``unshare`` the cgroup namespace, and mount each hierarchy as it looks then.

    ``mount`` takes a type, options and a place; what is mounted there goes first.
    """
    for group in groups:
        if not group.unified:
            _inherit(group.path, "cpuset.cpus")
            _inherit(group.path, "cpuset.mems")
        else:
            _delegate(os.path.dirname(group.path))
        _write(os.path.join(group.path, "cgroup.procs"), "0")
    unshare()
    for group in groups:
        if group.unified:
            leaf = os.path.join(group.path, LEAF)
            os.mkdir(leaf)
            _write(os.path.join(leaf, "cgroup.procs"), "0")
    for group in groups:
        if group.unified:
            mount("cgroup2", "", group.place)
        else:
            named = group.controllers.startswith("name=")
            mount("cgroup", f"none,{group.controllers}" if named else group.controllers, group.place)


def remove(groups: list[Group]) -> None:
    """Remove them with all that is left below, once the last process is gone."""
    end = time.monotonic() + PATIENCE
    for group in groups:
        while not _remove(group):
            if time.monotonic() > end:
                raise TimeoutError(f"{group.path} still has processes")
            time.sleep(0.02)
        os.close(group.parent)


def _remove(group: Group) -> bool:
    try:
        for directory, _, _, fd in os.fwalk(group.name, topdown=False, dir_fd=group.parent):
            for name in os.listdir(fd):
                with contextlib.suppress(NotADirectoryError, FileNotFoundError, PermissionError):
                    os.rmdir(name, dir_fd=fd)
            assert directory
        os.rmdir(group.name, dir_fd=group.parent)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
            raise
        return False
    return True


def _inherit(path: str, name: str) -> None:
    """A new v1 cpuset is empty, and takes no process until it has processors and memory nodes."""
    file = os.path.join(path, name)
    if os.path.exists(file) and not _read(file):
        _write(file, _read(os.path.join(os.path.dirname(path), name)))


def _delegate(parent: str) -> None:
    """Ask for every controller; a parent that has processes, unless it is the root, cannot give any."""
    for controller in _read(os.path.join(parent, "cgroup.controllers")).split():
        with contextlib.suppress(OSError):
            _write(os.path.join(parent, "cgroup.subtree_control"), f"+{controller}")


def _own_paths() -> dict[str, str]:
    """``memory`` -> the path of our group in that hierarchy; v2 is ``""``."""
    with open("/proc/self/cgroup") as lines:
        fields = [line.rstrip("\n").split(":", 2) for line in lines]
    return {controllers: path for _, controllers, path in fields}


def _key(options: str, own: dict[str, str]) -> str:
    """The hierarchy that a v1 mount's options name, as /proc/self/cgroup spells it."""
    words = set(options.split(","))
    return next((key for key in own if key and set(key.split(",")) <= words), "none")


def _mounts() -> list[tuple[str, str, str, str]]:
    """(mount point, type, root, super options) of every cgroup mount."""
    found = []
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            before, _, after = line.rstrip("\n").partition(" - ")
            kind, _, options = after.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                fields = before.split(" ")
                found.append((fields[4], kind, fields[3], options))
    return found


def _read(path: str) -> str:
    with open(path) as handle:
        return handle.read().strip()


def _write(path: str, text: str) -> None:
    with open(path, "w") as handle:
        handle.write(text)
