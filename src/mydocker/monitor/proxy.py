"""Published ports that no packet filter leads to the container: a process that passes on what arrives.

    monitor ──SOCK_SEQPACKET──► proxy
       b"+" and [address, port], with a socket that holds a port of the host: serve it
       b"-" and [protocol, host, port]: let go of it, and answer ".";  the end of the connection: end

It is forked from the monitor when something arrives at such a port, and ends with it; one that was killed is
begun again. In scope: TCP, with half-closed connections, and UDP, where each client has a socket of its own
until it has been silent for ``IDLE`` seconds. Out of scope: which ports go this way (``network/ports.py``).
"""

import resource
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from ..linux.process import close_all_but
from .build import tell
from .children import Children
from .helper import Helper
from .loop import POLLIN, POLLOUT, Loop

IDLE = 90.0
_CHUNK = 128 * 1024
_DATAGRAM = 65535
_SWEEP = 30.0
_PAUSE = 1.0
_encode = msgspec.json.encode
_decode = msgspec.json.decode
_RESET = struct.pack("ii", 1, 0)
"""struct linger: close(2) says that the connection was cut off"""


class Target:
    """A port that is served: the socket that holds it, and where it leads."""

    __slots__ = ("address", "handle", "port")

    def __init__(self, handle: socket.socket, address: str, port: int) -> None:
        self.handle = handle
        self.address = address
        self.port = port

    def is_at(self, protocol: str, host: str, number: int) -> bool:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
        return self.handle.type == kind and self.handle.getsockname()[:2] == (host, number)

    @property
    def packet(self) -> bytes:
        return b"+" + _encode([self.address, self.port])


class Proxy:
    """The monitor's end."""

    __slots__ = ("_helper", "_loop", "_targets")

    def __init__(self, loop: Loop, children: Children) -> None:
        self._loop = loop
        self._helper = Helper(loop, children)
        self._targets: list[Target] = []

    def add(self, *targets: Target) -> None:
        self._targets += targets
        if self._helper.connection is None:
            for each in targets:
                self._loop.watch(each.handle.fileno(), POLLIN, lambda _: self._begin())
            return
        with suppress(OSError):  # it was killed, and is about to be begun again
            for each in targets:
                socket.send_fds(self._helper.connection, [each.packet], [each.handle.fileno()])

    def remove(self, protocol: str, host: str, number: int) -> bool:
        """Whether it was one of them; nobody holds it any more."""
        for target in self._targets:
            if target.is_at(protocol, host, number):
                self._targets.remove(target)
                self._loop.forget(target.handle.fileno())
                target.handle.close()
                if self._helper.connection is not None:
                    _let_go(self._helper.connection, b"-" + _encode([protocol, host, number]))
                return True
        return False

    def close(self) -> None:
        self._helper.end()
        for target in self._targets:
            self._loop.forget(target.handle.fileno())
            target.handle.close()
        self._targets = []
        self._loop.cancel("proxy")

    def _begin(self) -> None:
        targets = self._targets
        for target in targets:
            self._loop.forget(target.handle.fileno())
        try:
            self._helper.begin(lambda theirs: serve(theirs, targets), self._gone)
        except OSError:  # too many processes: there may be fewer later
            self._loop.after("proxy", _PAUSE, self._begin)

    def _gone(self) -> None:
        self._helper.end()
        self._loop.after("proxy", _PAUSE, self._begin)


def _let_go(connection: socket.socket, packet: bytes) -> None:
    with suppress(OSError):  # it was killed, and holds nothing
        connection.send(packet)
        answered = select.poll()
        answered.register(connection, select.POLLIN)
        if answered.poll(_PAUSE * 1000):
            connection.recv(1)  # the loop hears the end of it again, if it is that


def serve(connection: socket.socket, targets: list[Target]) -> None:
    """The process, from here to its end."""
    close_all_but((0, 1, 2, connection.fileno(), *(each.handle.fileno() for each in targets)))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = _Server(Loop(), most // 4)
    for target in targets:
        server.serve(target)
    server.run(connection)


class _Server:
    def __init__(self, loop: Loop, most: int) -> None:
        self._loop = loop
        self._most = most
        """connections; each has two descriptors"""
        self._open = 0
        self._targets: list[Target] = []
        self._clients: dict[tuple[int, Any], tuple[socket.socket, list[float]]] = {}
        self._pairs: dict[_Pair, Target] = {}
        self._ended = False

    def run(self, connection: socket.socket) -> None:
        self._loop.watch(connection.fileno(), POLLIN, lambda _: self._told(connection))
        while not self._ended:
            self._loop.turn(None)

    def _told(self, connection: socket.socket) -> None:
        message, descriptors, _, _ = socket.recv_fds(connection, 4096, 1, socket.MSG_CMSG_CLOEXEC)
        if not message:
            self._ended = True
        elif message[:1] == b"+":
            address, port = _decode(message[1:])
            self.serve(Target(socket.socket(fileno=descriptors[0]), address, port))
        else:
            where = _decode(message[1:])
            for target in [each for each in self._targets if each.is_at(*where)]:
                self._let_go(target)
            tell(connection, b".")

    def _let_go(self, target: Target) -> None:
        """And of whoever has come by it."""
        self._targets.remove(target)
        for pair in [pair for pair, by in self._pairs.items() if by is target]:
            pair.cut()
        for key in [key for key in self._clients if key[0] == target.handle.fileno()]:
            self._forget(key)
        self._loop.forget(target.handle.fileno())
        target.handle.close()

    def serve(self, target: Target) -> None:
        target.handle.setblocking(False)
        self._targets.append(target)
        take = self._accept if target.handle.type == socket.SOCK_STREAM else self._datagram
        self._loop.watch(target.handle.fileno(), POLLIN, lambda _: take(target))

    # -- TCP

    def _accept(self, target: Target) -> None:
        try:
            client, _ = target.handle.accept()
        except OSError:
            return
        if self._open >= self._most:
            _cut(client)
            return
        self._open += 1
        upstream = socket.socket(_family(target.address), socket.SOCK_STREAM)
        for each in (client, upstream):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = upstream.connect_ex((target.address, target.port))
        if error not in (0, 115):  # EINPROGRESS
            self._drop(client, upstream)
            return
        self._loop.watch(upstream.fileno(), POLLOUT, lambda _: self._connected(target, client, upstream))

    def _connected(self, target: Target, client: socket.socket, upstream: socket.socket) -> None:
        if target not in self._targets or upstream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._drop(client, upstream)
            return
        self._loop.forget(upstream.fileno())
        self._pairs[_Pair(self._loop, client, upstream, self._parted)] = target

    def _parted(self, pair: "_Pair") -> None:
        del self._pairs[pair]
        self._done()

    def _drop(self, client: socket.socket, upstream: socket.socket) -> None:
        self._loop.forget(upstream.fileno())
        upstream.close()
        _cut(client)
        self._done()

    def _done(self) -> None:
        self._open -= 1

    # -- UDP

    def _datagram(self, target: Target) -> None:
        try:
            data, client = target.handle.recvfrom(_DATAGRAM)
        except OSError:
            return  # an answer of ours has met an error
        key = (target.handle.fileno(), client)
        if key not in self._clients:
            if len(self._clients) >= self._most:
                return
            upstream = socket.socket(_family(target.address), socket.SOCK_DGRAM)
            upstream.setblocking(False)
            if upstream.connect_ex((target.address, target.port)):
                upstream.close()
                return
            self._clients[key] = upstream, [0.0]
            self._loop.watch(upstream.fileno(), POLLIN, lambda _: self._answer(target, upstream, client, key))
            self._loop.after("sweep", _SWEEP, self._sweep)
        upstream, heard = self._clients[key]
        heard[0] = self._loop.clock()
        with suppress(OSError):  # nobody listens there (yet), or no room: it is a datagram
            upstream.send(data)

    def _answer(self, target: Target, upstream: socket.socket, client: Any, key: tuple[int, Any]) -> None:
        with suppress(OSError):
            data = upstream.recv(_DATAGRAM)
            self._clients[key][1][0] = self._loop.clock()
            target.handle.sendto(data, client)

    def _sweep(self) -> None:
        oldest = self._loop.clock() - IDLE
        for key, (_, heard) in [*self._clients.items()]:
            if heard[0] < oldest:
                self._forget(key)
        if self._clients:
            self._loop.after("sweep", _SWEEP, self._sweep)

    def _forget(self, key: tuple[int, Any]) -> None:
        upstream, _ = self._clients.pop(key)
        self._loop.forget(upstream.fileno())
        upstream.close()


class _Pair:
    """Two connections, each of which gets what the other sends."""

    __slots__ = ("_ended", "_loop", "_parted", "_pending", "_sockets")

    def __init__(
        self, loop: Loop, client: socket.socket, upstream: socket.socket, parted: Callable[["_Pair"], None]
    ) -> None:
        self._loop = loop
        self._parted = parted
        self._sockets = (client, upstream)
        self._pending = [b"", b""]
        """what is to be sent to each"""
        self._ended = [False, False]
        """which of them sends nothing more"""
        self._watch()

    def _watch(self) -> None:
        """Who has room for what it is to get may be read from on the other side, and so on."""
        for this, handle in enumerate(self._sockets):
            events = POLLOUT if self._pending[this] else 0
            if not self._ended[this] and not self._pending[1 - this]:
                events |= POLLIN
            if events:
                self._loop.watch(handle.fileno(), events, self._ready(this))
            else:  # a hang-up would be told all the time
                self._loop.forget(handle.fileno())

    def _ready(self, this: int) -> Callable[[int], None]:
        return lambda events: self._turn(this, events)

    def _turn(self, this: int, events: int) -> None:
        try:
            if self._pending[this] and events & ~POLLIN:
                self._flush(this)
            if events & ~POLLOUT and not self._ended[this] and not self._pending[1 - this]:
                self._read(this)
        except BlockingIOError:
            return
        except OSError:
            self.cut()
            return
        if self._ended == [True, True] and self._pending == [b"", b""]:
            self._close(socket.socket.close)
            return
        self._watch()

    def _read(self, this: int) -> None:
        data = self._sockets[this].recv(_CHUNK)
        other = 1 - this
        if not data:
            self._ended[this] = True
            self._sockets[other].shutdown(socket.SHUT_WR)
            return
        self._pending[other] = data
        self._flush(other)

    def _flush(self, this: int) -> None:
        try:
            sent = self._sockets[this].send(self._pending[this])
        except BlockingIOError:
            return
        self._pending[this] = self._pending[this][sent:]

    def cut(self) -> None:
        self._close(_cut)

    def _close(self, how: Callable[[socket.socket], None]) -> None:
        for handle in self._sockets:
            self._loop.forget(handle.fileno())
        for handle in self._sockets:
            how(handle)
        self._parted(self)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _cut(handle: socket.socket) -> None:
    with suppress(OSError):
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    handle.close()
