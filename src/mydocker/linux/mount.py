"""Mounts: the file-descriptor calls of Linux 5.2 and later, and the two old calls that they do not replace.

In scope: open_tree(2), move_mount(2), fsopen(2), fspick(2), fsconfig(2), fsmount(2), mount_setattr(2),
mount(2), umount2(2), pivot_root(2), fstatfs(2), under their man-page names and with the kernel's constants.
A mount that exists only as a descriptor ("detached") is in no mount table and is gone when the descriptor is
closed, so that it needs no undoing. Out of scope: which mounts a container has (``runtime/steps/``).
"""

from __future__ import annotations

import errno
import os

from . import native as ctypes
from .syscall import check, libc, syscall

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

# linux/mount.h: mount(2)
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

# of open_tree and move_mount
OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
MOVE_MOUNT_F_EMPTY_PATH = 0x04
MOVE_MOUNT_T_EMPTY_PATH = 0x40

# of fsopen, fspick, fsconfig and fsmount
FSOPEN_CLOEXEC = 1
FSPICK_CLOEXEC = 0x01
FSPICK_EMPTY_PATH = 0x08
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
FSCONFIG_CMD_RECONFIGURE = 7
FSMOUNT_CLOEXEC = 1
LONGEST_VALUE = 255
"""bytes; fsconfig(2) copies 256"""

# of mount_setattr
MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR__ATIME = 0x70
MOUNT_ATTR_RELATIME = 0x00
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000

# linux/magic.h: f_type of statfs(2)
PROC_SUPER_MAGIC = 0x9FA0
DEVPTS_SUPER_MAGIC = 0x1CD1
TMPFS_MAGIC = 0x01021994
OVERLAYFS_SUPER_MAGIC = 0x794C7630
SYSFS_MAGIC = 0x62656572
CGROUP_SUPER_MAGIC = 0x27E0EB
CGROUP2_SUPER_MAGIC = 0x63677270


class _MountAttributes(ctypes.Structure):
    """``struct mount_attr``."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


class _StatFs(ctypes.Structure):
    """The head of ``struct statfs``; libc fills in 120 bytes on 64-bit machines."""

    _fields_ = (("f_type", ctypes.c_long), ("rest", ctypes.c_byte * 248))


def open_tree(path: str, flags: int = 0, dirfd: int = AT_FDCWD) -> int:
    """Return a descriptor of the mount (or, with ``OPEN_TREE_CLONE``, of a new bind mount) at ``path``."""
    try:
        return syscall("open_tree", dirfd, os.fsencode(path), flags | OPEN_TREE_CLOEXEC)
    except OSError as error:
        raise _about(error, path) from None


def move_mount(mount: int, target: int) -> None:
    """Attach the detached mount ``mount`` on the file or directory that ``target`` is open on (O_PATH)."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    syscall("move_mount", mount, b"", target, b"", flags)


def fsopen(type: str) -> int:
    """Return a descriptor of a configuration context for a file system of ``type``."""
    try:
        return syscall("fsopen", os.fsencode(type), FSOPEN_CLOEXEC)
    except OSError as error:
        raise _about(error, type) from None


def fspick(mount: int) -> int:
    """Return a descriptor of a configuration context for the file system that ``mount`` is open on the top
    of; EINVAL if that is no mount point."""
    return syscall("fspick", mount, b"", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH)


def fsconfig(context: int, key: str, value: str | None = None) -> None:
    """Set the option ``key`` to ``value`` (at most 255 bytes), or the flag ``key`` without one.

    A failure carries what the file system itself wrote about it into the context's message queue.
    """
    command = FSCONFIG_SET_FLAG if value is None else FSCONFIG_SET_STRING
    encoded = None if value is None else os.fsencode(value)
    try:
        syscall("fsconfig", context, command, os.fsencode(key), encoded, 0)
    except OSError as error:
        text = key if value is None else f"{key}={value}"
        raise _about(error, _explained(context, text)) from None


def fscreate(context: int) -> int:
    """Create the configured file system (``FSCONFIG_CMD_CREATE``) and return its detached mount."""
    try:
        syscall("fsconfig", context, FSCONFIG_CMD_CREATE, None, None, 0)
        return syscall("fsmount", context, FSMOUNT_CLOEXEC, 0)
    except OSError as error:
        raise _about(error, _explained(context, "")) from None


def fsreconfigure(context: int) -> None:
    """Give the file system that was picked its new options (``FSCONFIG_CMD_RECONFIGURE``)."""
    try:
        syscall("fsconfig", context, FSCONFIG_CMD_RECONFIGURE, None, None, 0)
    except OSError as error:
        raise _about(error, _explained(context, "")) from None


def mount_setattr(
    mount: int,
    set: int = 0,
    clear: int = 0,
    *,
    propagation: int = 0,
    recursive: bool = False,
    userns: int = -1,
) -> None:
    """Change attributes of the mount that ``mount`` is open on, and with ``recursive`` of all those below."""
    attributes = _MountAttributes(set, clear, propagation, max(userns, 0))
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    size = ctypes.sizeof(attributes)
    syscall("mount_setattr", mount, b"", flags, ctypes.byref(attributes), size)


def mount(source: str | None, target: str, type: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2): for what the descriptor calls lack (propagation of "/", many overlay layers before 6.8)."""
    arguments = [None if a is None else os.fsencode(a) for a in (source, target, type, data)]
    check(
        libc.mount(arguments[0], arguments[1], arguments[2], ctypes.c_ulong(flags), arguments[3]),
        source,
        target,
    )


def umount2(target: str, flags: int = 0) -> None:
    """Detach the mount at ``target``."""
    check(libc.umount2(os.fsencode(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root of this mount namespace, with the old one on ``put_old``."""
    try:
        syscall("pivot_root", os.fsencode(new_root), os.fsencode(put_old))
    except OSError as error:
        raise _about(error, new_root) from None


def filesystem_magic(descriptor: int) -> int:
    """Return the ``f_type`` of the file system that ``descriptor`` is on (fstatfs(2))."""
    buffer = _StatFs()
    check(libc.fstatfs(descriptor, ctypes.byref(buffer)))
    return int(buffer.f_type) & 0xFFFFFFFF


def _explained(context: int, text: str) -> str:
    """``text`` and the last line of the kernel's message queue of an fs context ("e overlay: …")."""
    try:
        message = os.read(context, 1024).decode(errors="replace").strip()
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.EBADF, errno.EINVAL):
            raise
        return text
    return f"{text} ({message[2:]})" if text else message[2:]


def _about(error: OSError, path: str) -> OSError:
    return OSError(error.errno, error.strerror, path) if path else error
