"""Namespaces: setns(2), unshare(2), the clone flags, and what the kernel says about each (ioctl_nsfs(2)).

``KINDS`` maps the names of the runtime specification to the flag and to the file in ``/proc/<pid>/ns``.
"""

from __future__ import annotations

import fcntl
import os

from .syscall import check, libc

CLONE_NEWTIME = 0x80
CLONE_NEWNS = 0x20000
CLONE_NEWCGROUP = 0x2000000
CLONE_NEWUTS = 0x4000000
CLONE_NEWIPC = 0x8000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

KINDS: dict[str, tuple[int, str]] = {
    "user": (CLONE_NEWUSER, "user"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "uts": (CLONE_NEWUTS, "uts"),
    "network": (CLONE_NEWNET, "net"),
    "pid": (CLONE_NEWPID, "pid"),
    "time": (CLONE_NEWTIME, "time"),
    "mount": (CLONE_NEWNS, "mnt"),
}

_NS_GET_USERNS = 0xB701
_NS_GET_NSTYPE = 0xB703
_SIOCGSKNS = 0x894C


def setns(descriptor: int, kinds: int = 0) -> None:
    """Join the namespace of ``descriptor``, or with a pidfd all of that process's ``kinds`` at once."""
    check(libc.setns(descriptor, kinds))


def unshare(kinds: int) -> None:
    """Leave the shared namespaces of ``kinds`` for new ones."""
    check(libc.unshare(kinds))


def kind_of(descriptor: int) -> int:
    """Return the CLONE_NEW* flag of the namespace that ``descriptor`` is open on (ENOTTY: it is none)."""
    return fcntl.ioctl(descriptor, _NS_GET_NSTYPE)


def owner_of(descriptor: int) -> int:
    """Return a descriptor of the user namespace that owns the namespace ``descriptor``."""
    owner = fcntl.ioctl(descriptor, _NS_GET_USERNS)
    os.set_inheritable(owner, False)
    return owner


def open_namespace(kind: str, pid: int | str = "self") -> int:
    """Return a descriptor of a process's namespace of ``kind``, a key of ``KINDS``."""
    return os.open(f"/proc/{pid}/ns/{KINDS[kind][1]}", os.O_RDONLY | os.O_CLOEXEC)


def of_socket(descriptor: int) -> int:
    """Return a descriptor of the network namespace that a socket is in (SIOCGSKNS, linux/sockios.h)."""
    found = fcntl.ioctl(descriptor, _SIOCGSKNS)
    os.set_inheritable(found, False)
    return found


def inode(kind: str, pid: int | str = "self") -> int:
    """Return the inode number by which the kernel names a namespace: that of the link in /proc/<pid>/ns."""
    return os.stat(f"/proc/{pid}/ns/{KINDS[kind][1]}").st_ino
