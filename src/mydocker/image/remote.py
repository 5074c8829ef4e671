"""From a name on a registry to the documents of one image: index, manifest, configuration.

Everything is checked before a layer is fetched: digests and sizes against the descriptors that led there,
media types, the platform, and that manifest and configuration speak of the same number of layers. What a
document is has been told by the registry client.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from .. import errors
from ..oci import descriptor as descriptors
from ..oci import digest as digests
from . import platforms
from .documents import Descriptor, ImageConfig, Index, Manifest, Platform, decode
from .store import MAX_LAYERS

NESTING = 4
"""indexes in indexes"""
_DOCUMENT = 32 << 20
_CONFIGS = frozenset((descriptors.OCI_CONFIG, descriptors.DOCKER_CONFIG, "application/octet-stream", ""))


class Document(Protocol):
    """``registry.client.Document``"""

    @property
    def media_type(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class Documents(Protocol):
    """What is needed of ``registry.client.Repository``."""

    @property
    def name(self) -> str: ...
    def manifest(self, reference: str) -> Document: ...
    def blob(self, digest: str, *, offset: int = 0, size: int | None = None) -> Iterator[bytes]: ...


@dataclass(frozen=True)
class RemoteImage:
    digest: str
    """of what the name stands for: an index, or the manifest"""
    manifest_type: str
    manifest_data: bytes
    manifest: Manifest
    config_data: bytes
    config: ImageConfig

    @property
    def id(self) -> str:
        return self.manifest.config.digest

    @property
    def platform(self) -> Platform:
        config = self.config
        return platforms.normalise(
            Platform(os=config.os or "linux", architecture=config.architecture, variant=config.variant)
        )


def look_up(
    repository: Documents, document: Document, reference: str, wanted: Platform | None
) -> RemoteImage:
    """The image that ``document``, found by the tag or digest ``reference``, is or leads to.

    It is for this machine if ``wanted`` is None. NotFound if an index has none for the platform; CorruptData
    and NotSupported, which name the document.
    """
    separator = "@" if ":" in reference else ":"
    name = f"{repository.name}{separator}{reference}"
    found = _find(repository, document, name, wanted or platforms.host(), 0)
    if found is None:
        raise errors.NotFound(
            f"{name}: no matching manifest for {_asked(wanted)} in the manifest list entries"
        )
    media_type, data = found
    manifest = decode(Manifest, data, f"{name}: manifest {digests.of(data)}")
    _check(manifest, name)
    config_data = b"".join(
        _bounded(repository.blob(manifest.config.digest, size=manifest.config.size), manifest.config, name)
    )
    _verify(config_data, manifest.config, f"{name}: configuration")
    config = decode(ImageConfig, config_data, f"{name}: configuration {manifest.config.digest}")
    _check_config(config, manifest, name)
    return RemoteImage(document.digest, media_type, data, manifest, config_data, config)


def _asked(wanted: Platform | None) -> str:
    if wanted is not None:
        return platforms.show(wanted)
    here = platforms.host()
    return platforms.show(
        here if here.architecture != "amd64" else Platform(os="linux", architecture="amd64")
    )


def _find(
    repository: Documents, document: Document, name: str, wanted: Platform, depth: int
) -> tuple[str, bytes] | None:
    """Media type and bytes of the manifest for ``wanted`` that ``document`` is or leads to; None if none."""
    kind = document.media_type
    if kind in descriptors.MANIFESTS:
        return kind, document.data
    if depth >= NESTING:
        raise errors.CorruptData(f"{name}: indexes are nested more than {NESTING} deep")
    index = decode(Index, document.data, f"{name}: index {document.digest}")
    for entry in platforms.choose(index.manifests, wanted):
        if entry.media_type not in descriptors.MANIFESTS | descriptors.INDEXES:
            continue  # an artifact beside the images
        _validate(entry.digest, name)
        inner = repository.manifest(entry.digest)
        _verify(inner.data, entry, f"{name}: manifest")
        if inner.media_type != entry.media_type:
            raise errors.CorruptData(
                f"{name}: manifest {entry.digest} is {inner.media_type}, its index says {entry.media_type}"
            )
        found = _find(repository, inner, name, wanted, depth + 1)
        if found is not None:
            return found
    return None


def _validate(digest: str, name: str) -> None:
    try:
        digests.validate_sha256(digest)
    except errors.InvalidArgument as error:
        raise errors.CorruptData(f"{name}: {error}") from error


def _verify(data: bytes, descriptor: Descriptor, what: str) -> None:
    if len(data) != descriptor.size:
        raise errors.CorruptData(
            f"{what} {descriptor.digest}: {len(data)} bytes, its descriptor says {descriptor.size}"
        )
    if (found := digests.of(data)) != descriptor.digest:
        raise errors.CorruptData(f"{what} {descriptor.digest}: its contents have the digest {found}")


def _bounded(chunks: Iterator[bytes], descriptor: Descriptor, name: str) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > descriptor.size:
            raise errors.CorruptData(
                f"{name}: blob {descriptor.digest} is longer than {descriptor.size} bytes"
            )
        yield chunk


def _check(manifest: Manifest, name: str) -> None:
    if manifest.config.media_type not in _CONFIGS:
        raise errors.NotSupported(
            f"{name}: its configuration is {manifest.config.media_type}: an artifact, not an image"
        )
    if manifest.config.size > _DOCUMENT:
        raise errors.CorruptData(f"{name}: a configuration of {manifest.config.size} bytes")
    if len(manifest.layers) > MAX_LAYERS:
        raise errors.NotSupported(f"{name}: {len(manifest.layers)} layers (at most {MAX_LAYERS})")
    for descriptor in (manifest.config, *manifest.layers):
        _validate(descriptor.digest, name)
        if descriptor.size < 0:
            raise errors.CorruptData(f"{name}: blob {descriptor.digest} of {descriptor.size} bytes")
    for layer in manifest.layers:
        if layer.media_type not in descriptors.LAYERS | descriptors.FOREIGN_LAYERS:
            raise errors.NotSupported(
                f"{name}: layer {layer.digest} is {layer.media_type}, which cannot be unpacked"
            )


def _check_config(config: ImageConfig, manifest: Manifest, name: str) -> None:
    if config.os not in ("", "linux"):
        raise errors.NotSupported(
            f'{name}: image operating system "{config.os}" cannot be used on this platform'
        )
    if config.rootfs.type != "layers":
        raise errors.NotSupported(f"{name}: a root file system of type {config.rootfs.type!r}")
    if len(config.rootfs.diff_ids) != len(manifest.layers):
        raise errors.CorruptData(
            f"{name}: the manifest has {len(manifest.layers)} layers, "
            f"the configuration has {len(config.rootfs.diff_ids)} diff_ids"
        )
    for diff_id in config.rootfs.diff_ids:
        _validate(diff_id, name)
