"""``Engine.prune``: remove what nothing uses, in the order in which one thing sets the next one free.

    stopped containers -> networks -> anonymous volumes, if asked for -> images -> downloads, broken off

A container counts as stopped under its lock, a volume as unused when no record of a container names it (a
record is written before its volumes are made), an image as its own store decides (``image/prune.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..container.reconcile import sweep
from ..container.store import Store
from ..errors import InvalidArgument
from ..image import filters as filtering
from ..image.filters import Filters
from ..image.prune import Pruned, prune
from ..image.store import ImageStore
from .containers import Containers
from .images import tell_pruned
from .networks import Networks
from .volumes import Volumes, VolumesPruned


@dataclass(frozen=True)
class SystemPruned:
    containers: Sequence[str]
    """identifiers"""
    networks: Sequence[str]
    """names"""
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
    left = Networks(store).prune(filters)
    gone = Volumes(store).prune(filters) if volumes else VolumesPruned([], 0)
    chosen = {**filters, "dangling": ["false" if all else "true"]}
    pruned = prune(images, chosen, downloads=True)
    tell_pruned(store, pruned)
    return SystemPruned(removed, left, gone.names, pruned, freed + gone.reclaimed + pruned.reclaimed)
