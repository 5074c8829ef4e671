"""Remove a directory with everything in it, whatever a container has made of it.

The tree may hold 100,000 files, names that are not text, overlayfs's own ``work/work`` of mode 000, inodes
made immutable (chattr +i, by a privileged container). Nothing is followed: each directory is entered through
a descriptor, with O_NOFOLLOW. Mounts inside are an error (EBUSY), which is raised.
"""

from __future__ import annotations

import errno
import os

from ..linux.filesystem import FS_APPEND_FL, FS_IMMUTABLE_FL, clear_flags

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str, *, dir_fd: int | None = None) -> None:
    """Remove ``path``, a directory; it is no error if it is gone."""
    try:
        _remove_directory(path, dir_fd)
    except FileNotFoundError:
        return


def _remove_directory(name: str, parent: int | None) -> None:
    try:
        descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    except PermissionError:  # not our mode: as its owner we may change it
        os.chmod(name, 0o700, dir_fd=parent)
        descriptor = os.open(name, _DIRECTORY, dir_fd=parent)
    try:
        with os.scandir(descriptor) as found:
            below = [(item.name, item.is_dir(follow_symlinks=False)) for item in found]
        for child, is_directory in below:
            if is_directory:
                _remove_directory(child, descriptor)
            else:
                _unlink(child, descriptor)
    finally:
        os.close(descriptor)
    try:
        os.rmdir(name, dir_fd=parent)
    except PermissionError:
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


def _make_mutable(name: str, parent: int | None) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    try:
        clear_flags(descriptor, FS_IMMUTABLE_FL | FS_APPEND_FL)
    finally:
        os.close(descriptor)
