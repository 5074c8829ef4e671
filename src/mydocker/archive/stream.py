"""Bytes that arrive in chunks, read by exact amounts.

An archive may come from a file, a pipe or a decompressor, and is read once, front to back. A ``Stream`` wraps
any iterator of ``bytes`` and hands out pieces as views into the chunks, so that the contents of a file are
never copied in Python. ``ahead`` moves a producer (reading, inflating and hashing all release the
interpreter lock) to a thread of its own.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator

from .. import errors

CHUNK = 1 << 20
_AHEAD = 8


class Truncated(errors.CorruptData):
    """The stream ended in the middle of something."""


class Stream:
    """``take`` small pieces, ``parts`` of large ones. ``position`` counts the bytes handed out."""

    __slots__ = ("_at", "_buffer", "_chunks", "_view", "position")

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer: bytes = b""
        self._view = memoryview(b"")
        self._at = 0
        self.position = 0

    def _more(self) -> bool:
        """Replace the used-up chunk by the next one; False at the end."""
        for chunk in self._chunks:
            if chunk:
                self._buffer = chunk
                self._view = memoryview(chunk)
                self._at = 0
                return True
        self._buffer, self._view, self._at = b"", memoryview(b""), 0
        return False

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes, or none at the end of the stream; Truncated between the two."""
        at = self._at
        piece = self._buffer[at : at + count]
        self._at = at + len(piece)
        if len(piece) < count:
            pieces = [piece]
            missing = count - len(piece)
            while missing and self._more():
                piece = self._buffer[:missing]
                self._at = len(piece)
                pieces.append(piece)
                missing -= len(piece)
            piece = b"".join(pieces)
            if missing and piece:
                raise Truncated(f"truncated: {missing} bytes are missing")
        self.position += len(piece)
        return piece

    def exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes; Truncated if there are fewer."""
        piece = self.take(count)
        if len(piece) < count:
            raise Truncated(f"truncated: {count} bytes are missing")
        return piece

    def parts(self, count: int) -> Iterator[memoryview]:
        """Views that make up the next ``count`` bytes; each is valid until the next one is asked for."""
        while count:
            if self._at == len(self._buffer) and not self._more():
                raise Truncated(f"truncated: {count} bytes are missing")
            part = self._view[self._at : self._at + count]
            self._at += len(part)
            self.position += len(part)
            count -= len(part)
            yield part

    def skip(self, count: int) -> None:
        for _ in self.parts(count):
            pass

    def drain(self) -> None:
        """Read to the end, so that whoever hashes the chunks has seen all of them."""
        self.position += len(self._buffer) - self._at
        while self._more():
            self.position += len(self._buffer)
        self._buffer, self._view, self._at = b"", memoryview(b""), 0


def ahead(chunks: Iterator[bytes]) -> Generator[bytes, None, None]:
    """The same chunks, produced by a thread that is a few of them ahead.

    An exception of the producer is raised here, in its place in the stream. Close the generator to end the
    thread early; it has ended when ``close`` returns.
    """
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def offer(item: bytes | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.05)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        end: BaseException | None = None
        try:
            for chunk in chunks:
                if not offer(chunk):
                    return
        except BaseException as error:  # noqa: BLE001  handed to the consumer, which raises it
            end = error
        offer(end)

    thread = threading.Thread(target=produce, name="read ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
