"""The processes that were added to a container, and how those that have ended did."""

import os
import socket
from collections.abc import Iterable
from contextlib import suppress

from ..content.files import write_all
from . import protocol
from .process import Process
from .protocol import Added, Kind, packet

_REMEMBERED = 16
"""those whose exit codes can still be asked for"""


class Past:
    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended: list[Added] = []

    def note(self, process: Process, code: int) -> None:
        ended = Added(id=process.id, pid=process.pid, about=process.about, exit_code=code)
        self._ended = [*self._ended[1 - _REMEMBERED :], ended]

    def tell(self, connection: socket.socket, running: Iterable[Process]) -> None:
        """LISTED: of these and of those that are remembered. A file holds it, however long they are."""
        listed = [*self._ended, *(Added(id=each.id, pid=each.pid, about=each.about) for each in running)]
        with suppress(OSError):  # it has gone, or there is no descriptor left: nothing depends on it
            fd = os.memfd_create("listed", os.MFD_CLOEXEC)
            try:
                write_all(fd, protocol.encode(listed))
                socket.send_fds(connection, [packet(Kind.LISTED)], [fd])
            finally:
                os.close(fd)
