"""The anonymous volumes of a container: named before they are made, filled from the image, removed with it.

In scope: which mount points become volumes, and the order that makes a SIGKILL harmless: the names are in the
record before the first directory exists. Out of scope: how a volume lies on disk (``volume/``).
"""

from __future__ import annotations

import msgspec

from ..volume.store import VolumeStore
from .record import MountPoint, Record


def name_anonymous(points: list[MountPoint], root: str) -> tuple[list[MountPoint], list[str]]:
    """The mount points with a new name and the source for each volume, and these names."""
    store = VolumeStore(root)
    result: list[MountPoint] = []
    names: list[str] = []
    for point in points:
        if point.type == "volume":
            name = store.new_name()
            names.append(name)
            point = msgspec.structs.replace(point, name=name, source=store.path(name))
        result.append(point)
    return result, names


def create(root: str, record: Record) -> None:
    store = VolumeStore(root)
    for point in record.mounts:
        if point.type == "volume":
            store.create(point.name)
            if point.copy_up:
                store.populate(point.name, record.layers, point.destination)


def remove(root: str, record: Record) -> None:
    """Remove those that there are; a creation that was cut short has not made all of them."""
    store = VolumeStore(root)
    for name in record.anonymous_volumes:
        store.remove(name)
