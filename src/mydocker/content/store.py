"""Blobs in an OCI image layout (image-spec image-layout.md), which skopeo and umoci can read as it stands.

    <root>/oci-layout             {"imageLayoutVersion": "1.0.0"}
           index.json             what is here, by name; ``image/`` decides what is in it
           blobs/sha256/<hex>     the bytes with that digest
           ingest/<pid>-<n>       a blob on its way in, named after the process that writes it
           ingest/<pid>-<n>.note  says that something may have become garbage
           download/<hex>         what has come of a blob from a registry so far, see ``download``

A blob is taken in by writing it to ``ingest``, checking size and digest, fsync, rename, fsync of the
directory; so a name in ``blobs`` is a promise about what is in it. Who holds no blob in ``ingest`` is known
by ``image/``'s lock, under which leftovers of the killed are removed. Downloads outlive the
killed, for a day.

Out of scope: what blobs mean, and which may go.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from collections.abc import Iterator, Sequence

from .. import errors
from ..oci import descriptor as descriptors
from ..oci import digest as digests
from . import files
from .beside import Beside
from .download import Download, is_idle

CHUNK = 1 << 20
DOWNLOADS_KEPT = 24 * 3600
"""seconds after which nobody is expected back for an unfinished download"""
_serial = itertools.count()


class ContentStore:
    def __init__(self, root: str) -> None:
        self.root = root
        self._blobs = os.path.join(root, "blobs", "sha256")
        self._ingest = os.path.join(root, "ingest")
        self._downloads = os.path.join(root, "download")

    @property
    def initialised(self) -> bool:
        """Whether ``initialise`` has come to its end."""
        return os.path.exists(os.path.join(self.root, descriptors.LAYOUT_FILE))

    def initialise(self) -> None:
        """Make the directories and ``oci-layout`` where they are missing."""
        os.makedirs(self._blobs, exist_ok=True)
        for directory in (self._ingest, self._downloads):
            os.makedirs(directory, mode=0o700, exist_ok=True)
        layout = os.path.join(self.root, descriptors.LAYOUT_FILE)
        if not os.path.exists(layout):
            files.replace(layout, b'{"imageLayoutVersion":"%s"}' % descriptors.LAYOUT_VERSION.encode())

    @property
    def index(self) -> str:
        return os.path.join(self.root, descriptors.INDEX_FILE)

    def path(self, digest: str) -> str:
        return os.path.join(self._blobs, digests.encoded(digests.validate_sha256(digest)))

    def has(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        """NotFound if there is no such blob."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise errors.NotFound(f"no such blob: {digest}") from None

    def read(self, digest: str, limit: int = 32 << 20) -> bytes:
        """The whole of a small blob: a manifest, a configuration. NotFound; CorruptData beyond ``limit``."""
        try:
            with open(self.path(digest), "rb", buffering=0) as blob:
                # no buffer of the limit's size for the few hundred bytes that most documents have
                data = blob.read(min(os.fstat(blob.fileno()).st_size, limit) + 1)
        except FileNotFoundError:
            raise errors.NotFound(f"no such blob: {digest}") from None
        if len(data) > limit:
            raise errors.CorruptData(f"blob {digest}: larger than {limit} bytes, which no document is")
        return data

    def chunks(self, digest: str, offset: int = 0) -> Iterator[bytes]:
        """The contents in pieces, from ``offset`` on."""
        try:
            with open(self.path(digest), "rb", buffering=0) as blob:
                blob.seek(offset)
                while chunk := blob.read(CHUNK):
                    yield chunk
        except FileNotFoundError:
            raise errors.NotFound(f"no such blob: {digest}") from None

    def add(self, data: bytes) -> str:
        """Take in a small blob; return its digest."""
        digest = digests.of(data)
        if not self.has(digest):
            with self.ingest() as blob:
                blob.write(data)
                blob.commit(digest)
        return digest

    def ingest(self, *, large: bool = False) -> Ingest:
        """``large``: it will be written in large, page-aligned pieces."""
        return Ingest(self._ingest, self._blobs, large)

    def download(self, digest: str, size: int, name: str = "") -> Download:
        """Take in a blob from a registry, going on where an earlier attempt has ended.

        ``name`` stands for it in messages.
        """
        os.makedirs(self._downloads, mode=0o700, exist_ok=True)
        return Download(self._download(digest), self.path(digest), digest, size, name or f"blob {digest}")

    def _download(self, digest: str) -> str:
        return os.path.join(self._downloads, digests.encoded(digests.validate_sha256(digest)))

    def forget_download(self, digest: str) -> None:
        """Remove the download of a blob that is named now; it is no error if it is gone."""
        try:
            os.unlink(self._download(digest))
        except FileNotFoundError:
            return

    def sweep_downloads(self, kept: float = DOWNLOADS_KEPT) -> int:
        """Remove downloads that nobody was at for ``kept`` seconds; return the bytes that this gave back.

        What is a blob already gives nothing back. Only when nobody is taking anything in.
        """
        freed = 0
        for path in self._idle_downloads(kept):
            status = os.stat(path)
            freed += status.st_blocks * 512 if status.st_nlink == 1 else 0  # man 3 stat
            os.unlink(path)
        return freed

    def downloads(self) -> Sequence[str]:
        """What has come of blobs that are not here yet."""
        try:
            paths = [os.path.join(self._downloads, name) for name in os.listdir(self._downloads)]
        except FileNotFoundError:  # as above
            return []
        return [path for path in paths if not self.has("sha256:" + os.path.basename(path))]

    def _idle_downloads(self, kept: float) -> list[str]:
        before = time.time() - kept
        try:
            names = os.listdir(self._downloads)
        except FileNotFoundError:  # a store of before there were registries
            return []
        return [path for name in names if is_idle(path := os.path.join(self._downloads, name), before)]

    def all(self) -> Iterator[str]:
        """The digests of all blobs."""
        for name in os.listdir(self._blobs):
            if digests.is_encoded(name):
                yield "sha256:" + name

    def strays(self) -> Sequence[str]:
        """What is in the place of blobs and is none."""
        names = [name for name in os.listdir(self._blobs) if not digests.is_encoded(name)]
        return [os.path.join(self._blobs, name) for name in names]

    def remove(self, digest: str) -> None:
        """Remove a blob; it is no error if it is gone."""
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return

    def note(self) -> str:
        """Leave a note that blobs or layers may be about to lose their last reference; return its path."""
        path = os.path.join(self._ingest, f"{os.getpid()}-{next(_serial)}.note")
        with open(path, "wb"):
            return path

    def forget(self, note: str) -> None:
        """Take a note back, when it has turned out otherwise."""
        try:
            os.unlink(note)
        except FileNotFoundError:
            return

    def noted(self) -> bool:
        """Whether there is a note, a blob on its way, or a download that nobody will come back for.

        Something to look at if nobody else is here.
        """
        return bool(os.listdir(self._ingest) or self._idle_downloads(DOWNLOADS_KEPT))

    def remove_leftovers(self) -> None:
        """Remove what was never finished. Only when nobody is taking anything in."""
        for path in self.leftovers():
            os.unlink(path)

    def leftovers(self) -> Sequence[str]:
        """Notes, blobs on their way, files that were to replace others: what is in hand, or was."""
        ingest = [os.path.join(self._ingest, name) for name in os.listdir(self._ingest)]
        return [*ingest, *(f"{self.root}/{name}" for name in os.listdir(self.root) if name.endswith(".tmp"))]


class Ingest:
    """One blob on its way in. Leaving the ``with`` block without ``commit`` removes it."""

    def __init__(self, directory: str, blobs: str, large: bool) -> None:
        self._path = os.path.join(directory, f"{os.getpid()}-{next(_serial)}")
        self._blobs = blobs
        self._large = large
        self._hash = hashlib.sha256()
        self._hashing = Beside(self._hash.update)
        self._writing = Beside(self._append)
        self._descriptor = -1
        self.size = 0

    def __enter__(self) -> Ingest:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        create = files.open_large if self._large else os.open
        try:
            self._descriptor = create(self._path, flags, 0o644)
        except FileExistsError:  # left by a killed process that had our number
            os.unlink(self._path)
            self._descriptor = create(self._path, flags, 0o644)
        return self

    def __exit__(self, *exc: object) -> None:
        self._hashing.close()
        self._writing.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            os.unlink(self._path)

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``, which must stay as it is until the next call here returns."""
        self._hashing.put(data)
        self.size += len(data)
        if self._large:
            self._writing.put(data)
        else:
            self._append(data)

    def _append(self, data: bytes | memoryview) -> None:
        try:
            files.write_all(self._descriptor, data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._path) from error

    @property
    def digest(self) -> str:
        """Of what has been written so far."""
        self._hashing.wait()
        return "sha256:" + self._hash.hexdigest()

    def commit(self, expected: str | None = None, size: int | None = None) -> str:
        """Check, make durable, give it its name; return the digest."""
        digest = self.digest
        if size is not None and self.size != size:
            raise errors.CorruptData(f"blob {expected or digest}: {self.size} bytes, expected {size}")
        if expected is not None and digest != digests.validate_sha256(expected):
            raise errors.CorruptData(f"blob {expected}: its contents have the digest {digest}")
        self._writing.wait()
        os.fsync(self._descriptor)
        os.rename(self._path, os.path.join(self._blobs, digests.encoded(digest)))
        os.close(self._descriptor)
        self._descriptor = -1
        files.sync_directory(self._blobs)
        return digest
