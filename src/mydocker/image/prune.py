"""``image prune``: remove the images that no container was made from, and give the room back.

Which images go is decided, and their names are taken away, while the index cannot change (``locked``): an
image that somebody resolves to make a container is either gone before or in use after; what is pulled for a
container is reserved (``reservations``). Blobs and layers are
collected when nobody takes an image in; if somebody does, who comes last collects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import filters as filtering
from . import garbage, reservations
from .filters import Filters
from .store import Removal

if TYPE_CHECKING:
    from .store import ImageStore

_PATIENCE = 2.0
"""seconds for those who make containers, which takes milliseconds, to be done"""


@dataclass(frozen=True)
class Pruned:
    """What ``prune`` did."""

    removals: Sequence[Removal]
    reclaimed: int
    """bytes on disk"""
    deferred: bool
    """somebody is taking an image in, and will remove the files of those that are gone afterwards"""


def prune(store: ImageStore, filters: Filters, *, downloads: bool = False) -> Pruned:
    """Remove unused images: those without a tag, or with ``dangling=false`` all that ``filters`` let through.

    ``downloads``: give up those that were broken off, which the next pull would go on with.

    Filters are those of ``POST /images/prune``: ``dangling``, ``until`` (Unix time), ``label``, ``label!``.
    """
    filtering.check(filters, filtering.PRUNING)
    only_dangling = filtering.truth(filters) is not False
    others = {name: values for name, values in filters.items() if name != "dangling"}
    removals: list[Removal] = []
    with store.hold(), store.locked():
        used = {use.image for use in store.used()}
        wanted = reservations.names(store.content.root)
        for image in filtering.matching(store.list(), others, store.resolve):
            if image.id in used or (only_dangling and image.repo_tags) or wanted.intersection(image.names):
                continue
            if not removals:
                store.content.note()
            store.unname(image, set(image.names), drop=True)
            names = [*image.repo_tags, *image.repo_digests]
            removals += [*(Removal(untagged=name) for name in names), Removal(deleted=image.id)]
    collected = garbage.collect(store, patience=_PATIENCE, measured=True, downloads=downloads)
    if collected is None:
        return Pruned(removals, 0, deferred=True)
    removals += [Removal(deleted=chain_id) for chain_id in collected.chains]
    return Pruned(removals, collected.size, deferred=False)
