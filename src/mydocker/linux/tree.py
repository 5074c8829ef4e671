"""Remove a directory with everything in it, whatever a container has made of it.

The tree may hold 100,000 files, names that are not text, overlayfs's own ``work/work`` of mode 000, inodes
made immutable (chattr +i, by a privileged container), directories nested without end. Nothing is followed:
each directory is entered through a descriptor, with O_NOFOLLOW. Mounts inside are an error (EBUSY), which is
raised.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .descent import DIRECTORY, Descent
from .filesystem import FS_APPEND_FL, FS_IMMUTABLE_FL, clear_flags


@contextmanager
def opened_directory(path: str, *, dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor of a directory, for the ``with`` block."""
    directory = os.open(path, DIRECTORY, dir_fd=dir_fd)
    try:
        yield directory
    finally:
        os.close(directory)


def remove_tree(path: str | bytes, *, dir_fd: int | None = None) -> None:
    """Remove ``path``, a directory; it is no error if it is gone, or if somebody else removes it too."""
    with suppress(FileNotFoundError):
        _empty(_open(path, dir_fd))
        _rmdir(path, dir_fd)


def _empty(top: int) -> None:
    """Remove what is in the directory ``top``, and close it."""
    with Descent(top) as way:
        names: list[str] = []
        left = [_entries(top)]
        while True:
            if left[-1]:
                name, is_directory = left[-1].pop()
                with suppress(FileNotFoundError):
                    if is_directory:
                        way.enter(_open(name, way.here))
                        names.append(name)
                        left.append([])
                        left[-1] = _entries(way.here)
                    else:
                        _unlink(name, way.here)
            elif names:
                left.pop()
                way.leave()
                with suppress(FileNotFoundError):
                    _rmdir(names.pop(), way.here)
            else:
                return


def _entries(directory: int) -> list[tuple[str, bool]]:
    with os.scandir(directory) as found:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]


def _open(name: str | bytes, parent: int | None) -> int:
    try:
        return os.open(name, DIRECTORY, dir_fd=parent)
    except PermissionError:  # not our mode: as its owner we may change it
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, DIRECTORY, dir_fd=parent)


def _rmdir(name: str | bytes, parent: int | None) -> None:
    try:
        os.rmdir(name, dir_fd=parent)
    except PermissionError:
        if parent is not None:
            clear_flags(parent, FS_IMMUTABLE_FL | FS_APPEND_FL)
        _make_mutable(name, parent)
        os.rmdir(name, dir_fd=parent)


def _unlink(name: str, parent: int) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except PermissionError as error:
        # EPERM is also what an immutable or append-only directory gives for its entries
        if error.errno == errno.EACCES:
            os.fchmod(parent, 0o700)
        else:
            clear_flags(parent, FS_IMMUTABLE_FL | FS_APPEND_FL)
            _make_mutable(name, parent)
        os.unlink(name, dir_fd=parent)


def _make_mutable(name: str | bytes, parent: int | None) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    try:
        clear_flags(descriptor, FS_IMMUTABLE_FL | FS_APPEND_FL)
    finally:
        os.close(descriptor)
