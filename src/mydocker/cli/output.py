"""Write to the caller's standard output and error: whole, at once, bytes as they are.

No buffer stays behind, so a worker may leave with ``os._exit`` and the order on a terminal is the order of
calls. A descriptor that somebody made non-blocking is waited for. Text that is not UTF-8 (a file's name)
goes out as the bytes it came in as.
"""

from __future__ import annotations

import os
import select

STDOUT, STDERR = 1, 2


def out(text: str) -> None:
    """``text`` and a newline to standard output."""
    write(STDOUT, (text + "\n").encode(errors="surrogateescape"))


def err(text: str) -> None:
    """``text`` and a newline to standard error."""
    write(STDERR, (text + "\n").encode(errors="surrogateescape"))


def write(fd: int, data: bytes) -> None:
    """All of ``data``. Raises ``OSError``, ``BrokenPipeError`` when nobody reads any more."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            poll.poll()
