"""``tmpcopyup``: fill a new tmpfs with what is in the directory that it is going to hide.

Runs in init, before the tmpfs is attached: the files are the image's, and nobody sees the copies before they
are complete. Every file is reached by descriptor from its directory, without following links, so what is in
the image decides nothing about where something is read or written. Imported before the clone, since init can
import nothing.
"""

from __future__ import annotations

import errno
import os
import stat

from ..linux.descent import DIRECTORY, Descent

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy(source: int, target: int) -> None:
    """Copy all below the directory ``source`` into ``target`` (descriptors), which becomes like it."""
    with Descent(os.dup(source)) as original, Descent(os.dup(target)) as copied:
        left = [os.listdir(source)]
        while left:
            if left[-1]:
                names = _copy_entry(left[-1].pop(), original, copied)
                if names is not None:
                    left.append(names)
                continue
            left.pop()
            _like(os.fstat(original.here), copied.here)
            if left:
                original.leave()
                copied.leave()


def _copy_entry(name: str, original: Descent, copied: Descent) -> list[str] | None:
    """Of a directory: enter it and its copy, and return what is in it."""
    source, target = original.here, copied.here
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(name, 0o700, dir_fd=target)
        original.enter(os.open(name, DIRECTORY, dir_fd=source))
        copied.enter(os.open(name, DIRECTORY, dir_fd=target))
        return os.listdir(original.here)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    elif stat.S_ISREG(status.st_mode):
        _copy_file(name, source, target)
    else:
        os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
    return None


def _copy_file(name: str, source: int, target: int) -> None:
    reading, writing = os.open(name, _READ, dir_fd=source), -1
    try:
        writing = os.open(name, _CREATE, 0o600, dir_fd=target)
        left = os.fstat(reading).st_size
        while left > 0 and (sent := os.sendfile(writing, reading, None, left)):
            left -= sent
        for attribute in os.listxattr(reading):
            if attribute.startswith(("user.", "security.capability")):
                _copy_attribute(attribute, reading, writing)
        _like(os.fstat(reading), writing)
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _copy_attribute(name: str, reading: int, writing: int) -> None:
    try:
        os.setxattr(writing, name, os.getxattr(reading, name))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # a tmpfs has those of the user from Linux 6.6 on
            raise


def _like(status: os.stat_result, copied: int) -> None:
    os.fchown(copied, status.st_uid, status.st_gid)
    os.fchmod(copied, stat.S_IMODE(status.st_mode))
    os.utime(copied, ns=(status.st_atime_ns, status.st_mtime_ns))
