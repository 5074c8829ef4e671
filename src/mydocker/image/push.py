"""``push``: an image to a registry, several layers at once, and of each only what the registry lacks.

    1. each layer: is it there? can it be had from another repository of the registry? else it is sent
       (``send``, ``workers``)
    2. the configuration, then the manifest under its tag: a registry takes it when it has all that is in it
    3. the image gets the name ``repository@digest``

The manifest goes as it is stored, byte for byte. Only where a layer was a plain tar, which is then sent as
gzip, is another manifest made, and takes the place of the stored one; the image's id stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from .. import errors
from ..oci import descriptor as descriptors
from ..oci import reference as references
from ..oci.reference import Reference
from . import platforms, send, workers
from .documents import Descriptor, ImageConfig, Manifest, Platform, decode
from .fetch import short
from .progress import Progress, Report
from .send import LayerSend
from .store import Image, ImageStore

if TYPE_CHECKING:
    from ..registry.client import Registries, Repository

LIMIT = 5
"""Docker's max-concurrent-uploads"""


def push(
    store: ImageStore, registries: Registries, reference: Reference, wanted: Platform | None, report: Report
) -> str:
    """Push the image that ``reference``, which has a tag, stands for; the digest of its manifest.

    NotFound if there is no such image here, or it is not for ``wanted``.
    """
    _begin(store, reference, report)
    return _push(store, registries, reference, wanted, report)


def push_all(
    store: ImageStore, registries: Registries, reference: Reference, wanted: Platform | None, report: Report
) -> Sequence[str]:
    """Push every tag that there is here of the repository that ``reference`` names."""
    tags = _begin(store, reference, report)
    if not tags:
        raise errors.NotFound(f"no tags to push for {reference.familiar_name}")
    return [_push(store, registries, tag, wanted, report) for tag in tags]


def _begin(store: ImageStore, reference: Reference, report: Report) -> list[Reference]:
    """Say what is going to happen; the tags of the repository that are here."""
    if reference.digest:
        raise errors.InvalidArgument("cannot push a digest reference")
    report(Progress(f"The push refers to repository [{reference.name}]"))
    names = [one for one in map(references.parse, store.names()) if one.name == reference.name]
    if not names:
        raise errors.NotFound(
            f"An image does not exist locally with the tag: {reference.familiar_name}"
            " (give it that name with `tag`)"
        )
    return sorted((one for one in names if not one.digest), key=str)


def _push(
    store: ImageStore, registries: Registries, reference: Reference, wanted: Platform | None, report: Report
) -> str:
    with store.ingest():
        try:
            image = store.resolve(str(reference))
        except errors.NotFound:
            raise errors.NotFound(f"tag does not exist: {reference.familiar()}") from None
        if wanted is not None and not platforms.matches(wanted, image.platform):
            raise errors.NotFound(platforms.mismatch(reference.familiar(), wanted, image.platform))
        repository = registries.repository(reference, push=True)
        digest, size = _Push(store, registries, repository, image, reference, report).run()
        store.name(image.id, [f"{reference.name}@{digest}"])
    report(Progress(f"{reference.tag}: digest: {digest} size: {size}"))
    return digest


class _Push:
    """One image on its way."""

    def __init__(
        self,
        store: ImageStore,
        registries: Registries,
        repository: Repository,
        image: Image,
        reference: Reference,
        report: Report,
    ) -> None:
        self._store = store
        self._registries = registries
        self._repository = repository
        self._image = image
        self._reference = reference
        self._report = report
        self._data = store.content.read(image.digest)
        self._manifest = decode(Manifest, self._data, f"manifest {image.digest}")
        self._media_type = image.media_type

    def run(self) -> tuple[str, int]:
        """The digest of the manifest, and its bytes."""
        if not self._is_there():
            self._send()
        digest = self._repository.put_manifest(self._reference.tag, self._media_type, self._data)
        return digest, len(self._data)

    def _send(self) -> None:
        """Send what the manifest needs; ``_data`` is then the manifest that goes with it."""
        sent = self._send_layers()
        config = self._manifest.config
        if self._repository.blob_size(config.digest) is None:
            self._repository.upload(config.digest, config.size, self._read(config.digest))
        if any(before != after for before, after in zip(self._manifest.layers, sent, strict=True)):
            self._data = _with_layers(self._data, sent)
            self._store.replace_manifest(self._image.id, self._data, self._media_type)

    def _is_there(self) -> bool:
        """Whether the registry has this very image, under whatever tag, and so all of its blobs."""
        layers = self._manifest.layers
        if any(layer.media_type in descriptors.PLAIN_LAYERS for layer in layers):
            return False
        if self._repository.resolve(self._image.digest) is None:
            return False
        for diff_id in reversed(self._image.config.rootfs.diff_ids):
            self._report(Progress(send.PREPARING, short(diff_id)))
        for diff_id in reversed(self._image.config.rootfs.diff_ids):
            self._report(Progress(send.EXISTS, short(diff_id)))
        return True

    def _read(self, digest: str) -> Any:
        def read(offset: int) -> Iterator[bytes]:
            return self._store.content.chunks(digest, offset)

        return read

    def _send_layers(self) -> list[Descriptor]:
        """The descriptors of the layers as they have gone out, bottom first."""
        layers, diff_ids = self._manifest.layers, self._image.config.rootfs.diff_ids
        jobs: list[LayerSend] = []
        numbers: dict[str, int] = {}
        names: list[str] = []
        compressed: dict[str, Descriptor] | None = None
        sources = self._sources()
        for layer, diff_id in reversed(list(zip(layers, diff_ids, strict=True))):
            if layer.media_type in descriptors.FOREIGN_LAYERS and layer.urls:
                self._report(Progress("Skipped foreign layer", short(diff_id)))
                continue
            self._report(Progress(send.PREPARING, short(diff_id)))
            if layer.digest in numbers:
                continue
            numbers[layer.digest] = len(jobs)
            names.append(short(diff_id))
            if layer.media_type in descriptors.PLAIN_LAYERS:
                compressed = self._compressed() if compressed is None else compressed
                layer_sent = compressed.get(diff_id, layer)
            else:
                layer_sent = layer
            jobs.append(
                LayerSend(
                    self._store,
                    self._registries,
                    self._repository,
                    layer_sent,
                    sources.get(layer_sent.digest, ()),
                )
            )
        for name in names[LIMIT:]:
            self._report(Progress("Waiting", name))

        def told(job: int, update: workers.Update) -> None:
            self._report(Progress(update.status, names[job], update.current, update.total))

        done = workers.run(jobs, Descriptor, told, LIMIT)
        return [done[numbers[layer.digest]] if layer.digest in numbers else layer for layer in layers]

    def _sources(self) -> dict[str, list[str]]:
        """For each blob the other repositories of this registry that are known to have it."""
        found: dict[str, list[str]] = {}
        here = self._reference
        for entry, name in self._store.named_entries():
            other = references.parse(name)
            if not other.digest or other.domain != here.domain or other.path == here.path:
                continue
            for layer in self._store.manifest_of(entry.digest).layers:
                paths = found.setdefault(layer.digest, [])
                if other.path not in paths:
                    paths.append(other.path)
        return found

    def _compressed(self) -> dict[str, Descriptor]:
        """Layers that other images have as gzip already, by diff_id: they need not be compressed again."""
        found: dict[str, Descriptor] = {}
        for digest in dict.fromkeys(self._store.manifests()):
            manifest = self._store.manifest_of(digest)
            if all(layer.media_type in descriptors.PLAIN_LAYERS for layer in manifest.layers):
                continue
            data = self._store.content.read(manifest.config.digest)
            config = decode(ImageConfig, data, f"configuration of image {manifest.config.digest}")
            for layer, diff_id in zip(manifest.layers, config.rootfs.diff_ids, strict=True):
                if layer.media_type in (descriptors.OCI_LAYER_GZIP, descriptors.DOCKER_LAYER_GZIP):
                    found.setdefault(diff_id, layer)
        return found


def _with_layers(data: bytes, layers: Sequence[Descriptor]) -> bytes:
    """The manifest with other layers, and everything else that is in it as it was."""
    document = msgspec.json.decode(data)
    for entry, layer in zip(document["layers"], layers, strict=True):
        entry.update(mediaType=layer.media_type, digest=layer.digest, size=layer.size)
    return msgspec.json.encode(document)
