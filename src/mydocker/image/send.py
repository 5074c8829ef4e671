"""Send one layer to a registry, in a process of its own (``workers``), unless the registry has it.

A layer that is stored as a plain tar is compressed first, and stays so: its gzip blob is in the store when
this is over, for the manifest that is pushed and for the next push.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..archive.deflate import gzipped
from ..oci import descriptor as descriptors
from .documents import Descriptor
from .store import ImageStore
from .workers import Send, Update, reported

if TYPE_CHECKING:
    from ..registry.client import Registries, Repository

PREPARING = "Preparing"
COMPRESSING = "Compressing"
PUSHING = "Pushing"
PUSHED = "Pushed"
EXISTS = "Layer already exists"


class LayerSend:
    """The work on one layer. ``sources`` are paths of repositories on the registry that have it already."""

    def __init__(
        self,
        store: ImageStore,
        registries: Registries,
        repository: Repository,
        descriptor: Descriptor,
        sources: Sequence[str],
    ) -> None:
        self._store = store
        self._registries = registries
        self._repository = repository
        self._descriptor = descriptor
        self._sources = sources

    def __call__(self, send: Send) -> Descriptor:
        """The descriptor of what the registry has now."""
        self._registries.notice = lambda text: send(Update(text))
        descriptor = self._descriptor
        if descriptor.media_type in descriptors.PLAIN_LAYERS:
            descriptor = self._compress(send)
        send(Update(self._send(descriptor, send)))
        return descriptor

    def _send(self, descriptor: Descriptor, send: Send) -> str:
        digest, size = descriptor.digest, descriptor.size
        if self._repository.blob_size(digest) is not None:
            return EXISTS
        for source in self._sources:
            if self._repository.mount(digest, source):
                return f"Mounted from {source}"

        def read(offset: int) -> Iterator[bytes]:
            return reported(self._store.content.chunks(digest, offset), PUSHING, size, send, done=offset)

        self._repository.upload(digest, size, read)
        return PUSHED

    def _compress(self, send: Send) -> Descriptor:
        plain = self._descriptor
        chunks = reported(self._store.content.chunks(plain.digest), COMPRESSING, plain.size, send)
        with self._store.content.ingest() as blob:
            for chunk in gzipped(chunks):
                blob.write(chunk)
            digest = blob.commit()
        return Descriptor(media_type=compressed_type(plain.media_type), digest=digest, size=blob.size)


def compressed_type(plain: str) -> str:
    return descriptors.DOCKER_LAYER_GZIP if plain == descriptors.DOCKER_LAYER else descriptors.OCI_LAYER_GZIP
