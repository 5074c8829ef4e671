"""Remove blobs and layers that no image and no container needs.

Needed is what a manifest in index.json leads to, and the layers under containers whose image is gone by
force. Everything else may be in the hands of somebody who takes an image in at this moment, so a collection
runs only while nobody does, which ``use.lock`` tells. Who may leave garbage notes it in ``ingest/`` first
(``ContentStore.note``); notes outlive their writers, so nothing is forgotten because of a SIGKILL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..content.lock import Lock
from ..oci import digest as digests
from .documents import ImageConfig, Manifest, decode

if TYPE_CHECKING:
    from .store import ImageStore


def collect_if_noted(store: ImageStore) -> Sequence[str]:
    """Collect if there is a note and nobody is at work; the chain ids of the layers that went, top first."""
    if not store.content.noted():
        return []
    lock = Lock(store.use_lock)
    if not lock.acquire_now():
        return []  # somebody is at work, and will be here again afterwards
    try:
        removed = _collect(store)
        store.content.remove_leftovers()  # the notes are among them, so they are the last to go
    finally:
        lock.release()
    return removed


def _collect(store: ImageStore) -> Sequence[str]:
    blobs, chains = _needed(store)
    removed = _from_the_top(store, set(store.layers.all()) - chains)
    for chain_id in removed:
        store.layers.remove(chain_id)
    for digest in blobs:
        store.content.forget_download(digest)  # a pull was killed after its last step but this
    store.content.sweep_downloads()
    for digest in set(store.content.all()) - blobs:
        store.content.remove(digest)
    store.layers.remove_leftovers()
    return removed


def _from_the_top(store: ImageStore, doomed: set[str]) -> list[str]:
    """``doomed`` with each layer before the one below it: no layer is ever without its parent."""
    depths: dict[str, int] = {}

    def depth(chain_id: str) -> int:
        way = []
        while chain_id in doomed and chain_id not in depths:
            way.append(chain_id)
            chain_id = store.layers.parent(chain_id)
        base = depths.get(chain_id, 0)
        depths.update(zip(reversed(way), range(base + 1, base + 1 + len(way)), strict=True))
        return base + len(way)

    return sorted(doomed, key=lambda chain_id: (-depth(chain_id), chain_id))


def _needed(store: ImageStore) -> tuple[set[str], set[str]]:
    """Blobs, and chain ids."""
    blobs: set[str] = set()
    configs: set[str] = set()
    for digest in store.manifests():
        manifest = decode(Manifest, store.content.read(digest), f"manifest {digest}")
        blobs.update((digest, manifest.config.digest), (layer.digest for layer in manifest.layers))
        configs.add(manifest.config.digest)
    for config in {use.image for use in store.used()} - configs:
        if store.content.has(config):
            blobs.add(config)
            configs.add(config)
    chains: set[str] = set()
    for config in configs:
        document = decode(ImageConfig, store.content.read(config), f"configuration of image {config}")
        chains.update(digests.chain_ids(document.rootfs.diff_ids))
    return blobs, chains
