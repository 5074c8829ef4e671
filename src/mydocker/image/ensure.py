"""Unpack the layers of an image that are in their blobs only, when a container is to stand on them.

``commit`` leaves its layer so: many images are made only to be pushed or saved. Of several processes that
want the same layer one unpacks it and the others wait. Out of scope: layers whose blob is not here either.
"""

from __future__ import annotations

import os

from .store import Image, ImageStore


def ensure_layers(store: ImageStore, image: Image) -> None:
    """Make sure that every layer of ``image`` is a directory. The caller holds the store."""
    chain = image.chain
    layers = store.layers
    if not chain or (all(map(layers.has, chain)) and os.path.isdir(layers.init(chain[-1]))):
        return
    note = store.content.note()  # of what is left if this process is killed
    blobs = store.manifest(image).layers
    parent = ""
    for chain_id, diff_id, blob in zip(chain, image.config.rootfs.diff_ids, blobs, strict=True):
        if not layers.has(chain_id):
            with layers.unpacking(chain_id):
                if not layers.has(chain_id):
                    name = f"layer {blob.digest} of image {image.id}"
                    layers.unpack(store.content.chunks(blob.digest), name, parent=parent, diff_id=diff_id)
        parent = chain_id
    layers.make_init(chain[-1])
    store.content.forget(note)
