"""``diff``: what a container has changed in its own files, from its read-write layer alone.

    A   there was nothing of this name below
    C   there was; of a directory, also when only something in it has changed
    D   there was, and it is gone

Each name in the read-write layer is looked up in the layers below (``snapshot/lookup.py``); the image is not
walked. Only for a directory that has been removed and made again (opaque), the names that the image had in
that one directory are listed. A directory that overlayfs has copied up without a change is no change.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import NamedTuple

from .. import errors
from ..linux.descent import DIRECTORY, Descent
from ..snapshot import lookup, view
from ..snapshot.lookup import Found
from . import rootfs
from .record import Record
from .store import Store

_OPAQUE = "trusted.overlay.opaque"


class Change(NamedTuple):
    kind: str
    """A, C or D"""
    path: str


def diff(store: Store, record: Record) -> list[Change]:
    """In the order of the paths. ``NotFound`` if the container is removed meanwhile."""
    stack = rootfs.snapshotter.stack(store.directory(record.id), record.layers)
    try:
        with view.alone(stack.upper) as directory:
            changes = _changes(directory, lookup.top(stack.lowers))
    except FileNotFoundError as error:
        raise errors.NotFound(f"No such container: {record.id}") from error
    store.read_state(record.id)
    return changes


def _changes(top: int, lowers: Found) -> list[Change]:
    """Of the read-write layer ``top``, over the image's root directory ``lowers``."""
    found: dict[str, str] = {}
    with Descent(os.dup(top)) as way:
        levels: list[tuple[str, Found | None, list[str]]] = [("", lowers, os.listdir(top))]
        while levels:
            path, below, names = levels[-1]
            if not names:
                levels.pop()
                if levels:
                    way.leave()
                continue
            name = names.pop()
            place, original = f"{path}/{name}", lookup.child(below, name)
            with suppress(FileNotFoundError):  # the container is at work
                directory = _entry(way.here, name, place, original, found)
                if directory is not None:
                    way.enter(directory)
                    levels.append((place, original, []))
                    levels[-1][2].extend(_names(directory, place, original, found))
    for path in [*found]:  # a directory has changed, too, if something in it has
        while (path := path.rpartition("/")[0]) and path not in found:
            found[path] = "C"
    return [Change(found[path], path) for path in sorted(found, key=lambda path: path.replace("/", "\0"))]


def _entry(parent: int, name: str, path: str, below: Found | None, found: dict[str, str]) -> int | None:
    """Note what has become of it; a descriptor of a directory, which has to be looked into."""
    status = os.lstat(name, dir_fd=parent)
    if lookup.is_whiteout(status):
        if below is not None:
            found[path] = "D"
        return None
    directory = os.open(name, DIRECTORY, dir_fd=parent) if stat.S_ISDIR(status.st_mode) else None
    if below is None:
        found[path] = "A"
    elif directory is None or not _same(status, below.status):
        found[path] = "C"
    return directory


def _names(directory: int, path: str, below: Found | None, found: dict[str, str]) -> list[str]:
    """What is in a directory; note what is not any more, of one that was removed and made again."""
    names = os.listdir(directory)
    if below is not None and below.is_directory and _is_opaque(directory):
        found.update({f"{path}/{name}": "D" for name in lookup.children(below).keys() - names})
    return names


def _same(ours: os.stat_result, theirs: os.stat_result) -> bool:
    """Whether a directory is as it was before it was copied up."""
    return (ours.st_mode, ours.st_uid, ours.st_gid, ours.st_mtime_ns) == (
        theirs.st_mode, theirs.st_uid, theirs.st_gid, theirs.st_mtime_ns,
    )  # fmt: skip


def _is_opaque(directory: int) -> bool:
    try:
        return os.getxattr(directory, _OPAQUE) == b"y"
    except OSError as error:
        if error.errno != errno.ENODATA:
            raise
        return False
