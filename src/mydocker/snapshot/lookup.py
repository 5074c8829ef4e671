"""Look names up in a stack of layers without mounting it, as overlayfs would see them.

A name is searched from the top layer down. The first thing found counts: a whiteout (character device 0/0)
means that there is nothing; a directory goes on into the layers below until one is opaque or is no directory
there (kernel Documentation/filesystems/overlayfs.rst). Symbolic links are found, not followed, so a lookup
never leaves the layers.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence

from .. import errors

_LINKS = 40  # as the kernel, man 7 path_resolution
OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


class Found:
    """What is at one path: its status, its place in the uppermost layer, for a directory all its places."""

    __slots__ = ("directories", "path", "status")

    def __init__(self, path: str, status: os.stat_result, directories: list[str]) -> None:
        self.path = path
        self.status = status
        self.directories = directories

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_regular(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)


def top(lowers: Sequence[str]) -> Found:
    """The root directory of the stack ``lowers`` (top first, at least one); NotFound if it is missing."""
    try:
        return Found(lowers[0], os.stat(lowers[0]), list(lowers))
    except FileNotFoundError:
        raise errors.NotFound(f"no such directory: {lowers[0]}") from None


def has(lowers: Sequence[str], path: str) -> bool:
    """Whether the stack has something at ``path``, in which links are not followed."""
    found: Found | None = top(lowers)
    for name in _parts(path):
        found = child(found, name)
    return found is not None


def resolve(lowers: Sequence[str], path: str) -> Found | None:
    """``path`` in the stack as a process in the container would find it: symbolic links are followed.

    None if there is nothing. ``..`` and absolute links end at the root of the stack. InvalidArgument for a
    loop of links.
    """
    way = [top(lowers)]
    names = _parts(path)
    links = 0
    while names:
        name = names.pop(0)
        if name == "..":
            if len(way) > 1:
                way.pop()
            continue
        found = child(way[-1], name)
        if found is None:
            return None
        if not stat.S_ISLNK(found.status.st_mode):
            way.append(found)
            continue
        links += 1
        if links > _LINKS:
            raise errors.InvalidArgument(f"{path}: too many levels of symbolic links in the image")
        target = os.readlink(found.path)
        if target.startswith("/"):
            del way[1:]
        names[:0] = _parts(target)
    return way[-1]


def _parts(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def children(parent: Found) -> dict[str, Found]:
    """Everything in a directory, by name, as the stack shows it."""
    names: dict[str, None] = {}
    for directory in parent.directories:
        names.update(dict.fromkeys(os.listdir(directory)))
    found = {name: child(parent, name) for name in names}
    return {name: one for name, one in found.items() if one is not None}


def child(parent: Found | None, name: str) -> Found | None:
    """``name`` in the directory ``parent``; None if it is not there."""
    if parent is None or not parent.is_directory:
        return None
    found: Found | None = None
    directories: list[str] = []
    last = parent.directories[-1]
    for directory in parent.directories:
        path = directory + "/" + name
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            if found is None and not is_whiteout(status):
                return Found(path, status, [])
            break
        if found is None:
            found = Found(path, status, directories)
        directories.append(path)
        if directory is not last and is_opaque(path):
            break
    return found


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(directory: str) -> bool:
    for name in OPAQUE:
        try:
            if os.getxattr(directory, name, follow_symlinks=False) == b"y":
                return True
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
    return False
