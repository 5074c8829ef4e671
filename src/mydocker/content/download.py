"""A blob on its way from a registry: what has come of it stays, and is where the next attempt goes on.

    <root>/download/<hex>   the blob from its beginning, as far as it has come. Whoever adds to it holds a
                            flock on it, so that all who want the blob at one time share one download: the
                            second waits, and then finds the blob, or goes on where the first was killed

The bytes are hashed as they are written, those of earlier attempts as they are read; only what has the right
digest gets its name in ``blobs``, by a hard link. The file here stays until the image is whole and named
(``ContentStore.forget_download``): a collection of garbage in between takes the blob, not the work.
Who never comes back for it is forgotten after a day (``ContentStore.sweep_downloads``).

Out of scope: where bytes come from, and who tries again when they stop coming.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator

from .. import errors
from . import files

CHUNK = 1 << 20


class Download:
    """``with store.download(digest, size) as download:`` waits until nobody else is at it.

    Then ``complete`` tells whether somebody else has finished it; if not, ``stream`` does.
    """

    def __init__(self, path: str, blob: str, digest: str, size: int, name: str) -> None:
        """``name`` is for messages."""
        self._path = path
        self._blob = blob
        self._digest = digest
        self._size = size
        self._name = name
        self._descriptor = -1
        self.resumed = 0
        """bytes that an earlier attempt has left"""

    def __enter__(self) -> Download:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self.resumed = os.fstat(self._descriptor).st_size
            if self.resumed > self._size:
                self.restart()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)
        self._descriptor = -1

    @property
    def complete(self) -> bool:
        return os.path.exists(self._blob)

    def restart(self) -> None:
        """Give up what has come."""
        os.ftruncate(self._descriptor, 0)
        self.resumed = 0

    def stream(self, fetch: Callable[[int], Iterator[bytes]]) -> Iterator[bytes]:
        """All bytes of the blob; those from ``fetch(offset)`` are kept. CorruptData if it is not the blob.

        What has come stays after an error of ``fetch``, but not if it cannot become the blob, nor when the
        disk is full: others need the room.
        """
        total = hashlib.sha256()
        at = 0
        while chunk := os.pread(self._descriptor, CHUNK, at):
            total.update(chunk)
            at += len(chunk)
            yield chunk
        if at < self._size:
            for chunk in fetch(at):
                if at + len(chunk) > self._size:
                    self.restart()
                    raise errors.CorruptData(f"{self._name}: more than the {self._size} bytes it should have")
                self._write(chunk, at)
                total.update(chunk)
                at += len(chunk)
                yield chunk
        if at < self._size:
            raise errors.CorruptData(f"{self._name}: ended after {at} bytes, expected {self._size}")
        found = "sha256:" + total.hexdigest()
        if found != self._digest:
            self.restart()
            raise errors.CorruptData(f"{self._name}: its contents have the digest {found}")

    def _write(self, chunk: bytes, at: int) -> None:
        view = memoryview(chunk)
        try:
            while view:
                written = os.pwrite(self._descriptor, view, at)
                view, at = view[written:], at + written
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self.restart()
            raise OSError(error.errno, error.strerror, self._path) from error

    def commit(self) -> None:
        """Give the blob its name. Only after ``stream`` has come to its end."""
        os.fsync(self._descriptor)
        try:
            os.link(self._path, self._blob)
        except FileExistsError:
            return
        files.sync_directory(os.path.dirname(self._blob))


def is_idle(path: str, before: float) -> bool:
    """Whether nobody is at work on the download at ``path``, and nobody was since the time ``before``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_mtime < before
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
