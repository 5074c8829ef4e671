"""The JSON documents of an image, as frozen structures with the fields that are used here.

    index     names manifests, one for each platform or name       image-spec image-index.md
    manifest  names a configuration and layers by digest           manifest.md
    config    what to run, and the diff_ids of the layers           config.md; Docker's image.json has more
    archive   ``manifest.json`` of ``docker save``                  moby image/spec

Blobs are kept byte for byte, so a field that is not listed is not lost. Decoding raises ``CorruptData`` with
the place in the document.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .. import errors
from ..oci import descriptor as descriptors


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    architecture: str = ""
    os: str = ""
    variant: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: tuple[str, ...] | None = msgspec.field(name="os.features", default=None)


class Descriptor(msgspec.Struct, rename="camel", frozen=True, kw_only=True, omit_defaults=True):
    media_type: str = ""
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] | None = None
    artifact_type: str = ""
    urls: list[str] | None = None


class Index(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    schema_version: int = 2
    media_type: str = descriptors.OCI_INDEX
    manifests: list[Descriptor] = []


class Manifest(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    schema_version: int = 2
    media_type: str = descriptors.OCI_MANIFEST
    config: Descriptor
    layers: list[Descriptor] = []


class Healthcheck(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    test: list[str] | None = None
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class RunConfig(msgspec.Struct, rename="pascal", frozen=True, kw_only=True, omit_defaults=True):
    """``config.config``: the defaults of a container made from the image."""

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    stop_timeout: int | None = None
    healthcheck: Healthcheck | None = None
    shell: list[str] | None = None
    on_build: list[str] | None = None
    args_escaped: bool = False


class Rootfs(msgspec.Struct, frozen=True, kw_only=True):
    type: str = "layers"
    diff_ids: list[str] = []


class History(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    created: str | None = None
    author: str = ""
    comment: str = ""
    architecture: str = ""
    variant: str = ""
    os: str = ""
    os_version: str = msgspec.field(name="os.version", default="")
    os_features: tuple[str, ...] | None = msgspec.field(name="os.features", default=None)
    docker_version: str = ""
    config: RunConfig | None = None
    rootfs: Rootfs
    history: list[History] | None = None


class ArchiveImage(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """One element of the ``manifest.json`` of ``docker save``."""

    config: str
    repo_tags: list[str] | None = None
    layers: list[str] | None = None


_T = TypeVar("_T")
# A decoder takes a millisecond to make: those that every command with an image needs are made on import.
_decoders: dict[Any, Any] = {kind: msgspec.json.Decoder(kind) for kind in (Index, Manifest, ImageConfig)}


def decode(kind: type[_T], data: bytes, name: str) -> _T:
    """``data`` as a ``kind``; ``name`` says in an error which document it is."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        document: _T = decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise errors.CorruptData(f"{name}: {error}") from error
    return document


def encode(document: msgspec.Struct) -> bytes:
    """JSON in a fixed order, so that the same document has the same digest."""
    return msgspec.json.encode(document)
