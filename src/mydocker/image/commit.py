"""``commit``: an image of another image's layers and one more, which is written straight into its blob.

The blob is a plain tar: one pass of reading, hashing and writing, nothing is compressed and nothing copied.
The layer is not unpacked before a container needs it (``ImageStore.ensure_layers``).

The new configuration is the parent's platform, layers and history with one more of each, as in Docker
(moby, image.NewChildImage); a layer with nothing in it is noted in the history only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from .. import errors
from ..archive.write import Writer
from ..content.store import Ingest
from ..oci import descriptor as descriptors
from ..oci import digest as digests
from .documents import Descriptor, History, ImageConfig, Manifest, Rootfs, RunConfig, encode
from .store import MAX_LAYERS, Image, ImageStore

Write = Callable[[Writer], int]
"""Writes the entries of the layer; returns the bytes in its files."""

EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""of a tar without entries: two zero blocks"""

_OCI_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar": descriptors.OCI_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": descriptors.OCI_LAYER_GZIP,
    "application/vnd.docker.image.rootfs.diff.tar.zstd": descriptors.OCI_LAYER_ZSTD,
}
"""an OCI manifest names the same bytes by OCI's types"""


@dataclass(frozen=True)
class About:
    """What the new image says beyond its files."""

    run: RunConfig
    created: str
    created_by: str = ""
    author: str = ""
    comment: str = ""


def commit(store: ImageStore, parent: str, write: Write, about: About, names: Sequence[str]) -> str:
    """Make the image and give it ``names`` (full ones); return its id. NotFound if ``parent`` is gone."""
    with store.ingest():
        base = store.resolve(parent)
        manifest = store.manifest(base)
        if len(manifest.layers) >= MAX_LAYERS:
            raise errors.NotSupported(f"the image would have {MAX_LAYERS + 1} layers (at most {MAX_LAYERS})")
        with store.content.ingest(large=True) as blob:
            layer, size = _take_in(blob, write)
        if layer.digest != EMPTY_LAYER:
            below = base.chain[-1] if base.chain else ""
            chain_id = digests.chain_ids([*base.config.rootfs.diff_ids, layer.digest])[-1]
            store.layers.register(chain_id, below, size)
        config = encode(_configuration(base, layer.digest, about))
        described = Descriptor(
            media_type=descriptors.OCI_CONFIG, digest=store.content.add(config), size=len(config)
        )
        layers = [*map(_as_oci, manifest.layers), *([layer] if layer.digest != EMPTY_LAYER else [])]
        return store.commit(Manifest(config=described, layers=layers), names)


def _take_in(blob: Ingest, write: Write) -> tuple[Descriptor, int]:
    writer = Writer(blob.write)
    size = write(writer)
    writer.finish()
    digest = blob.digest
    if digest != EMPTY_LAYER:
        blob.commit(digest)
    return Descriptor(media_type=descriptors.OCI_LAYER, digest=digest, size=blob.size), size


def _configuration(base: Image, diff_id: str, about: About) -> ImageConfig:
    empty = diff_id == EMPTY_LAYER
    history = History(
        created=about.created,
        created_by=about.created_by,
        author=about.author,
        comment=about.comment,
        empty_layer=empty,
    )
    return msgspec.structs.replace(
        base.config,
        created=about.created,
        author=about.author,
        comment=about.comment,
        docker_version="",
        config=about.run,
        rootfs=Rootfs(diff_ids=[*base.config.rootfs.diff_ids, *([] if empty else [diff_id])]),
        history=[*(base.config.history or ()), history],
    )


def _as_oci(layer: Descriptor) -> Descriptor:
    return msgspec.structs.replace(layer, media_type=_OCI_LAYERS.get(layer.media_type, layer.media_type))
