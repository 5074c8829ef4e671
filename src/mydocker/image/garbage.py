"""Remove blobs and layers that no image and no container needs.

Needed is what a manifest in index.json leads to, the documents that digests in names stand for, and the
layers under containers whose image is gone by force. Layers need not be unpacked to be needed, so a layer's
blob stays as long as the image, whether its directory is there or not.

Everything else may be in the hands of somebody who takes an image in at this moment, so a collection runs
only while nobody does, which ``use.lock`` tells. Who may leave garbage notes it in ``ingest/`` first
(``ContentStore.note``); notes outlive their writers, so nothing is forgotten because of a SIGKILL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import errors
from ..content.lock import Lock
from ..content.store import DOWNLOADS_KEPT
from ..oci import digest as digests
from ..oci import reference as references
from ..snapshot.usage import usage
from .documents import ImageConfig, Manifest, decode

if TYPE_CHECKING:
    from .store import ImageStore


@dataclass(frozen=True)
class Needs:
    """What something keeps from being garbage."""

    blobs: frozenset[str]
    """digests"""
    chains: frozenset[str]
    """chain ids"""


@dataclass(frozen=True)
class Collected:
    chains: Sequence[str]
    """the layers that went, top first"""
    size: int
    """bytes on disk that were given back; 0 if nobody asked"""


def collect_if_noted(store: ImageStore) -> Sequence[str]:
    """Collect if there is a note and nobody is at work; the chain ids of the layers that went, top first."""
    if not store.content.noted():
        return []
    collected = collect(store)
    return [] if collected is None else collected.chains


def collect(
    store: ImageStore, *, patience: float = 0, measured: bool = False, downloads: bool = False
) -> Collected | None:
    """Collect now. None if somebody is at work for ``patience`` seconds, and will look here afterwards.

    ``measured``: say what it brought, for which every file that goes is looked at. ``downloads``: give up
    those that were broken off a moment ago, too.
    """
    lock = Lock(store.use_lock)
    if not lock.acquire_within(patience):
        return None
    try:
        return sweep(store, measured=measured, downloads=downloads)
    finally:
        lock.release()


def sweep(store: ImageStore, *, measured: bool = False, downloads: bool = False) -> Collected:
    """Remove everything that is not needed. The caller holds ``use.lock`` exclusively."""
    needed = everything_needed(store)
    removed = _from_the_top(store, set(store.layers.all()) - needed.chains)
    blobs = set(store.content.all()) - needed.blobs
    size = 0
    if measured:
        size += sum(usage(store.layers.directory(chain_id)) for chain_id in removed)
        size += sum(usage(path) for path in store.layers.leftovers())
        size += sum(usage(store.content.path(digest)) for digest in blobs)
        size += sum(usage(path) for path in store.content.leftovers())
    for chain_id in removed:
        store.layers.remove(chain_id)
    for digest in filter(store.content.has, needed.blobs):
        store.content.forget_download(digest)  # a pull was killed after its last step but this
    size += store.content.sweep_downloads(0 if downloads else DOWNLOADS_KEPT)
    for digest in blobs:
        store.content.remove(digest)
    store.layers.remove_leftovers()
    store.content.remove_leftovers()  # the notes are among them, so they are the last to go
    return Collected(removed, size)


def _from_the_top(store: ImageStore, doomed: set[str]) -> list[str]:
    """``doomed`` with each layer before the one below it: no layer is ever without its parent."""
    depths: dict[str, int] = {}

    def depth(chain_id: str) -> int:
        way = []
        while chain_id in doomed and chain_id not in depths:
            way.append(chain_id)
            chain_id = _below(store, chain_id)
        base = depths.get(chain_id, 0)
        depths.update(zip(reversed(way), range(base + 1, base + 1 + len(way)), strict=True))
        return base + len(way)

    return sorted(doomed, key=lambda chain_id: (-depth(chain_id), chain_id))


def _below(store: ImageStore, chain_id: str) -> str:
    try:
        return store.layers.parent(chain_id)
    except (OSError, ValueError):  # it is damaged, and is to go
        return ""


def of_manifest(store: ImageStore, digest: str) -> Needs:
    """What the manifest ``digest`` needs, itself included. NotFound or CorruptData if it cannot be read."""
    manifest = decode(Manifest, store.content.read(digest), f"manifest {digest}")
    blobs = {digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)}
    return Needs(frozenset(blobs), of_config(store, manifest.config.digest).chains)


def of_config(store: ImageStore, digest: str) -> Needs:
    """What the configuration ``digest`` needs, itself included."""
    document = decode(ImageConfig, store.content.read(digest), f"configuration of image {digest}")
    return Needs(frozenset((digest,)), frozenset(digests.chain_ids(document.rootfs.diff_ids)))


def everything_needed(store: ImageStore) -> Needs:
    """What must stay. CorruptData if a document is missing that says so: then nothing is to be removed."""
    try:
        needs = [of_manifest(store, digest) for digest in set(store.manifests())]
        uses = store.used()
    except (errors.NotFound, errors.CorruptData) as error:
        raise errors.CorruptData(
            f"image store {store.content.root}: {error} (`mydocker system check` tells what is wrong)"
        ) from error
    blobs = {blob for need in needs for blob in need.blobs}
    blobs |= {digest for name in store.names() if (digest := references.parse(name).digest)}
    others = {use.image for use in uses} - blobs
    needs += [of_config(store, config) for config in others if store.content.has(config)]
    return Needs(
        frozenset(blobs.union(*(need.blobs for need in needs))),
        frozenset().union(*(need.chains for need in needs), *(use.chain for use in uses)),
    )
