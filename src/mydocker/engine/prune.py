"""``Engine.prune``: remove what nothing uses, in the order in which one thing sets the next one free.

    stopped containers -> anonymous volumes, if asked for -> images -> downloads that were broken off

A container counts as stopped under its lock, a volume as unused when no record of a container names it (a
record is written before its volumes are made), an image as its own store decides (``image/prune.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..container.reconcile import sweep
from ..container.store import Store
from ..errors import InvalidArgument, NotFound
from ..image import filters as filtering
from ..image.filters import Filters
from ..image.prune import Pruned, prune
from ..image.store import ImageStore
from ..snapshot.usage import usage
from ..volume.store import ANONYMOUS, VolumeStore
from .containers import Containers
from .images import tell_removals
from .usage import volume_links


@dataclass(frozen=True)
class SystemPruned:
    containers: Sequence[str]
    """identifiers"""
    volumes: Sequence[str]
    """names"""
    images: Pruned
    reclaimed: int
    """bytes on disk, those of the images included"""


def everything(
    store: Store, images: ImageStore, *, all: bool, volumes: bool, filters: Filters
) -> SystemPruned:
    """``all``: unused images with a name too. Filters: ``until`` (Unix time), ``label``, ``label!``."""
    filtering.check(filters, filtering.PRUNING - {"dangling"})
    if volumes and "until" in filters:
        raise InvalidArgument('the "until" filter is not supported with "--volumes"')
    sweep(store)
    removed, freed = Containers(store, images).prune(filters)
    gone, room = _volumes(store, filters) if volumes else ([], 0)
    chosen = {**filters, "dangling": ["false" if all else "true"]}
    pruned = prune(images, chosen, downloads=True)
    tell_removals(store, pruned.removals)
    return SystemPruned(removed, gone, pruned, freed + room + pruned.reclaimed)


def _volumes(store: Store, filters: Filters) -> tuple[list[str], int]:
    volumes = VolumeStore(store.root)
    removed, freed = [], 0
    names = volumes.names()
    linked = volume_links(store)  # after the names: who made them has written its record before
    for name in names:
        try:
            labels = volumes.get(name).labels
        except NotFound:
            continue  # it is being made or removed
        if name in linked or ANONYMOUS not in labels or not filtering.labelled(labels, filters):
            continue
        freed += usage(volumes.path(name))
        volumes.remove(name)
        removed.append(name)
    return removed, freed
