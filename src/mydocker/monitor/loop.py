"""The event loop of a monitor: poll(2) over a handful of descriptors and timers, and nothing more.

Why not asyncio: a monitor lives as long as its container and has to weigh as little as a C program. What it
does not import and does not touch stays shared with the process that it was forked from.
"""

import select
import time
from collections.abc import Callable
from select import POLLIN, POLLOUT

__all__ = ["POLLIN", "POLLOUT", "Loop"]


class Loop:
    """Handlers by descriptor, called with the events that poll(2) returned, and timers by name. Each handler
    may forget any other. ``clock`` counts seconds."""

    __slots__ = ("_handlers", "_poll", "_timers", "clock")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}

    def watch(self, fd: int, events: int, handler: Callable[[int], None]) -> None:
        """Start to watch ``fd``, or change what it is watched for. Hang-ups and errors always count."""
        self._poll.register(fd, events)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop; harmless if it was not watched. To be called before the descriptor is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def after(self, name: str, seconds: float, handler: Callable[[], None]) -> None:
        """Call ``handler`` once, in so many seconds, in place of what the timer of this name was to do."""
        self._timers[name] = (self.clock() + seconds, handler)

    def cancel(self, name: str) -> None:
        """Harmless if there is no such timer."""
        self._timers.pop(name, None)

    def turn(self, timeout: float | None) -> None:
        """Wait for something to happen, at most ``timeout`` seconds, and handle it."""
        if self._timers:
            soonest = max(0.0, min(at for at, _ in self._timers.values()) - self.clock())
            timeout = soonest if timeout is None else min(soonest, timeout)
        for fd, events in self._poll.poll(None if timeout is None else timeout * 1000):
            handler = self._handlers.get(fd)
            if handler is not None:
                handler(events)
        if self._timers:
            now = self.clock()
            for name, (at, due) in [*self._timers.items()]:
                if at <= now and self._timers.get(name) == (at, due):
                    del self._timers[name]
                    due()
