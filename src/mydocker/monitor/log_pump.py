"""Logging through a process of its own, for whoever may have to be waited for: the container need not.

    monitor ──SOCK_SEQPACKET──► pump ──► files (``log_file.py``), syslog or journald (``log_remote.py``)
       stream byte, data; b"" body: end of a run, answered; CLEAR, answered

``mode=non-blocking``: what the pump does not take at once is kept, up to ``max-buffer-size`` bytes, and what
comes beyond that is lost. ``mode=blocking``: the monitor waits for the pump, but only ``PATIENCE`` seconds;
after that nothing waits until the pump takes something again. So logging holds nobody up for ever.
"""

import socket
from collections import deque
from collections.abc import Callable

from ..linux.process import close_all_but
from .log_file import Writer
from .log_remote import Remote
from .loop import POLLOUT, Loop
from .plan import LogPlan
from .streams import Sink

PATIENCE = 5.0
_STREAMS = ("stdout", "stderr")
_FINISH = b"\x02"
_CLEAR = b"\x03"
_PACKET = 64 * 1024
_END = 2.0
"""seconds to wait for what is still on its way, when a run has ended"""


def serve(connection: socket.socket, plan: LogPlan) -> None:
    """The pump. It ends with the monitor."""
    files = Writer(plan.files) if plan.files is not None else None
    sinks: list[Sink] = [files] if files is not None else []
    if plan.remote is not None:
        sinks.append(Remote(plan.remote))
    while message := connection.recv(_PACKET):
        head = message[:1]
        if head in (_FINISH, _CLEAR):
            for sink in sinks if head == _FINISH else ():
                sink.finish()
            if head == _CLEAR and files is not None:
                files.clear()
            try:
                connection.send(head, socket.MSG_DONTWAIT)
            except OSError:
                continue  # nobody waits for it any more
        else:
            for sink in sinks:
                sink.write(_STREAMS[message[0]], message[1:])
    for sink in sinks:
        sink.finish()


class Pump:
    """The monitor's end: a sink (``streams.py``)."""

    __slots__ = ("_connection", "_held", "_limit", "_loop", "_queue", "_stalled")

    def __init__(self, connection: socket.socket, plan: LogPlan, loop: Loop) -> None:
        self._connection = connection
        self._loop = loop
        self._limit = plan.buffer
        """bytes that may wait; 0: mode=blocking"""
        self._queue: deque[bytes] = deque()
        self._held = 0
        self._stalled = False

    def write(self, stream: str, data: bytes) -> None:
        self._put(bytes((_STREAMS.index(stream),)) + data)

    def finish(self) -> None:
        """The run has ended: until the pump has got all of it, but not for long."""
        self._ask(_FINISH)

    def clear(self) -> None:
        self._ask(_CLEAR)

    def _put(self, message: bytes) -> None:
        if self._queue:
            self._keep(message)
            return
        wait = not self._limit and not self._stalled
        try:
            self._send(message, PATIENCE if wait else 0)
            self._stalled = False
        except BlockingIOError:
            self._stalled = True
            if self._limit:
                self._keep(message)
        except OSError:
            return  # the pump was killed: the container goes on without a log

    def _keep(self, message: bytes) -> None:
        if self._held + len(message) > self._limit:
            return
        self._queue.append(message)
        self._held += len(message)
        self._loop.watch(self._connection.fileno(), POLLOUT, self._flush)

    def _flush(self, _: int) -> None:
        try:
            while self._queue:
                self._send(self._queue[0], 0)
                self._held -= len(self._queue.popleft())
        except BlockingIOError:
            return
        except OSError:
            self._queue.clear()
            self._held = 0
        self._loop.forget(self._connection.fileno())

    def _send(self, message: bytes, patience: float) -> None:
        """``BlockingIOError`` if it is not taken in time."""
        self._connection.settimeout(patience)
        try:
            self._connection.send(message)
        except TimeoutError:
            raise BlockingIOError from None

    def _ask(self, message: bytes) -> None:
        end = self._loop.clock() + _END
        try:
            while self._queue:
                self._send(self._queue[0], max(0.0, end - self._loop.clock()))
                self._held -= len(self._queue.popleft())
            self._send(message, max(0.0, end - self._loop.clock()))
            self._connection.settimeout(max(0.001, end - self._loop.clock()))
            self._connection.recv(1)
        except OSError:
            return  # it takes too long, or is gone


def start(
    plan: LogPlan, loop: Loop, fork: Callable[[Callable[[socket.socket], None]], socket.socket]
) -> Pump:
    """``fork`` begins a process with one end of a connection, and returns the other."""

    def pump(connection: socket.socket) -> None:
        close_all_but((0, 1, 2, connection.fileno()))
        serve(connection, plan)

    return Pump(fork(pump), plan, loop)
