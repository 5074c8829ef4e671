"""Copy a tree into a directory, of which others may have hold already.

Owners, modes, xattrs, times, devices and hard links come along; holes stay holes, and files share their
blocks with the originals where the file system can (FICLONE: btrfs, XFS). Sockets stay behind: they mean
something only to the process that listens.

What is written is reached by descriptors and never through a link (man 2 openat, O_NOFOLLOW): a container
that has the directory too may put one anywhere at any moment.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from ..linux import path
from ..linux.descent import DIRECTORY, Descent
from ..linux.filesystem import ficlone
from . import lookup
from .attributes import OVERLAY, copy_attributes

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ANY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_INSIDE = path.RESOLVE_BENEATH | path.RESOLVE_NO_SYMLINKS


def copy_tree(source: lookup.Found, target: int) -> None:
    """Copy what a stack of layers shows in the directory ``source`` into ``target``, and then its looks.

    Whiteouts and opaque directories have done their work before.
    """
    with Target(target, without=OVERLAY) as made:
        directories, left = [source], [lookup.children(source)]
        while directories:
            if not left[-1]:
                left.pop()
                found = directories.pop()
                made.leave(found.path, found.status)
                continue
            name, found = left[-1].popitem()
            if found.is_directory:
                made.enter(name)
                directories.append(found)
                left.append(lookup.children(found))
            else:
                made.add(name, found.path, found.status)


class _First(NamedTuple):
    """Of a file with several names: where the first of them is, and what is there."""

    place: str
    device: int
    inode: int


class Target:
    """``with Target(directory) as made:`` writes below it.

    ``without``: what the names of xattrs begin with that stay behind.
    """

    def __init__(self, directory: int, *, without: tuple[str, ...] = ()) -> None:
        self._way = Descent(os.open(".", DIRECTORY, dir_fd=directory))
        self._top = directory
        self._names: list[str] = []
        self._first: dict[tuple[int, int], _First] = {}
        self._without = without

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *_: object) -> None:
        self._way.__exit__()

    def enter(self, name: str) -> None:
        """Make a directory; what is added goes there."""
        os.mkdir(name, 0o700, dir_fd=self._way.here)
        self._way.enter(os.open(name, DIRECTORY, dir_fd=self._way.here))
        self._names.append(name)

    def leave(self, source: int | str, status: os.stat_result) -> None:
        """Give it the looks of ``source``, for all that was added has changed its times; back to the one
        above, if there is one."""
        copy_attributes(source, status, self._way.here, without=self._without)
        if self._names:
            self._names.pop()
            self._way.leave()

    def add(self, name: str, source: str, status: os.stat_result) -> None:
        """Copy what is at ``source``, no directory, whose lstat is ``status``."""
        if stat.S_ISSOCK(status.st_mode):
            return
        key = (status.st_dev, status.st_ino) if status.st_nlink > 1 else None
        if key in self._first and self._link(self._first[key], name):
            return
        made = self._copy(name, source, status)
        if key is not None:
            self._first[key] = _First("/".join((*self._names, name)), made.st_dev, made.st_ino)

    def _link(self, first: _First, name: str) -> bool:
        """Give what was copied another name; not if it is gone, too deep, or there is a link on the way."""
        try:
            known = path.openat2(self._top, first.place, _ANY, 0, _INSIDE)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
                raise
            return False
        try:
            status = os.fstat(known)
            if (status.st_dev, status.st_ino) != first[1:]:
                return False
            os.link(f"/proc/self/fd/{known}", name, dst_dir_fd=self._way.here, follow_symlinks=True)
        finally:
            os.close(known)
        return True

    def _copy(self, name: str, source: str, status: os.stat_result) -> os.stat_result:
        here, kind = self._way.here, stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFREG:
            return self._copy_file(name, source)
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(source), name, dir_fd=here)
        else:
            os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=here)
        made = os.open(name, _ANY, dir_fd=here)
        try:
            found = os.fstat(made)
            if (stat.S_IFMT(found.st_mode), found.st_rdev) != (kind, status.st_rdev):
                raise OSError(errno.EAGAIN, "changed while it was copied", name)
            copy_attributes(source, status, f"/proc/self/fd/{made}", without=self._without, follow=True)
            return found
        finally:
            os.close(made)

    def _copy_file(self, name: str, source: str) -> os.stat_result:
        reading = os.open(source, _READ)
        try:
            status = os.fstat(reading)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EAGAIN, "changed while it was copied", name)
            writing = os.open(name, _CREATE, 0o600, dir_fd=self._way.here)
            try:
                if not ficlone(reading, writing):
                    _copy_data(reading, writing, status.st_size)
                copy_attributes(reading, status, writing, without=self._without)
                return os.fstat(writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)


def _copy_data(reading: int, writing: int, size: int) -> None:
    """Only what is stored (man 2 lseek, SEEK_DATA), as long as it is there; the kernel copies."""
    at = 0
    while at < size:
        try:
            at = os.lseek(reading, at, os.SEEK_DATA)
            end = os.lseek(reading, at, os.SEEK_HOLE)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # a hole up to the end
        copied = _copy_range(reading, writing, at, end - at)
        if copied == 0:  # it has become shorter
            break
        at += copied
    os.ftruncate(writing, min(size, os.fstat(reading).st_size))


def _copy_range(reading: int, writing: int, at: int, count: int) -> int:
    try:
        return os.copy_file_range(reading, writing, count, at, at)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL):
            raise
    os.lseek(writing, at, os.SEEK_SET)  # between two kinds of file systems
    return os.sendfile(writing, reading, at, count)
