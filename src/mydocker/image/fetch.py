"""Take in one layer from a registry, in a process of its own (``workers``): one pass over its bytes.

    registry -> download/<hex> -> sha256 -> inflate -> sha256 -> tar -> files

The first half, as far as an earlier attempt has come, is read from the disk instead. The blob has its name
when this is over; the files wait at ``place`` for ``LayerStore.commit``, because they depend on layers that
other processes are still at work on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from .. import errors
from ..archive.compression import inflated
from ..content.download import Download
from ..oci import digest as digests
from .documents import Descriptor
from .layers import Unpacked, mismatch
from .store import ImageStore
from .workers import Send, Update, reported

if TYPE_CHECKING:
    from ..registry.client import Registries, Repository

PULLING = "Pulling fs layer"
DOWNLOADING = "Downloading"
VERIFYING = "Verifying Checksum"
DOWNLOADED = "Download complete"
EXTRACTING = "Extracting"
PULLED = "Pull complete"


class Fetched(msgspec.Struct, frozen=True):
    unpacked: Unpacked | None
    """None where it was not asked for"""


class LayerFetch:
    """The work on one layer. Without ``place`` only the blob is wanted."""

    def __init__(
        self,
        store: ImageStore,
        registries: Registries,
        repository: Repository,
        descriptor: Descriptor,
        diff_id: str,
        place: str | None,
    ) -> None:
        self._store = store
        self._registries = registries
        self._repository = repository
        self._descriptor = descriptor
        self._diff_id = diff_id
        self._place = place
        self._name = f"{repository.name}: layer {descriptor.digest}"

    def __call__(self, send: Send) -> Fetched:
        self._registries.notice = lambda text: send(Update(text))
        fetched = self._get(send)
        send(Update(PULLED))
        return fetched

    def _get(self, send: Send) -> Fetched:
        digest, size = self._descriptor.digest, self._descriptor.size
        if not self._store.content.has(digest):
            with self._store.content.download(digest, size, self._name) as download:
                if not download.complete:
                    unpacked = self._download(download, send)
                    download.commit()
                    return Fetched(unpacked)
        send(Update(DOWNLOADED))
        if self._place is None:
            return Fetched(None)
        chunks = reported(self._store.content.chunks(digest), EXTRACTING, size, send)
        return Fetched(self._unpack(self._place, chunks))

    def _download(self, download: Download, send: Send) -> Unpacked | None:
        resumed = download.resumed
        try:
            return self._pass(download, send)
        except errors.HostileArchive:
            raise
        except errors.CorruptData:
            if not resumed:
                raise
        # What an earlier attempt had left was not what it had written (a machine that lost power).
        download.restart()
        if self._place is not None:
            self._store.layers.discard(self._place)
        return self._pass(download, send)

    def _pass(self, download: Download, send: Send) -> Unpacked | None:
        size = self._descriptor.size
        chunks = _Unclosed(_downloaded(download.stream(self._fetch), size, send))
        unpacked = None
        try:
            if self._place is not None:
                unpacked = self._unpack(self._place, chunks)
            else:
                self._inflate(chunks)
        except errors.HostileArchive:
            download.restart()
            raise
        except errors.CorruptData:
            for _ in chunks:  # bytes that are not those of the digest are the better explanation
                pass
            download.restart()
            raise
        for _ in chunks:
            pass
        return unpacked

    def _unpack(self, place: str, chunks: Iterator[bytes]) -> Unpacked:
        unpacked = self._store.layers.unpack_apart(place, chunks, self._name)
        if unpacked.diff_id != self._diff_id:
            raise mismatch(self._name, unpacked.diff_id, self._diff_id)
        return unpacked

    def _inflate(self, chunks: Iterator[bytes]) -> None:
        """See that the blob is what the image says, although its files are here."""
        total = hashlib.sha256()
        for chunk in inflated(chunks, self._store.layers.limits, self._name):
            total.update(chunk)
        if (found := f"sha256:{total.hexdigest()}") != self._diff_id:
            raise mismatch(self._name, found, self._diff_id)

    def _fetch(self, offset: int) -> Iterator[bytes]:
        descriptor = self._descriptor
        try:
            for chunk in self._repository.blob(descriptor.digest, offset=offset, size=descriptor.size):
                offset += len(chunk)
                yield chunk
        except errors.NotFound:
            if not descriptor.urls:
                raise
            yield from self._from_publisher(descriptor.urls, offset)

    def _from_publisher(self, urls: Sequence[str], offset: int) -> Iterator[bytes]:
        """The rest of a layer that the registry does not have (image-spec descriptor.md, ``urls``)."""
        descriptor = self._descriptor
        if self._registries.notice is not None:
            self._registries.notice("Foreign layer, which is fetched from its publisher")
        try:
            yield from self._registries.published(
                urls, descriptor.digest, offset=offset, size=descriptor.size
            )
        except errors.Error as error:
            raise type(error)(
                f"{self._name}: a foreign layer, which the registry does not have: {error}"
            ) from error


class _Unclosed:
    """An iterator that stays open when the one who reads from it is closed."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> _Unclosed:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)


def _downloaded(chunks: Iterator[bytes], total: int, send: Send) -> Iterator[bytes]:
    yield from reported(chunks, DOWNLOADING, total, send)
    send(Update(VERIFYING))
    send(Update(DOWNLOADED))


def short(digest: str) -> str:
    """The twelve digits by which a layer is told of."""
    return digests.encoded(digest)[:12]
