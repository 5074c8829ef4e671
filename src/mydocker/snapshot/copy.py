"""Copy what a stack of layers shows at one place into a plain directory.

Owners, modes, xattrs, times, devices and hard links come along; holes stay holes; whiteouts and opaque
directories have done their work before. For volumes that start with the image's content.
"""

from __future__ import annotations

import errno
import os
import stat

from . import lookup
from .attributes import copy_attributes

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_tree(source: lookup.Found, target: str, links: dict[tuple[int, int], str] | None = None) -> None:
    """Copy the contents of the directory ``source`` into ``target``, an empty one, then its looks."""
    links = {} if links is None else links
    for name, found in lookup.children(source).items():
        _copy(found, f"{target}/{name}", links)
    copy_attributes(source.path, source.status, target)


def _copy(source: lookup.Found, target: str, links: dict[tuple[int, int], str]) -> None:
    status = source.status
    if stat.S_ISDIR(status.st_mode):
        os.mkdir(target, 0o700)
        copy_tree(source, target, links)
        return
    if status.st_nlink > 1:
        known = links.setdefault((status.st_dev, status.st_ino), target)
        if known is not target:
            os.link(known, target, follow_symlinks=False)
            return
    if stat.S_ISREG(status.st_mode):
        _copy_file(source.path, target)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source.path), target)
    else:
        os.mknod(target, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev)
    copy_attributes(source.path, status, target)


def _copy_file(source: str, target: str) -> None:
    reading = os.open(source, _READ)
    try:
        writing = os.open(target, _CREATE, 0o600)
        try:
            copy_data(reading, writing, os.fstat(reading).st_size)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def copy_data(reading: int, writing: int, size: int) -> None:
    """Only what is stored (man 2 lseek, SEEK_DATA); the kernel copies, or shares the blocks."""
    at = 0
    while at < size:
        try:
            at = os.lseek(reading, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # a hole up to the end
        end = os.lseek(reading, at, os.SEEK_HOLE)
        while at < end:
            copied = _copy_range(reading, writing, at, end - at)
            if copied == 0:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            at += copied
    os.ftruncate(writing, size)


def _copy_range(reading: int, writing: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(reading, writing, count, at, at)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL):
            raise
    os.lseek(writing, at, os.SEEK_SET)  # between two kinds of file systems
    return os.sendfile(writing, reading, at, count)
