"""``save``: images as one tar that is an OCI image layout and a Docker archive at once.

    blobs/sha256/<hex>     manifests, configurations and layers, byte for byte as they are stored here
    index.json             OCI: a descriptor for each name, with the name as annotation
    manifest.json          Docker: configuration, names and layers of each image, as paths into blobs/
    oci-layout             {"imageLayoutVersion": "1.0.0"}
    repositories           Docker before 1.10: name -> tag -> top layer

Layers keep the digest and the compression that they came with. The same images give the same bytes: members
come in the order of their names, with fixed attributes (moby image/spec; image-spec image-layout.md).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from .. import errors
from ..archive import tar
from ..archive.write import Writer
from ..content import files
from ..oci import descriptor as descriptors
from ..oci import digest as digests
from ..oci import reference as references
from ..oci.reference import Reference
from . import platforms
from .documents import Descriptor, Index, Platform, encode
from .store import Image, ImageStore


def save(store: ImageStore, wanted: Sequence[str], descriptor: int, platform: str) -> None:
    """Write the images that the references ``wanted`` name to ``descriptor``.

    A name without a tag stands for all tags of the repository. ``platform``, if not empty, is the one that
    the images must have. NotFound for what is not here.
    """
    with store.hold():
        chosen = _Chosen(store)
        for reference in wanted:
            chosen.add(reference)
        if platform:
            chosen.check(platforms.parse(platform))
        _write(chosen, descriptor)


class _Chosen:
    """The images of an archive, each with the names that it is saved under."""

    def __init__(self, store: ImageStore) -> None:
        self.store = store
        self.images: dict[str, Image] = {}
        self.names: dict[str, list[Reference]] = {}

    def add(self, reference: str) -> None:
        for image, name in self._named(reference):
            self.images.setdefault(image.id, image)
            names = self.names.setdefault(image.id, [])
            if name is not None and name not in names:
                names.append(name)

    def _named(self, reference: str) -> list[tuple[Image, Reference | None]]:
        try:
            parsed = references.parse(reference)
        except errors.InvalidArgument:
            return [(self.store.resolve(reference), None)]
        if not parsed.tag and not parsed.digest:
            found = {
                name.tag: (image, name)
                for image in self.store.list()
                for name in map(references.parse, image.repo_tags)
                if name.name == parsed.name
            }
            if found:
                return [found[tag] for tag in sorted(found)]
        image = self.store.resolve(reference)
        by_name = parsed.tag and not parsed.digest and parsed.familiar() in image.repo_tags
        return [(image, parsed if by_name else None)]

    def check(self, wanted: Platform) -> None:
        for image in self.images.values():
            if not platforms.matches(wanted, platforms.of(image.config)):
                name = next((str(name) for name in self.names[image.id]), image.id)
                raise errors.NotFound(
                    f"image with reference {name} was found but does not provide the specified platform "
                    f"({platforms.show(wanted)})"
                )


def _write(chosen: _Chosen, descriptor: int) -> None:
    store = chosen.store
    blobs: dict[str, int] = {}
    index: list[Descriptor] = []
    archive: list[dict[str, object]] = []
    repositories: dict[str, dict[str, str]] = {}
    for image in chosen.images.values():
        manifest = store.manifest(image)
        names = chosen.names[image.id]
        for digest in (image.digest, image.id, *(layer.digest for layer in manifest.layers)):
            blobs[digest] = store.content.size(digest)
        described = Descriptor(
            media_type=manifest.media_type,
            digest=image.digest,
            size=blobs[image.digest],
            platform=platforms.of(image.config),
        )
        index += [_annotated(described, name) for name in names] or [described]
        archive.append(
            {
                "Config": _path(image.id),
                "RepoTags": [name.familiar() for name in names] or None,
                "Layers": [_path(layer.digest) for layer in manifest.layers],
            }
        )
        for name in names if manifest.layers else ():
            top = digests.encoded(manifest.layers[-1].digest)
            repositories.setdefault(name.familiar_name, {})[name.tag] = top
    documents = {
        "index.json": encode(Index(manifests=index)),
        "manifest.json": msgspec.json.encode(archive),
        "oci-layout": b'{"imageLayoutVersion":"%s"}' % descriptors.LAYOUT_VERSION.encode(),
    }
    if repositories:
        documents["repositories"] = msgspec.json.encode(repositories, order="sorted")
    _Archive(descriptor).write(store, blobs, documents)


def _annotated(described: Descriptor, name: Reference) -> Descriptor:
    annotations = {descriptors.CONTAINERD_NAME: str(name), descriptors.REF_NAME: str(name)}
    return msgspec.structs.replace(described, annotations=annotations)


def _path(digest: str) -> str:
    return f"blobs/sha256/{digests.encoded(digest)}"


class _Archive:
    """A tar on a descriptor, whose members have nothing but names and contents."""

    def __init__(self, descriptor: int) -> None:
        self._writer = Writer(lambda piece: files.write_all(descriptor, piece))

    def write(self, store: ImageStore, blobs: dict[str, int], documents: dict[str, bytes]) -> None:
        for name in ("blobs/", "blobs/sha256/"):
            self._writer.add(_entry(name, tar.DIRECTORY, 0o755))
        for digest in sorted(blobs):
            file = os.open(store.content.path(digest), os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._writer.add(_entry(_path(digest), size=blobs[digest]), file)
            finally:
                os.close(file)
        for name, data in documents.items():
            self._writer.add(_entry(name, size=len(data)), data)
        self._writer.finish()


def _entry(name: str, kind: bytes = tar.REGULAR, mode: int = 0o644, size: int = 0) -> tar.Entry:
    entry = tar.Entry()
    entry.name, entry.type, entry.mode, entry.size = name.encode(), kind, mode, size
    return entry
