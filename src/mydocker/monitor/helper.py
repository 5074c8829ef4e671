"""A process that works beside a monitor, and is killed when its work is no longer wanted."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ..linux import pidfd
from .children import Children
from .loop import POLLIN, Loop

if TYPE_CHECKING:
    from signal import SIGKILL
else:
    from _signal import SIGKILL


class Helper:
    """One at a time. ``connection`` leads to it; None while there is none."""

    __slots__ = ("_children", "_loop", "_pid", "_pidfd", "connection")

    def __init__(self, loop: Loop, children: Children) -> None:
        self._loop = loop
        self._children = children
        self._pid = 0
        self._pidfd = -1
        self.connection: socket.socket | None = None

    def begin(self, work: Callable[[socket.socket], None], gone: Callable[[], None]) -> None:
        """Have it do ``work``, with the other end of the connection. ``gone`` is called when it has ended,
        and calls ``end``, which reaps it. Raises ``OSError`` if no process can be had."""
        pid, connection = self._children.fork(work)
        try:
            self._pidfd = pidfd.pidfd_open(pid)
        except OSError:
            connection.close()
            os.kill(pid, SIGKILL)
            os.waitpid(pid, 0)
            self._children.forget(pid)
            raise
        self._pid, self.connection = pid, connection
        self._loop.watch(connection.fileno(), POLLIN, lambda _: gone())

    def end(self) -> None:
        """End it, if there is one, and reap it."""
        if self.connection is None:
            return
        self._loop.forget(self.connection.fileno())
        self.connection.close()
        self.connection = None
        with suppress(ProcessLookupError):  # it has ended
            pidfd.pidfd_send_signal(self._pidfd, SIGKILL)
        pidfd.reap(self._pidfd)
        os.close(self._pidfd)
        self._children.forget(self._pid)
