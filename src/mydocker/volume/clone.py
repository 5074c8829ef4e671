"""Copy a directory that somebody may be writing to: the files of a volume.

It is walked by descriptors and never follows a link (man 2 openat, O_NOFOLLOW). Owners, modes, xattrs, times,
devices and hard links come along, and holes stay holes. Files share their blocks with the original where the
file system can (FICLONE: btrfs, XFS), and are copied elsewhere. What vanishes meanwhile was not there; of a
file that changes, some moment between is copied.

Out of scope: copying out of a stack of layers (``snapshot/copy.py``).
"""

from __future__ import annotations

import errno
import os
import stat

from ..linux.filesystem import ficlone
from ..snapshot.attributes import copy_attributes
from ..snapshot.copy import copy_data

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def clone(source: int, target: str) -> None:
    """Copy what the open directory ``source`` has into ``target``, an empty one, and its own looks."""
    reading = os.open(".", _DIRECTORY, dir_fd=source)
    try:
        writing = os.open(target, _DIRECTORY)
        try:
            _Clone().directory(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


class _Clone:
    def __init__(self) -> None:
        self._first: dict[tuple[int, int], str] = {}
        self._way: list[str] = []
        self._top = -1

    def directory(self, reading: int, writing: int) -> None:
        """Everything in it, then its attributes: each entry has changed its times until now."""
        if self._top < 0:
            self._top = writing
        for name in os.listdir(reading):
            self._way.append(name)
            try:
                self._entry(name, reading, writing)
            except FileNotFoundError:
                pass  # it is gone
            finally:
                self._way.pop()
        copy_attributes(reading, os.fstat(reading), writing, without=())

    def _entry(self, name: str, reading: int, writing: int) -> None:
        status = os.lstat(name, dir_fd=reading)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            self._enter(name, reading, writing)
            return
        if kind == stat.S_IFSOCK:
            return  # means something only to the process that listens
        place = "/".join(self._way)
        if status.st_nlink > 1:
            first = self._first.setdefault((status.st_dev, status.st_ino), place)
            if first != place:
                os.link(first, name, src_dir_fd=self._top, dst_dir_fd=writing, follow_symlinks=False)
                return
        if kind == stat.S_IFREG:
            _file(name, reading, writing)
            return
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=reading), name, dir_fd=writing)
        else:
            os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=writing)
        copy_attributes(_at(reading, name), status, _at(writing, name), without=())

    def _enter(self, name: str, reading: int, writing: int) -> None:
        inner = os.open(name, _DIRECTORY, dir_fd=reading)
        try:
            os.mkdir(name, 0o700, dir_fd=writing)
            made = os.open(name, _DIRECTORY, dir_fd=writing)
            try:
                self.directory(inner, made)
            finally:
                os.close(made)
        finally:
            os.close(inner)


def _file(name: str, reading: int, writing: int) -> None:
    source = os.open(name, _READ, dir_fd=reading)
    try:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EAGAIN, "changed while it was copied", name)
        target = os.open(name, _CREATE, 0o600, dir_fd=writing)
        try:
            if not ficlone(source, target):
                copy_data(source, target, status.st_size)
            copy_attributes(source, status, target, without=())
        finally:
            os.close(target)
    finally:
        os.close(source)


def _at(directory: int, name: str) -> str:
    """A path for the calls that take no directory descriptor; its last part is not followed."""
    return f"/proc/self/fd/{directory}/{name}"
