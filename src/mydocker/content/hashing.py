"""SHA-256 in a thread of its own, beside whoever produces and stores the bytes.

Hashing, reading and writing all release the interpreter lock, so that a large blob takes two processors half
the time. Small pieces are hashed at once: handing them over would cost more.
"""

from __future__ import annotations

import hashlib
import queue
import threading

_SMALL = 1 << 16


class Hasher:
    """``update`` with pieces that stay as they are until the next call returns, ``hexdigest``, ``close``."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._work: queue.SimpleQueue[bytes | memoryview | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    def update(self, data: bytes | memoryview) -> None:
        self._idle.wait()
        if len(data) < _SMALL:
            self._hash.update(data)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
            self._thread.start()
        self._idle.clear()
        self._work.put(data)

    def _run(self) -> None:
        while (data := self._work.get()) is not None:
            self._hash.update(data)
            del data
            self._idle.set()

    def hexdigest(self) -> str:
        """Of everything so far."""
        self._idle.wait()
        return self._hash.hexdigest()

    def close(self) -> None:
        """End the thread; nothing is hashed after this."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None
