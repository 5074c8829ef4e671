"""Standard input and output of one process: pipes or a terminal on one side, attached clients on the other.

Output goes to the log and to every attached client. A client that does not take it holds the output back, as
a pipe would, because what is lost on the way to a person is lost for good. One that has not taken anything
for ``PATIENCE`` seconds is let go, unless it started the process: the others and the container come first.

Input from clients goes to the process, one packet at a time: a client is not read while what it sent before
waits for the process.
"""

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from fcntl import F_GETPIPE_SZ, fcntl
from typing import Protocol

from ..linux import pty
from .loop import POLLIN, POLLOUT, Loop
from .protocol import CHUNK, PACKET, Kind, packet

_MOST = 1 << 20
"""bytes that a terminal may have left"""
PATIENCE = 30.0


class Sink(Protocol):
    """What else gets all output: the log."""

    def write(self, stream: str, data: bytes) -> None: ...

    def finish(self) -> None:
        """There will be no more."""


class Client:
    """A connection that gets output; ``queue`` holds what it has not taken yet."""

    __slots__ = ("connection", "owner", "queue", "since", "stderr", "stdin", "stdout")

    def __init__(
        self, connection: socket.socket, *, stdin: bool, stdout: bool, stderr: bool, owner: bool
    ) -> None:
        self.connection = connection
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.owner = owner
        self.queue: deque[bytes] = deque()
        self.since = 0.0


def _room(fd: int) -> int:
    """Bytes that can be in a pipe."""
    try:
        return fcntl(fd, F_GETPIPE_SZ)
    except OSError:
        return _MOST


class Streams:
    """The pump of one process.

    ``stdin``, ``stdout`` and ``stderr`` are our ends of the pipes (-1: none); with a terminal ``console`` is
    its master and the others are -1. ``_arrange`` is the one place that decides what is watched: it follows
    from which queues hold something, and is called when one stops or begins to.
    """

    __slots__ = (
        "_draining",
        "_ending",
        "_input",
        "_log",
        "_loop",
        "_outputs",
        "_pending",
        "_slave",
        "clients",
        "close_on_leave",
        "console",
    )

    def __init__(
        self,
        loop: Loop,
        *,
        stdin: int = -1,
        stdout: int = -1,
        stderr: int = -1,
        console: int = -1,
        log: Sink | None = None,
        close_on_leave: bool = False,
    ) -> None:
        self._loop = loop
        self._log = log
        self.console = console
        self.close_on_leave = close_on_leave
        """Docker's StdinOnce: the input ends with the client that had it"""
        self.clients: list[Client] = []
        self._input = console if console >= 0 else stdin
        self._pending = b""
        self._ending = False
        self._draining = False
        self._outputs: dict[int, Kind] = {}
        self._slave = -1
        if console >= 0:
            # A slave of our own, held open: otherwise a process that closes its terminal, to open it again
            # later, would make the master fail with EIO in between.
            self._slave = pty.open_peer(console)
            self._outputs[console] = Kind.STDOUT
        if stdout >= 0:
            self._outputs[stdout] = Kind.STDOUT
        if stderr >= 0:
            self._outputs[stderr] = Kind.STDERR
        for fd in {*self._outputs, self._input} - {-1}:
            os.set_blocking(fd, False)
        self._arrange()

    def _arrange(self) -> None:
        if self._draining:
            wanted = {}
        else:
            held = any(client.queue for client in self.clients)
            wanted = dict.fromkeys(self._outputs, 0 if held else POLLIN)
            if self._input >= 0 and self._pending:
                wanted[self._input] = wanted.get(self._input, 0) | POLLOUT
            for fd in {*self._outputs, self._input} - {-1}:
                if wanted.get(fd):
                    self._loop.watch(fd, wanted[fd], self._handler(fd))
                else:
                    self._loop.forget(fd)
        for client in self.clients:
            events = POLLOUT if client.queue else 0
            if not (client.stdin and self._pending):
                events |= POLLIN
            self._loop.watch(client.connection.fileno(), events, self._server(client))

    def _handler(self, fd: int) -> Callable[[int], None]:
        def handle(events: int) -> None:
            if events & POLLOUT:
                self._write()
            if events & ~POLLOUT and fd in self._outputs:
                self._read(fd)
            elif events & ~POLLOUT:
                self._close_input()  # the process has closed its end of the pipe

        return handle

    def _server(self, client: Client) -> Callable[[int], None]:
        def serve(events: int) -> None:
            if events & POLLOUT:
                self._flush(client)
            if client not in self.clients:
                return
            if events & POLLIN:
                self._hear(client)
            elif events & ~POLLOUT:
                self.leave(client)

        return serve

    # -- output

    def _read(self, fd: int) -> int:
        """Take one piece of output; how many bytes there were."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno != errno.EIO:  # a master whose slaves are all closed
                raise
            data = b""
        if not data:
            self._loop.forget(fd)
            del self._outputs[fd]
            if fd != self.console:
                os.close(fd)
            return 0
        kind = self._outputs[fd]
        if self._log is not None:
            self._log.write("stdout" if kind is Kind.STDOUT else "stderr", data)
        if self.clients:
            message = packet(kind, data)
            for client in [*self.clients]:
                if client.stdout if kind is Kind.STDOUT else client.stderr:
                    self.tell(client, message)
        return len(data)

    def tell(self, client: Client, message: bytes) -> None:
        """Send, or keep for later what the client does not take now."""
        if client.queue:
            client.queue.append(message)
            return
        try:
            client.connection.send(message, socket.MSG_DONTWAIT)
        except BlockingIOError:
            client.since = time.monotonic()
            client.queue.append(message)
            self._arrange()
        except OSError:
            self.leave(client)

    def _flush(self, client: Client) -> None:
        while client.queue:
            try:
                client.connection.send(client.queue[0], socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                self.leave(client)
                return
            client.since = time.monotonic()
            client.queue.popleft()
        self._arrange()

    def drain(self) -> None:
        """Read what a process that has ended left behind, whether the clients take it now or not; close.

        It is no more than a pipe holds; what others still write is not of that process.
        """
        for fd in [*self._outputs]:
            left = _room(fd)
            while left > 0 and (taken := self._read(fd)):
                left -= taken
        self._draining = True
        for fd in {*self._outputs, self._input, self.console, self._slave} - {-1}:
            self._loop.forget(fd)
            os.close(fd)
        self._outputs = {}
        self._input = self.console = self._slave = -1
        self._pending = b""
        if self._log is not None:
            self._log.finish()
        self._arrange()

    def take_over(self, before: "Streams") -> None:
        """Serve the clients of another process, whose streams are drained: it has been started again.

        Input that had come to its end for that one has none for this one either.
        """
        clients, before.clients = before.clients, []
        self.clients += clients
        if before._ending:
            self._end_input()
        self._arrange()

    # -- clients

    def join(self, client: Client) -> None:
        self.clients.append(client)
        self._arrange()

    def leave(self, client: Client) -> None:
        """Let go of a client: it went, or it was too slow."""
        if client not in self.clients:
            return
        self.clients.remove(client)
        self._loop.forget(client.connection.fileno())
        client.connection.close()
        if client.stdin and self.close_on_leave:
            self._end_input()
        self._arrange()

    def impatience(self) -> float | None:
        """Let go of clients that take nothing; seconds until the next one is due, ``None`` if none waits."""
        soonest: float | None = None
        for client in [*self.clients]:
            if not client.queue or client.owner:
                continue
            left = client.since + PATIENCE - time.monotonic()
            if left <= 0:
                self.leave(client)
            elif soonest is None or left < soonest:
                soonest = left
        return soonest

    def _hear(self, client: Client) -> None:
        try:
            message = client.connection.recv(PACKET, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            message = b""
        if message and message[0] == Kind.STDIN and client.stdin:
            if self._input >= 0 and not self._ending:
                self._pending += message[1:]
                self._write()
        elif message and message[0] == Kind.STDIN_EOF and client.stdin:
            if self.close_on_leave:
                self._end_input()
        else:
            self.leave(client)

    # -- input

    def _write(self) -> None:
        was_pending = len(self._pending)
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._input, self._pending) :]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            self._close_input()
            return
        if not self._pending and self._ending:
            self._close_input()
        elif was_pending:
            self._arrange()

    def _end_input(self) -> None:
        """The end of the input, after what is still to be written. A terminal has none: there ^D is typed."""
        if self._input >= 0 and self.console < 0:
            self._ending = True
            self._write()

    def _close_input(self) -> None:
        self._pending = b""
        if self._input >= 0 and self.console < 0:
            self._loop.forget(self._input)
            os.close(self._input)
            self._input = -1
        self._arrange()


def impatience(everybody: Iterable[Streams]) -> float | None:
    """``Streams.impatience`` of all."""
    soonest: float | None = None
    for streams in everybody:
        left = streams.impatience()
        if left is not None and (soonest is None or left < soonest):
            soonest = left
    return soonest
