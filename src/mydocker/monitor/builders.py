"""The processes that make things for a monitor (``build.py``): forked, heard, reaped when they have ended."""

import os
import socket
from collections.abc import Callable
from select import POLLIN

from .loop import Loop
from .spawn import forked


class Builders:
    __slots__ = ("_crash_log", "_loop", "_parting", "pids")

    def __init__(self, loop: Loop, crash_log: str) -> None:
        self._loop = loop
        self._crash_log = crash_log
        self._parting: dict[int, socket.socket] = {}
        self.pids: set[int] = set()

    def fork(self, work: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
        """One that does ``work``, to be parted from; its number, and a connection to it."""
        pid, connection = forked(work, self._crash_log)
        self.pids.add(pid)
        return pid, connection

    def part(self, pid: int, connection: socket.socket) -> None:
        """It has said what it had to say. Its end, which takes a millisecond, is not waited for."""
        self._parting[pid] = connection
        self._loop.watch(connection.fileno(), POLLIN, lambda _: self._reap(pid))

    @property
    def at_work(self) -> bool:
        """Whether one has still to say what it has made."""
        return self.pids != self._parting.keys()

    def see_off(self) -> None:
        """Wait for the ends of all that were parted from: they hold what we hold, the lock for example."""
        for pid in [*self._parting]:
            self._reap(pid)

    def _reap(self, pid: int) -> None:
        connection = self._parting.pop(pid)
        self._loop.forget(connection.fileno())
        connection.close()
        os.waitpid(pid, 0)
        self.pids.discard(pid)
