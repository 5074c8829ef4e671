"""``import``: an image of one layer from the tar of a root file system.

``--change`` takes the Dockerfile instructions that only touch the configuration: CMD, ENTRYPOINT, ENV,
EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR, in their Dockerfile syntax (docker import(1)).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from .. import errors
from ..archive.compression import inflated
from ..oci import descriptor as descriptors
from ..oci import reference as references
from . import platforms
from .changes import apply_changes
from .documents import Descriptor, History, ImageConfig, Manifest, Rootfs, encode
from .sources import descriptor_chunks
from .store import ImageStore


class Download(NamedTuple):
    """An archive that comes from elsewhere."""

    url: str
    chunks: Iterator[bytes]


def import_(store: ImageStore, given: str | int | Download, reference: str, *, changes: Collection[str],
            message: str, platform: str) -> str:  # fmt: skip
    """Import the tar at a path, or read from a descriptor, or downloaded; return the image's id.

    ``platform`` is ``linux/arch[/variant]``; this machine's when empty. ``reference`` may be empty.
    """
    names = [str(references.parse_tagged(reference))] if reference else []
    run = apply_changes(changes)
    machine, variant = _platform(platform)
    with store.ingest():
        name, comment = _named(given)
        layer, diff_id = _take_in(store, given, name)
        config = encode(
            ImageConfig(
                created=_now(),
                comment=message or comment,
                architecture=machine,
                variant=variant,
                os="linux",
                config=run,
                rootfs=Rootfs(diff_ids=[diff_id]),
                history=[History(created=_now(), comment=message or f"Imported from {name}")],
            )
        )
        digest = store.content.add(config)
        described = Descriptor(media_type=descriptors.OCI_CONFIG, digest=digest, size=len(config))
        return store.commit(Manifest(config=described, layers=[layer]), names)


def _named(given: str | int | Download) -> tuple[str, str]:
    """What it is called in messages, and the comment of an image that is made from it."""
    if isinstance(given, int):
        return "standard input", "Imported from -"
    name = given if isinstance(given, str) else given.url
    return name, f"Imported from {name}"


def _take_in(store: ImageStore, given: str | int | Download, name: str) -> tuple[Descriptor, str]:
    if isinstance(given, Download):
        return _unpack(store, given.chunks, name)
    descriptor = os.dup(given) if isinstance(given, int) else _open(given)
    try:
        return _unpack(store, descriptor_chunks(descriptor), name)
    finally:
        os.close(descriptor)


def _unpack(store: ImageStore, chunks: Iterator[bytes], name: str) -> tuple[Descriptor, str]:
    """Store and unpack the archive. The blob is the plain tar, so its digest is the diff_id."""
    chunks = inflated(chunks, store.layers.limits, name)
    with store.content.ingest() as blob:
        diff_id = store.layers.unpack(_tee(chunks, blob.write), name, want_end=True)
        blob.commit(diff_id)
    return Descriptor(media_type=descriptors.OCI_LAYER, digest=diff_id, size=blob.size), diff_id


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise errors.NotFound(f"no such file: {path}") from None
    except OSError as error:
        raise errors.InvalidArgument(f"cannot read {path}: {error.strerror}") from error


def _tee(chunks: Iterator[bytes], write: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks:
        write(chunk)
        yield chunk


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _platform(text: str) -> tuple[str, str]:
    if not text:
        return platforms.architecture(), ""
    wanted = platforms.parse(text)
    if wanted.os != "linux":
        raise errors.NotSupported(f"platform {text}: only linux images can run here")
    return wanted.architecture, wanted.variant
