"""Paths inside a directory that somebody else may be rearranging: openat2(2).

A container's root file system is under the control of the image, of other containers that share a volume, and
of the processes that run in it already. A path below it is therefore never joined to a string and looked up
by the host: each lookup is one openat2(2) with ``RESOLVE_IN_ROOT`` from a descriptor of the root, so that
symbolic links, absolute ones and ".." included, end inside; and what was found is used as a descriptor from
then on (CVE-2021-30465, CVE-2019-14271). Magic links of /proc are refused.
"""

from __future__ import annotations

import errno
import os
import stat

from . import native as ctypes
from .syscall import syscall

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_O_PATH = os.O_PATH | os.O_CLOEXEC
_LINKS = 40  # path_resolution(7)


class _OpenHow(ctypes.Structure):
    """``struct open_how``."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def openat2(dirfd: int, path: str, flags: int, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` from ``dirfd``, resolved as ``resolve`` says; always close-on-exec.

    EAGAIN means that a rename elsewhere made the kernel unsure about a ".."; it is tried again, as the man
    page says.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for attempt in range(64):
        try:
            return syscall("openat2", dirfd, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
        except OSError as error:
            if error.errno != errno.EAGAIN or attempt == 63:
                raise OSError(error.errno, error.strerror, path) from None
    raise AssertionError("unreachable")


def open_in_root(root: int, path: str, flags: int = _O_PATH, mode: int = 0) -> int:
    """Open ``path`` as a process whose root directory is ``root`` would, without leaving it."""
    return openat2(root, path, flags, mode, _IN_ROOT)


def make_directory_in_root(root: int, path: str, mode: int = 0o755) -> int:
    """Return an O_PATH descriptor of the directory ``path``, made with its parents where missing.

    Symbolic links are followed inside of ``root``, also one that leads to nothing yet: what is missing is
    made there. For that each name is opened on its own, from the descriptor of the one before it, and links
    are followed here and not by the kernel. Raises ``OSError``: ENOTDIR for a file in the place of a
    directory, ELOOP for too many links.
    """
    try:
        return open_in_root(root, path, _O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    waiting = _names(path)  # the next one is the last
    done: list[str] = []  # no links among them
    links = 0
    current = os.open(".", _O_PATH | os.O_DIRECTORY, dir_fd=root)
    try:
        while waiting:
            name = waiting.pop()
            if name == "..":
                del done[-1:]
                following = open_in_root(root, "/".join(done) or ".", _O_PATH | os.O_DIRECTORY)
            else:
                following = _enter_or_make(current, name, mode)
                kind = stat.S_IFMT(os.fstat(following).st_mode)
                if kind == stat.S_IFLNK:
                    links += 1
                    target = _read_link(following, links, path)
                    waiting += _names(target)
                    if not target.startswith("/"):
                        continue
                    done.clear()
                    following = os.open(".", _O_PATH | os.O_DIRECTORY, dir_fd=root)
                elif kind == stat.S_IFDIR:
                    done.append(name)
                else:
                    os.close(following)
                    raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            os.close(current)
            current = following
    except BaseException:
        os.close(current)
        raise
    return current


def make_file_in_root(root: int, path: str, mode: int = 0o644) -> int:
    """Return an O_PATH descriptor of ``path``, an empty file if there was nothing, its parents made.

    Links are followed as by ``make_directory_in_root``.
    """
    try:
        return open_in_root(root, path)
    except FileNotFoundError:
        pass
    for _ in range(_LINKS):
        parent, name = os.path.split("/" + path.strip("/"))
        directory = make_directory_in_root(root, parent)
        try:
            flags = os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            os.close(openat2(directory, name, flags, mode, RESOLVE_BENEATH))
            return openat2(directory, name, _O_PATH | os.O_NOFOLLOW, 0, RESOLVE_BENEATH)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            target = os.readlink(name, dir_fd=directory)
        finally:
            os.close(directory)
        path = target if target.startswith("/") else f"{parent}/{target}"
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


def _enter_or_make(directory: int, name: str, mode: int) -> int:
    """An O_PATH descriptor of ``name``, whatever it is, or of the directory that is made of that name."""
    flags = _O_PATH | os.O_NOFOLLOW
    try:
        return openat2(directory, name, flags, 0, RESOLVE_BENEATH)
    except FileNotFoundError:
        pass
    try:
        os.mkdir(name, mode, dir_fd=directory)
    except FileExistsError:
        pass  # somebody was faster
    return openat2(directory, name, flags, 0, RESOLVE_BENEATH)


def _read_link(link: int, count: int, path: str) -> str:
    """The target of ``link``, an O_PATH descriptor, which is closed."""
    try:
        if count > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)


def path_of(descriptor: int) -> str:
    """The name that the kernel gives to what ``descriptor`` is open on (/proc/self/fd)."""
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _names(path: str) -> list[str]:
    """The names in ``path``, the last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]
