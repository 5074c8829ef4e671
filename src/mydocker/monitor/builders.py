"""The processes that make things for a monitor (``build.py``): forked, heard, reaped when they have ended."""

import os
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from select import POLLIN

from ..linux import process
from ..linux.memory import own_pages
from ..linux.process import fork
from . import protocol, spawn
from .children import Children
from .loop import Loop

_DESCRIPTORS = 16
"""more than a ``Brief`` has"""

Hear = Callable[[], tuple[bytes, list[int]]]
"""What a container's monitor is told, and the descriptors that go with it: waits for that."""
_END_SECONDS = 0.01
"""for the kernel to take down a builder that holds nothing any more"""


class Builders:
    __slots__ = ("_at_work", "_children", "_ending", "_loop", "_parting")

    def __init__(self, loop: Loop, children: Children) -> None:
        self._loop = loop
        self._children = children
        self._at_work: set[int] = set()
        self._parting: dict[int, socket.socket] = {}
        self._ending: set[int] = set()

    def fork(self, work: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
        """One that does ``work``, to be parted from; its number, and a connection to it."""
        pid, connection = self._children.fork(work)
        self._at_work.add(pid)
        return pid, connection

    def begin(
        self, begun: tuple[int, socket.socket] | None, work: Callable[[socket.socket], None]
    ) -> tuple[int, socket.socket]:
        """The same, or one that was forked before and does that already."""
        if begun is None:
            return self.fork(work)
        self._children.know(begun[0])
        self._at_work.add(begun[0])
        return begun

    def part(self, pid: int, connection: socket.socket) -> None:
        """It has said what it had to say. Its end, which takes a millisecond, is not waited for."""
        self._at_work.discard(pid)
        self._parting[pid] = connection
        self._loop.watch(connection.fileno(), POLLIN, lambda _: self._parted(pid))

    @property
    def at_work(self) -> bool:
        """Whether one has still to say what it has made."""
        return bool(self._at_work)

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


class SpareBuilder:
    """A builder that waits until there is something to make, and then tells its monitor.

    It is the one that hears, since it has the most to do then, and somebody waits for that.
    """

    __slots__ = ("_connection", "_pid")

    def __init__(self, work: Callable[[socket.socket], None], kept: int) -> None:
        """``work`` is called in it at once, and calls ``hear`` when it cannot go on without a container. The
        descriptor ``kept`` is its own then."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = fork()
        if self._pid:
            theirs.close()
            os.close(kept)
            self._connection = ours
            return
        try:
            ours.close()
            process.close_all_but((0, 1, 2, theirs.fileno(), kept))
            work(theirs)
        finally:
            spawn.leave(theirs)

    def hear(self) -> tuple[bytes, list[int]]:
        """What it has heard. ``EOFError`` if it has ended without."""
        argument, descriptors, _, _ = socket.recv_fds(self._connection, protocol.LONG_PACKET, _DESCRIPTORS)
        if not argument:
            raise EOFError
        return argument, descriptors

    @property
    def begun(self) -> tuple[int, socket.socket]:
        """Its number and a connection to it."""
        return self._pid, self._connection


def hear(hear_first: Hear, channel: int, monitor: socket.socket) -> tuple[bytes, list[int]]:
    """In a builder that waits: what it hears at ``channel``, and has told its monitor. ``EOFError`` if there
    is none any more."""
    own_pages("builder")
    poll = select.poll()
    poll.register(channel, POLLIN)
    poll.register(monitor, 0)
    if any(descriptor == monitor.fileno() for descriptor, _ in poll.poll()):
        raise EOFError
    argument, descriptors = hear_first()
    socket.send_fds(monitor, [argument], descriptors)
    process.set_name(spawn.NAME)
    return argument, descriptors
