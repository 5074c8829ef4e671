"""Work on a stream of bytes in a thread of its own, beside whoever produces it.

Reading, hashing and writing all release the interpreter lock, so that they go on at the same time. One piece
is under way while the next is made: the thread is never more than that behind.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

_SMALL = 1 << 16
"""bytes up to which handing a piece over costs more than it gains"""

Consume = Callable[[bytes | memoryview], object]


class Beside:
    """``put`` pieces for ``consume``; ``wait`` until it is through with them; ``close`` in any case.

    A piece must stay as it is until the next call here returns. What ``consume`` raises is raised by it.
    """

    def __init__(self, consume: Consume) -> None:
        self._consume = consume
        self._work: queue.SimpleQueue[bytes | memoryview | None] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def put(self, data: bytes | memoryview) -> None:
        self.wait()
        if len(data) < _SMALL:
            self._consume(data)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="beside", daemon=True)
            self._thread.start()
        self._idle.clear()
        self._work.put(data)

    def wait(self) -> None:
        self._idle.wait()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread, when it is through."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (data := self._work.get()) is not None:
            try:
                self._consume(data)
            except BaseException as error:  # noqa: BLE001  for whoever asks next
                self._error = error
            del data
            self._idle.set()
