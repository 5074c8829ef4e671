"""The event loop of a monitor: poll(2) over a handful of descriptors, and nothing more.

Why not asyncio: a monitor lives as long as its container and has to weigh as little as a C program. What it
does not import and does not touch stays shared with the process that it was forked from.
"""

import select
from collections.abc import Callable
from select import POLLIN, POLLOUT

__all__ = ["POLLIN", "POLLOUT", "Loop"]


class Loop:
    """Handlers by descriptor, called with the events that poll(2) returned. One may forget any other."""

    __slots__ = ("_handlers", "_poll")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Start to watch ``fd``, or change what it is watched for. Hang-ups and errors always count."""
        self._poll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop; harmless if it was not watched. To be called before the descriptor is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def turn(self, timeout: float | None) -> None:
        """Wait for something to happen, at most ``timeout`` seconds, and handle it."""
        for fd, events in self._poll.poll(None if timeout is None else timeout * 1000):
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
