"""A socket that a monitor listens at, and who comes in by it."""

import socket
from collections.abc import Callable

from .loop import POLLIN, Loop

_PAUSE = 1.0


class Door:
    __slots__ = ("_enter", "_listener", "_loop", "_timer")

    def __init__(self, loop: Loop, listener: int, enter: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._listener = socket.socket(fileno=listener)
        self._enter = enter
        self._timer = f"door {listener}"
        self._watch()

    def close(self) -> None:
        self._loop.cancel(self._timer)
        self._loop.forget(self._listener.fileno())
        self._listener.close()

    def _watch(self) -> None:
        self._loop.watch(self._listener.fileno(), POLLIN, self._accept)

    def _accept(self, _: int) -> None:
        try:
            connection, _address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left; there may be one later, and poll(2) would not wait for it
            self._loop.forget(self._listener.fileno())
            self._loop.after(self._timer, _PAUSE, self._watch)
            return
        self._enter(connection)
