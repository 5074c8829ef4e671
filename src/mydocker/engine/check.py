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
from ..container.store import Store
from ..container.volumes import remove
from ..container.volumes import users as volume_users
from ..content.fault import Fault, settle
from ..content.lock import Lock
from ..errors import CorruptData, NotFound, Unavailable
from ..image import check as images
from ..image import garbage
from ..image.layers import chain_of
from ..image.store import ImageStore
from ..volume.store import VolumeStore

_PATIENCE = 10.0
_TIDY = "`mydocker system check --repair` removes it"
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
    lock = Lock(image_store.use_lock)
    alone = lock.acquire_within(_PATIENCE if repair else 0)
    if repair and not alone:
        raise Unavailable("somebody is taking an image in: repair when pulls, loads and commits are done")
    try:
        if alone and image_store.content.noted():
            with suppress(CorruptData):  # it cannot tell what is needed; what follows says why
                garbage.sweep(image_store)  # as the next load would, so what it removes is no fault
        left = images.leftovers(image_store) if alone else []
        if repair:
            checked = _look(store, image_store, progress, left)
            settle(checked.faults, sacrifice=remove_broken)
            return checked
    finally:
        if alone:
            lock.release()
    with image_store.hold():
        return _look(store, image_store, progress, left)


def _look(
    store: Store, image_store: ImageStore, progress: images.Progress | None, left: Sequence[Fault]
) -> Checked:
    """Everything but leftovers, which are the last to be repaired: they must not be looked at any more."""
    found, records = containers.check(store)
    bases = [
        images.Base(record.id, chain_of(store.root, record.layers), running) for record, running in records
    ]
    looked = images.Check(image_store, bases, progress)
    looked.run()
    return Checked(
        faults=[*looked.faults, *found, *_volumes(store), *left],
        blobs=looked.blobs,
        images=looked.images,
        layers=looked.layers,
        containers=len(records),
        volumes=len(VolumeStore(store.root).names()),
    )


def _volumes(store: Store) -> list[Fault]:
    """Volumes that cannot be used. Those of a container that somebody works on are not looked at."""
    volumes = VolumeStore(store.root)
    with volumes.changing():  # what a killed command has left goes, as it would with the next removal
        names = volumes.names()
    users = volume_users(store)
    faults = [
        Fault("leftover", path, "is of a volume that was being made or removed", _TIDY, volumes.tidy)
        for path in volumes.leftovers()
    ]
    for name in names:
        user = next(iter(users.get(name, ())), None)
        if user is not None and store.held(user):
            continue
        try:
            volumes.get(name)
            problem = "" if os.path.isdir(volumes.path(name)) else f"{volumes.path(name)} is missing"
        except NotFound:
            problem = "its config.json is missing"
        except CorruptData as error:
            problem = str(error)
        if problem and user is None:
            faults.append(Fault("volume", name, problem, _GIVE_UP, sacrifice=_remove(store, name)))
        elif problem and user is not None and "_data" not in problem:  # else the container has told
            remedy = f"remove container {user[:12]}, which has it, with its volumes"
            faults.append(Fault("volume", name, problem, remedy))
    return faults


def _remove(store: Store, name: str) -> Callable[[], None]:
    return lambda: remove(store, name)
