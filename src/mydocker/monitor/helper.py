"""A process that works beside a monitor, and is killed when its work is no longer wanted."""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ..linux import pidfd
from .loop import POLLIN, Loop
from .spawn import forked

if TYPE_CHECKING:
    from signal import SIGKILL
else:
    from _signal import SIGKILL


class Helper:
    """One at a time. ``connection`` leads to it; None while there is none."""

    __slots__ = ("_child", "_crash_log", "_loop", "connection")

    def __init__(self, loop: Loop, crash_log: str) -> None:
        self._loop = loop
        self._crash_log = crash_log
        self._child = -1
        self.connection: socket.socket | None = None

    def begin(self, work: Callable[[socket.socket], None], gone: Callable[[], None]) -> None:
        """Have it do ``work``, with the other end of the connection. ``gone`` is called when it has ended,
        and calls ``end``, which reaps it. Raises ``OSError`` if no process can be had."""
        child, self.connection = forked(work, self._crash_log)
        self._child = pidfd.pidfd_open(child)
        self._loop.watch(self.connection.fileno(), POLLIN, lambda _: gone())

    def end(self) -> None:
        """End it, if there is one, and reap it."""
        if self.connection is None:
            return
        self._loop.forget(self.connection.fileno())
        self.connection.close()
        self.connection = None
        with suppress(ProcessLookupError, ChildProcessError):  # it was reaped with other strangers
            pidfd.pidfd_send_signal(self._child, SIGKILL)
            pidfd.reap(self._child)
        os.close(self._child)
