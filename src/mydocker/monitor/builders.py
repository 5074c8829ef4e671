"""The processes that make things for a monitor (``build.py``): forked, heard, reaped when they have ended."""

import os
import resource
import socket
from collections.abc import Callable
from contextlib import suppress

from .children import Children
from .loop import POLLIN, Loop

_STRANGERS_PAUSE = 0.05
_END_SECONDS = 0.01
"""for the kernel to take down a builder that holds nothing any more"""


class Builders:
    __slots__ = ("_at_work", "_children", "_ending", "_limit", "_loop", "_parting")

    def __init__(self, loop: Loop, children: Children) -> None:
        self._loop = loop
        self._children = children
        self._at_work: set[int] = set()
        self._parting: dict[int, socket.socket] = {}
        self._ending: set[int] = set()
        self._limit = resource.getrlimit(resource.RLIMIT_NOFILE)

    def widen(self) -> None:
        """Let this process have as many descriptors as it may; what it has made keeps to what it had."""
        _, most = self._limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def fork(self, work: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
        """One that does ``work``, to be parted from; its number, and a connection to it."""

        def limited(theirs: socket.socket) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._limit)
            work(theirs)

        pid, connection = self._children.fork(limited)
        self._at_work.add(pid)
        return pid, connection

    def take(self, pid: int, connection: socket.socket) -> None:
        """One that this process has forked before, and that has handed over what it made."""
        self._children.know(pid)
        self.part(pid, connection)

    def part(self, pid: int, connection: socket.socket) -> None:
        """It has said what it had to say. Its end, which takes a millisecond, is not waited for."""
        self._at_work.discard(pid)
        self._parting[pid] = connection
        self._loop.watch(connection.fileno(), POLLIN, lambda _: self._parted(pid))

    def end_strangers(self) -> None:
        """One has failed, or was killed: end what it had cloned. Not while another is at work, which may be
        about to tell of one that it has made."""
        if not self._at_work:
            with suppress(OSError):  # no descriptor is left
                self._children.end_strangers()
                return
        self._loop.after("strangers", _STRANGERS_PAUSE, self.end_strangers)

    def let_go(self) -> None:
        """Wait until none that was parted from holds anything that we hold, the lock for example."""
        for pid in [*self._parting]:
            self._parted(pid)

    def see_off(self) -> None:
        """Wait for the ends of all that were parted from."""
        self.let_go()
        self._reap()

    def _parted(self, pid: int) -> None:
        """Its end of the connection is the last that it closes."""
        connection = self._parting.pop(pid)
        self._loop.forget(connection.fileno())
        with connection, suppress(ConnectionResetError):  # it was killed, before it had heard everything
            while connection.recv(1):
                pass
        self._ending.add(pid)
        self._loop.after("builders", _END_SECONDS, self._reap)

    def _reap(self) -> None:
        for pid in self._ending:
            os.waitpid(pid, 0)
            self._children.forget(pid)
        self._ending.clear()
