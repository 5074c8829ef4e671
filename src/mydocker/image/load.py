"""``load``: take in every image of an archive or directory.

Two layouts, and archives may have both (``docker save`` since 25.0 writes both):

    docker-archive   manifest.json lists configuration, names and layer tars of each image
    OCI layout       oci-layout, index.json (descriptors, nested for several platforms), blobs/

In the first, layers are named by path and checked against the diff_ids of the configuration; in the second
every blob is checked against its digest, and each layer against its diff_id as well. Names come from
``RepoTags``, or from the annotations ``io.containerd.image.name`` and ``org.opencontainers.image.ref.name``;
a bare word there, which umoci writes and means as a tag, is taken for the name of the repository.

An image is committed when all of it is here. Whatever happens before leaves the earlier image of that name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from .. import errors
from ..archive.compression import inflated, kind_of
from ..oci import descriptor as descriptors
from ..oci import digest as digests
from ..oci import reference as references
from . import platforms
from .documents import (
    ArchiveImage,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    decode,
    encode,
)
from .sources import Source, open_source, read
from .store import MAX_LAYERS, ImageStore

Progress = Callable[[str, int, int], None]
"""``progress(layer, done_bytes, total)``: the first 12 digits of the diff_id, bytes of the archive's blob"""

_MEDIA_TYPES = {
    "": descriptors.OCI_LAYER,
    "gzip": descriptors.OCI_LAYER_GZIP,
    "zstd": descriptors.OCI_LAYER_ZSTD,
}
_NESTING = 4


def load(
    store: ImageStore, given: str | int, progress: Progress | None = None, platform: str = ""
) -> list[str]:
    """Load all images of ``given``, or those for ``platform``; a line for each name, as Docker prints it.

    ``Loaded image: alpine:3.20``, or ``Loaded image ID: sha256:…`` for one without a name.
    """
    wanted = platforms.parse(platform) if platform else platforms.host()
    with store.ingest():
        source = open_source(given, os.path.join(store.content.root, "ingest"), store.layers.limits)
        try:
            lines: list[str] = []
            found = _images(source, wanted)
            chosen = [image for image in found if not platform or image.fits(wanted)]
            if not chosen:
                raise errors.NotFound(f"{source.name}: no image in it is for {platforms.show(wanted)}")
            for image in chosen:
                lines += image.load(store, progress)
        finally:
            source.close()
    return lines


def _images(source: Source, wanted: Platform) -> list[_Found]:
    """What is in the archive, before any of it is taken in; of an index what is for ``wanted``."""
    tags: dict[str, list[str]] = {}
    listed: list[ArchiveImage] = []
    if source.has("manifest.json"):
        listed = decode(list[ArchiveImage], read(source, "manifest.json"), f"{source.name}: manifest.json")
    found: list[_Found] = []
    if source.has(descriptors.INDEX_FILE) and source.has(descriptors.LAYOUT_FILE):
        for image in listed:
            digest = digests.of(read(source, image.config))
            tags.setdefault(digest, []).extend(image.repo_tags or [])
        index = decode(
            Index, read(source, descriptors.INDEX_FILE), f"{source.name}: {descriptors.INDEX_FILE}"
        )
        merged: dict[str, _Found] = {}
        for entry in index.manifests:
            one = _in_layout(source, entry, 0, wanted)
            if one is None:
                raise errors.NotFound(
                    f"{source.name}: {entry.digest} has no manifest for {platforms.show(wanted)}"
                )
            known = merged.setdefault(one.manifest_digest, one)
            known.names += [*_annotated(entry), *tags.get(one.image_id, [])]
        found = list(merged.values())
    elif listed:
        found = [_in_archive(source, image) for image in listed]
    elif source.has("repositories"):
        raise errors.NotSupported(
            f"{source.name}: an archive of Docker before 1.10, which has no manifest.json"
        )
    if not found:
        raise errors.CorruptData(
            f"{source.name}: no image in it: neither manifest.json nor index.json "
            "(the tar of a root file system is for `import`)"
        )
    return found


class _Layer:
    """Where a layer is in the source, and what is known of its blob beforehand."""

    __slots__ = ("descriptor", "diff_id", "member")

    def __init__(self, member: str, diff_id: str, descriptor: Descriptor | None) -> None:
        self.member = member
        self.diff_id = diff_id
        self.descriptor = descriptor


class _Found:
    """One image in a source."""

    def __init__(self, source: Source, config: bytes, layers: list[_Layer], names: list[str]) -> None:
        self.source = source
        self.config = config
        self.image_id = digests.of(config)
        self.layers = layers
        self.names = names
        self.manifest: bytes | None = None
        self.manifest_type = descriptors.OCI_MANIFEST
        self.manifest_digest = ""

    def fits(self, wanted: Platform) -> bool:
        config = decode(ImageConfig, self.config, f"{self.source.name}: configuration {self.image_id}")
        return platforms.matches(wanted, platforms.of(config))

    def load(self, store: ImageStore, progress: Progress | None) -> list[str]:
        names = list(dict.fromkeys(str(references.parse_tagged(name)) for name in self.names))
        if len(self.layers) > MAX_LAYERS:
            raise errors.NotSupported(f"{self.source.name}: {len(self.layers)} layers (at most {MAX_LAYERS})")
        blobs = [self._layer(store, at, layer, progress) for at, layer in enumerate(self.layers)]
        store.content.add(self.config)
        if self.manifest is None:
            config = Descriptor(
                media_type=descriptors.OCI_CONFIG, digest=self.image_id, size=len(self.config)
            )
            self.manifest = encode(Manifest(config=config, layers=blobs))
        store.commit_raw(self.manifest, self.manifest_type, self.image_id, names)
        if not names:
            return [f"Loaded image ID: {self.image_id}"]
        return [f"Loaded image: {references.parse(name).familiar()}" for name in names]

    def _layer(self, store: ImageStore, at: int, layer: _Layer, progress: Progress | None) -> Descriptor:
        """Make sure that the blob and the unpacked layer are here; return the blob's descriptor."""
        chain = digests.chain_ids([below.diff_id for below in self.layers[: at + 1]])
        unpacked = store.layers.has(chain[-1])
        known = layer.descriptor
        if known is None and store.content.has(layer.diff_id):
            known = Descriptor(
                media_type=descriptors.OCI_LAYER, digest=layer.diff_id, size=store.content.size(layer.diff_id)
            )
        if known is not None and store.content.has(known.digest):
            if unpacked:
                return known
            chunks = store.content.chunks(known.digest)
            self._unpack(store, chunks, layer, chain, known.size, progress)
            return known
        name = f"{self.source.name}: layer {layer.member}"
        if known is not None and known.urls and not self.source.has(layer.member):
            raise errors.CorruptData(
                f"{name} is missing: a foreign layer, which its publisher has at {known.urls[0]!r} "
                "(pull the image)"
            )
        total = self.source.size(layer.member)
        chunks = self.source.chunks(layer.member)
        kind = kind_of(next(self.source.chunks(layer.member), b"")[:6])
        if kind not in _MEDIA_TYPES:  # bzip2 and xz are no media types of OCI: the blob is the plain tar
            chunks, kind = inflated(chunks, store.layers.limits, name), ""
        with store.content.ingest() as blob:
            tee = _tee(chunks, blob.write)
            if unpacked:
                for _ in tee:
                    pass
            else:
                self._unpack(store, tee, layer, chain, total, progress)
                for _ in tee:
                    pass
            if known is not None:
                blob.commit(known.digest, known.size)
                return known
            digest = blob.commit()
            if unpacked and not kind and digest != layer.diff_id:
                raise errors.CorruptData(f"{name}: its digest is {digest}, the image says {layer.diff_id}")
        return Descriptor(media_type=_MEDIA_TYPES[kind], digest=digest, size=blob.size)

    def _unpack(
        self,
        store: ImageStore,
        chunks: Iterator[bytes],
        layer: _Layer,
        chain: list[str],
        total: int,
        progress: Progress | None,
    ) -> None:
        name = f"{self.source.name}: layer {layer.member}"
        if progress is not None:
            chunks = _reported(chunks, digests.encoded(layer.diff_id)[:12], total, progress)
        parent = chain[-2] if len(chain) > 1 else ""
        store.layers.unpack(chunks, name, parent=parent, diff_id=layer.diff_id)


def _tee(chunks: Iterator[bytes], write: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks:
        write(chunk)
        yield chunk


def _reported(chunks: Iterator[bytes], layer: str, total: int, progress: Progress) -> Iterator[bytes]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        yield chunk
        progress(layer, done, total)


def _in_archive(source: Source, image: ArchiveImage) -> _Found:
    config = read(source, image.config)
    name = f"{source.name}: {image.config}"
    diff_ids = _diff_ids(config, name)
    members = image.layers or []
    if len(members) != len(diff_ids):
        raise errors.CorruptData(
            f"{name}: {len(diff_ids)} diff_ids, but manifest.json has {len(members)} layers"
        )
    layers = [_Layer(member, diff_id, None) for member, diff_id in zip(members, diff_ids, strict=True)]
    return _Found(source, config, layers, list(image.repo_tags or []))


def _diff_ids(config: bytes, name: str) -> list[str]:
    document = decode(ImageConfig, config, name)
    if document.rootfs.type != "layers":
        raise errors.NotSupported(f"{name}: a root file system of type {document.rootfs.type!r}")
    if document.os not in ("", "linux"):
        raise errors.NotSupported(f"{name}: an image for {document.os}, not for linux")
    for diff_id in document.rootfs.diff_ids:
        try:
            digests.validate_sha256(diff_id)
        except errors.InvalidArgument as error:
            raise errors.CorruptData(f"{name}: {error}") from error
    return document.rootfs.diff_ids


def _blob(source: Source, descriptor: Descriptor) -> bytes:
    data = read(source, _member(source, descriptor))
    if len(data) != descriptor.size or digests.of(data) != descriptor.digest:
        raise errors.CorruptData(
            f"{source.name}: blob {descriptor.digest} does not have this digest and size"
        )
    return data


def _member(source: Source, descriptor: Descriptor) -> str:
    try:
        digests.validate_sha256(descriptor.digest)
    except errors.InvalidArgument as error:
        raise errors.CorruptData(f"{source.name}: {error}") from error
    return f"blobs/sha256/{digests.encoded(descriptor.digest)}"


def _in_layout(source: Source, entry: Descriptor, depth: int, wanted: Platform) -> _Found | None:
    """The image for ``wanted`` that ``entry`` leads to, or None if it has none for it."""
    if depth > _NESTING:
        raise errors.CorruptData(f"{source.name}: indexes are nested more than {_NESTING} deep")
    data = _blob(source, entry)
    name = f"{source.name}: {entry.digest}"
    if entry.media_type in descriptors.INDEXES:
        for inner in platforms.choose(decode(Index, data, name).manifests, wanted):
            if source.has(_member(source, inner)):
                found = _in_layout(source, inner, depth + 1, wanted)
                if found is not None:
                    return found
        return None
    if entry.media_type not in descriptors.MANIFESTS:
        raise errors.NotSupported(f"{name}: media type {entry.media_type!r} is neither an image nor an index")
    manifest = decode(Manifest, data, name)
    config = _blob(source, manifest.config)
    diff_ids = _diff_ids(config, f"{source.name}: {manifest.config.digest}")
    if len(diff_ids) != len(manifest.layers):
        raise errors.CorruptData(f"{name}: {len(manifest.layers)} layers, but {len(diff_ids)} diff_ids")
    layers = [
        _Layer(_member(source, layer), diff_id, layer)
        for layer, diff_id in zip(manifest.layers, diff_ids, strict=True)
    ]
    found = _Found(source, config, layers, [])
    found.manifest, found.manifest_type, found.manifest_digest = data, entry.media_type, entry.digest
    return found


def _annotated(entry: Descriptor) -> list[str]:
    annotations = entry.annotations or {}
    name = annotations.get(descriptors.CONTAINERD_NAME, "")
    if not name:
        name = annotations.get(descriptors.REF_NAME, "")
    return [name] if name else []
