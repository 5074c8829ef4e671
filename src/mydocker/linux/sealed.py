"""Running the interpreter from a file that nobody can write to.

A program in a container can get hold of the file behind ``/proc/<pid>/exe`` of any process that it may
inspect, or make a process of the engine execute itself (``#!/proc/self/exe``), and then write to it once
it is no longer running. If that file is the host's Python, the container owns the host (CVE-2019-5736). So
every process that comes near a container descends from an interpreter that was executed from one of

- a detached, read-only bind mount of the binary: ``open_tree(2)`` with ``OPEN_TREE_CLONE``,
  ``mount_setattr(2)`` with ``MOUNT_ATTR_RDONLY``, then ``execveat(2)``. Opening it for writing is EROFS; the
  mount is in no mount table, so that nothing can remount it. About 0.1 ms.
- a copy in a sealed memory file (``memfd_create(2)``, ``F_SEAL_WRITE``) where mounts are not permitted.

Out of scope: who re-executes what and when.
"""

from __future__ import annotations

import errno
import os

from . import native as ctypes
from .syscall import libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ctypes import Array

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOUNT_ATTR_RDONLY = 0x1
_MFD_CLOEXEC = 1
_MFD_ALLOW_SEALING = 2
_MFD_EXEC = 0x10  # Linux 6.3; without it, vm.memfd_noexec may take the execute bits away
_F_ADD_SEALS = 1033
_F_GET_SEALS = 1034
_F_SEAL_SEAL, _F_SEAL_SHRINK, _F_SEAL_GROW, _F_SEAL_WRITE = 1, 2, 4, 8
_SEALS = _F_SEAL_SEAL | _F_SEAL_SHRINK | _F_SEAL_GROW | _F_SEAL_WRITE


class _MountAttributes(ctypes.Structure):
    """``struct mount_attr`` of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def is_sealed(pid: int | str = "self") -> bool:
    """Whether the file behind ``/proc/<pid>/exe`` can be opened for writing by no one."""
    exe = f"/proc/{pid}/exe"
    if os.statvfs(exe).f_flag & os.ST_RDONLY:
        return True
    descriptor = os.open(exe, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # Every file says which seals it has or (EINVAL) that it is of a kind that takes none.
        seals: int = libc.fcntl(descriptor, _F_GET_SEALS)
    finally:
        os.close(descriptor)
    return seals > 0 and seals & _F_SEAL_WRITE != 0


def reexec_sealed(argv: list[str], env: dict[str, str], executable: str = "/proc/self/exe") -> None:
    """Execute ``executable``, this very interpreter, again and sealed; return only if it is sealed already.

    ``argv[0]`` is the path from which the interpreter finds its own library. Raises ``OSError``.
    """
    if is_sealed():
        return
    descriptor = _sealed_descriptor(executable)
    arguments = _vector([os.fsencode(a) for a in argv])
    environment = _vector([os.fsencode(f"{name}={value}") for name, value in env.items()])
    syscall("execveat", descriptor, b"", arguments, environment, _AT_EMPTY_PATH)


def _sealed_descriptor(executable: str) -> int:
    """A close-on-exec descriptor of a file with the contents of ``executable`` that cannot be written to."""
    try:
        tree = syscall("open_tree", _AT_FDCWD, os.fsencode(executable), _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC)
    except OSError as error:
        # Not root in this mount namespace, an old kernel, or a sandbox that filters the new mount calls.
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL):
            raise
        return _sealed_copy(executable)
    attributes = _MountAttributes(attr_set=_MOUNT_ATTR_RDONLY)
    try:
        syscall(
            "mount_setattr",
            tree,
            b"",
            _AT_EMPTY_PATH,
            ctypes.byref(attributes),
            ctypes.sizeof(attributes),
        )
    except OSError as error:
        os.close(tree)
        if error.errno not in (errno.EPERM, errno.ENOSYS):
            raise
        return _sealed_copy(executable)
    return tree


def _sealed_copy(executable: str) -> int:
    source = os.open(executable, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flags = _MFD_CLOEXEC | _MFD_ALLOW_SEALING
        try:
            copy = os.memfd_create("mydocker", flags | _MFD_EXEC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            copy = os.memfd_create("mydocker", flags)
        remaining = os.fstat(source).st_size
        while remaining > 0:
            copied = os.sendfile(copy, source, None, remaining)
            if copied == 0:
                break
            remaining -= copied
        os.fchmod(copy, 0o555)
        if libc.fcntl(copy, _F_ADD_SEALS, _SEALS) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), executable)
        return copy
    finally:
        os.close(source)


def _vector(strings: list[bytes]) -> Array[ctypes.c_char_p]:
    """``strings`` as the NULL-terminated array that execve(2) takes."""
    return (ctypes.c_char_p * (len(strings) + 1))(*strings, None)
