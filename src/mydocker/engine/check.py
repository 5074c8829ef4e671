"""``Engine.check``: verify everything on disk, and repair what can be repaired.

Containers and volumes first, for images need to know what stands on them. Looking is safe beside anything
else that is going on; repairing images waits until nobody takes one in, and keeps others from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..container import check as containers
from ..container.record import Record
from ..container.store import Store
from ..content.fault import Fault, settle
from ..content.lock import Lock
from ..errors import CorruptData, NotFound, Unavailable
from ..image import check as images
from ..image import garbage
from ..image.layers import chain_of
from ..image.store import ImageStore
from ..volume.store import VolumeStore

_PATIENCE = 10.0
_GIVE_UP = "`mydocker system check --repair --remove-broken` removes it"


@dataclass(frozen=True)
class Checked:
    """What was looked at, and what is wrong with it."""

    faults: Sequence[Fault]
    blobs: int
    images: int
    layers: int
    containers: int
    volumes: int


def check(
    store: Store,
    image_store: ImageStore,
    *,
    repair: bool,
    remove_broken: bool,
    progress: images.Progress | None,
) -> Checked:
    """``repair`` what loses nothing; with ``remove_broken`` also remove what cannot be repaired.

    Unavailable if there is something to repair while somebody else takes an image in.
    """
    image_store.initialise()
    with suppress(CorruptData):  # it cannot tell what is needed; what follows says why
        garbage.collect_if_noted(image_store)  # as the next load would, so what it removes is no fault
    faults, records = containers.check(store)
    bases = [
        images.Base(record.id, chain_of(store.root, record.layers), running) for record, running in records
    ]
    looked = images.Check(image_store, bases, progress)
    lock = Lock(image_store.use_lock)
    alone = lock.acquire_within(_PATIENCE if repair else 0)
    if repair and not alone:
        raise Unavailable("somebody is taking an image in: repair when pulls, loads and commits are done")
    try:
        if alone:
            looked.leftovers()
        if repair:
            looked.run()
            # layers before what stands on them, leftovers when nothing else is to be looked at
            every = [*sorted(looked.faults, key=lambda fault: fault.kind == "leftover"), *faults]
            every += _volumes(store, records)
            settle(every, sacrifice=remove_broken)
    finally:
        if alone:
            lock.release()
    if not repair:
        with image_store.hold():
            looked.run()
        every = [*looked.faults, *faults, *_volumes(store, records)]
    return Checked(
        every, looked.blobs, looked.images, looked.layers, len(records), len(VolumeStore(store.root).names())
    )


def _volumes(store: Store, records: Sequence[tuple[Record, bool]]) -> list[Fault]:
    """Volumes that cannot be used. One that is being made is not looked at."""
    volumes = VolumeStore(store.root)
    users = {point.name: record for record, _ in records for point in record.mounts if point.type == "volume"}
    faults = []
    for name in volumes.names():
        user = users.get(name)
        if user is not None and store.held(user.id):
            continue
        try:
            volumes.get(name)
            problem = "" if os.path.isdir(volumes.path(name)) else f"{volumes.path(name)} is missing"
        except (NotFound, CorruptData) as error:
            problem = str(error) if isinstance(error, CorruptData) else "its config.json is missing"
        if problem and user is None:
            faults.append(Fault("volume", name, problem, _GIVE_UP, sacrifice=_remove(volumes, name)))
        elif problem and user is not None and "_data" not in problem:  # else the container has told
            remedy = f"remove container {user.id[:12]}, which has it, with its volumes"
            faults.append(Fault("volume", name, problem, remedy))
    return faults


def _remove(volumes: VolumeStore, name: str) -> Callable[[], None]:
    return lambda: volumes.remove(name)
