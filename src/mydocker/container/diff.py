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
from collections.abc import Iterator
from typing import NamedTuple

from .. import errors
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
            changes = list(_directory(directory, "", lookup.top(stack.lowers)))
    except FileNotFoundError as error:
        raise errors.NotFound(f"No such container: {record.id}") from error
    store.read_state(record.id)
    return changes


def _directory(directory: int, path: str, below: Found | None) -> Iterator[Change]:
    """What has changed in a directory of the read-write layer; ``below`` is the same one in the image."""
    names = {*os.listdir(directory)}
    hidden: set[str] = set()
    if below is not None and path and _is_opaque(directory):
        hidden = {*lookup.children(below)} - names
    for name in sorted(names | hidden):
        place = f"{path}/{name}"
        if name in hidden:
            yield Change("D", place)
            continue
        try:
            yield from _entry(directory, name, place, lookup.child(below, name))
        except FileNotFoundError:
            continue  # the container is at work


def _entry(parent: int, name: str, path: str, below: Found | None) -> Iterator[Change]:
    status = os.lstat(name, dir_fd=parent)
    if lookup.is_whiteout(status):
        if below is not None:
            yield Change("D", path)
        return
    if not stat.S_ISDIR(status.st_mode):
        yield Change("C" if below is not None else "A", path)
        return
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        inside = list(_directory(descriptor, path, below if below and below.is_directory else None))
    finally:
        os.close(descriptor)
    if below is None:
        yield Change("A", path)
    elif inside or not _same(status, below.status):
        yield Change("C", path)
    yield from inside


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
