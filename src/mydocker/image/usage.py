"""What images take on disk, and what of it would come back: measured, not recorded.

An image takes its layers' directories, their blobs, its configuration and its manifest. What several images
share counts once in the total. In use is what an image needs that a container was made from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..snapshot.usage import usage
from .garbage import Needs, of_config, of_manifest

if TYPE_CHECKING:
    from .store import Image, ImageStore


@dataclass(frozen=True)
class ImageUsage:
    image: Image
    size: int
    """bytes on disk of all that it needs"""
    shared: int
    """those of them that other images need too"""
    containers: int
    """how many were made from it"""

    @property
    def unique(self) -> int:
        return self.size - self.shared


@dataclass(frozen=True)
class Usage:
    images: list[ImageUsage]
    """the newest first"""
    total: int
    """bytes on disk of the whole store, with what is on its way in and what is left of the interrupted"""
    reclaimable: int
    """those that are neither in use nor on their way"""

    @property
    def active(self) -> int:
        return sum(one.containers > 0 for one in self.images)


def measure(store: ImageStore) -> Usage:
    """Look at every file of the store. NotFound or CorruptData if a document of an image is missing."""
    with store.hold():
        images = store.list()
        uses = store.used()
        containers = Counter(use.image for use in uses)
        blobs = {digest: usage(store.content.path(digest)) for digest in store.content.all()}
        chains = {chain_id: usage(store.layers.directory(chain_id)) for chain_id in store.layers.all()}
        needs = {image.id: of_manifest(store, image.digest) for image in images}
        gone = [of_config(store, id) for id in set(containers) - set(needs) if store.content.has(id)]
        gone += [Needs(frozenset(), frozenset(use.chain)) for use in uses]

    def size(every: list[Needs]) -> int:
        needed_blobs = set[str]().union(*(need.blobs for need in every))
        needed_chains = set[str]().union(*(need.chains for need in every))
        return sum(blobs.get(digest, 0) for digest in needed_blobs) + sum(
            chains.get(chain_id, 0) for chain_id in needed_chains
        )

    users = Counter(key for need in needs.values() for key in need.blobs | need.chains)

    def common(need: Needs) -> Needs:
        return Needs(
            frozenset(digest for digest in need.blobs if users[digest] > 1),
            frozenset(chain_id for chain_id in need.chains if users[chain_id] > 1),
        )

    measured = [
        ImageUsage(image, size([needs[image.id]]), size([common(needs[image.id])]), containers[image.id])
        for image in images
    ]
    used = size([need for id, need in needs.items() if containers[id]] + gone)
    every = sum(blobs.values()) + sum(chains.values())
    return Usage(measured, every + unfinished(store), every - used)


def unfinished(store: ImageStore) -> int:
    """Bytes on disk of what is on its way in, or was when it was interrupted."""
    places = (store.content.leftovers(), store.content.downloads(), store.layers.leftovers())
    return sum(usage(path) for paths in places for path in paths)
