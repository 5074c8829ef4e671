"""The resolver of one container, at 127.0.0.11: its monitor answers, from the loop that it has anyway.

The sockets are in the container's network namespace, the monitor is not: so what it does not know it asks the
host's name servers from where the host asks them, and those on the host's loopback answer too. Servers of the
container's own (``--dns``) are asked from where the container is. Nothing waits: a question that was passed
on is remembered until its answer comes, or the next server's turn.

Out of scope: who has which name (``Directory``), and the form of messages (``network/dns.py``).
"""

import os
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import msgspec

from .. import errors
from ..linux import namespace
from ..network import dns
from .door import Door
from .loop import POLLIN, POLLOUT, Loop

PORT = 53
PATIENCE = 3.0
"""seconds for one name server"""
SERVERS = 3
"""that are asked, one after the other (MAXNS of resolv.conf(5))"""
UNKNOWN = (errors.Error, OSError, ValueError, msgspec.MsgspecError)
"""what a look at the disk may meet (no descriptors, documents cut short): that question fails, no more"""
IN_FLIGHT = 100
"""questions that wait for an answer; those beyond it are told to come again (SERVFAIL)"""
_LIMIT = 65535
_PIECE = 1024
"""bytes that are taken from a connection in one turn, so that one does not keep the others waiting"""
_LONGEST = (SERVERS + 1) * PATIENCE
"""for a connection of which nothing is heard: longer than an answer takes"""
_TIMER = "resolver"


class Server(NamedTuple):
    """A name server, and from where it is asked."""

    address: str
    inside: bool
    """from the container's network namespace"""


class Directory(Protocol):
    def addresses(self, name: str) -> list[str] | None:
        """Those of everybody who is called so, in turn a different one first; ``None``: nobody is."""

    def name_of(self, address: str) -> str:
        """Who has an address; empty: nobody of ours."""

    def servers(self) -> list[Server]:
        """Who to ask about all other names."""

    def passes(self, name: str) -> bool:
        """Whether they may be asked about this one."""

    def told(self, name: str, message: bytes) -> None:
        """An answer of theirs, before the container gets it."""


class _Asked:
    """A question that was passed on, and how to answer it."""

    __slots__ = ("by_tcp", "deadline", "message", "question", "reply", "servers", "socket")

    def __init__(
        self,
        message: bytes,
        question: dns.Question,
        servers: list[Server],
        reply: Callable[[bytes], None],
        by_tcp: bool,
    ) -> None:
        self.message = message
        self.question = question
        self.servers = servers
        self.reply = reply
        self.by_tcp = by_tcp
        self.socket: socket.socket | None = None
        self.deadline = 0.0


class _Stream:
    """A connection by TCP, of a client or to a server: messages with two bytes of length before them."""

    __slots__ = ("deadline", "pending", "received", "socket")

    def __init__(self, connection: socket.socket, pending: bytes = b"") -> None:
        connection.setblocking(False)
        self.socket = connection
        self.received = b""
        self.pending = pending
        self.deadline = time.monotonic() + _LONGEST

    def messages(self) -> list[bytes] | None:
        """Those that have come; ``None`` at the end of the connection, or if they are none."""
        try:
            data = self.socket.recv(_PIECE)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        self.received += data
        found, start = [], 0
        while len(self.received) >= start + 2:
            end = start + 2 + int.from_bytes(self.received[start : start + 2])
            if end - start < 2 + dns.SHORTEST:
                return None
            if len(self.received) < end:
                break
            found.append(self.received[start + 2 : end])
            start = end
        self.received = self.received[start:]
        return found


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


class Resolver:
    def __init__(self, loop: Loop, directory: Directory, udp: int, tcp: int) -> None:
        self._loop = loop
        self._directory = directory
        self._udp = socket.socket(fileno=udp)
        self._door = Door(loop, tcp, self._enter)
        self._asked: dict[int, _Asked] = {}
        self._streams: dict[int, _Stream] = {}
        loop.watch(udp, POLLIN, self._datagram)

    def close(self) -> None:
        """Let go of everything, from the loop too."""
        self._door.close()
        for handle in (self._udp, *(stream.socket for stream in self._streams.values())):
            self._forget(handle)
        for asked in self._asked.values():
            if asked.socket is not None:
                self._forget(asked.socket)
        self._asked, self._streams = {}, {}
        self._loop.cancel(_TIMER)

    def _forget(self, handle: socket.socket) -> None:
        self._loop.forget(handle.fileno())
        handle.close()

    def _hurry(self) -> None:
        """Have ``_expire`` called when something has waited long enough."""
        deadlines = [each.deadline for each in self._asked.values()]
        deadlines += [each.deadline for each in self._streams.values()]
        if deadlines:
            self._loop.after(_TIMER, max(0.0, min(deadlines) - time.monotonic()), self._expire)

    def _expire(self) -> None:
        now = time.monotonic()
        for fd, asked in [*self._asked.items()]:
            if asked.deadline <= now:
                self._drop(fd)
                self._ask(asked)
        for stream in [*self._streams.values()]:
            if stream.deadline <= now:
                self._leave(stream)
        self._hurry()

    # -- clients

    def _datagram(self, _: int) -> None:
        try:
            message, client = self._udp.recvfrom(_LIMIT)
        except OSError:
            return  # nothing there any more, or an error that an earlier answer has met

        def reply(answer: bytes) -> None:
            try:
                self._udp.sendto(answer, client)
            except OSError:
                return  # it has gone, or takes nothing now: it will ask again

        self.take(message, reply)

    def _enter(self, connection: socket.socket) -> None:
        if len(self._streams) >= IN_FLIGHT:
            connection.close()
            return
        stream = _Stream(connection)
        self._streams[connection.fileno()] = stream
        self._hurry()
        self._loop.watch(connection.fileno(), POLLIN, lambda _: self._stream(stream))

    def _stream(self, stream: _Stream) -> None:
        messages = stream.messages()
        if messages is None:
            self._leave(stream)
            return

        def reply(answer: bytes) -> None:
            if self._streams.get(stream.socket.fileno()) is not stream:
                return  # it has left meanwhile
            try:
                if stream.socket.send(framed(answer)) < len(answer) + 2:
                    self._leave(stream)
            except OSError:
                self._leave(stream)

        for message in messages:
            if self._streams.get(stream.socket.fileno()) is not stream:
                return  # it has taken an answer no more
            stream.deadline = time.monotonic() + _LONGEST
            self.take(message, reply, _LIMIT, by_tcp=True)

    def _leave(self, stream: _Stream) -> None:
        self._streams.pop(stream.socket.fileno(), None)
        self._forget(stream.socket)

    # -- questions

    def take(
        self,
        message: bytes,
        reply: Callable[[bytes], None],
        limit: int = dns.UDP_LIMIT,
        *,
        by_tcp: bool = False,
    ) -> None:
        """Answer a question, at once or when somebody else has; of what is none, say so."""
        try:
            question = dns.read(message)
        except dns.Malformed as error:
            if len(message) >= 12 and not message[2] & 0x80:  # never an answer to an answer
                reply(dns.refusal(error.id, dns.FORMERR))
            return
        try:
            known = self._known(question)
            passes = known is not None or self._directory.passes(question.name)
            servers = self._directory.servers()[:SERVERS] if known is None and passes else []
        except UNKNOWN:
            reply(dns.answer(question, [], code=dns.SERVFAIL))
            return
        if known is not None:
            reply(dns.answer(question, known, limit=max(limit, question.room)))
        elif not passes:
            reply(dns.answer(question, [], code=dns.NXDOMAIN))
        elif not servers or len(self._asked) >= IN_FLIGHT:
            reply(dns.answer(question, [], code=dns.SERVFAIL))
        else:
            self._ask(_Asked(message, question, servers, reply, by_tcp))

    def _known(self, question: dns.Question) -> list[bytes] | None:
        """The records that answer a question about one of us; ``None`` if it is about somebody else."""
        if question.type == dns.PTR:
            address = dns.reversed_address(question.name)
            name = self._directory.name_of(address) if address else ""
            return [dns.name_data(name)] if name else None
        found = self._directory.addresses(question.name)
        if found is None:
            return None
        family = {dns.A: socket.AF_INET, dns.AAAA: socket.AF_INET6}.get(question.type)
        if family is None:
            return []
        six = family == socket.AF_INET6
        return [socket.inet_pton(family, each) for each in found if (":" in each) == six]

    def _ask(self, asked: _Asked) -> None:
        """Pass the question on to the next server; ``SERVFAIL`` when there is none left."""
        while asked.servers:
            server, *asked.servers = asked.servers
            try:
                handle = self._connected(server, socket.SOCK_STREAM if asked.by_tcp else socket.SOCK_DGRAM)
                if not asked.by_tcp:
                    handle.send(asked.message)
            except OSError:
                continue
            if asked.by_tcp:
                stream = _Stream(handle, framed(asked.message))
                self._wait(asked, handle, partial(self._told, stream), POLLIN | POLLOUT)
            else:
                self._wait(asked, handle, self._answered)
            return
        asked.reply(dns.answer(asked.question, [], code=dns.SERVFAIL))

    def _answered(self, fd: int) -> None:
        asked = self._asked[fd]
        assert asked.socket is not None
        try:
            message = asked.socket.recv(_LIMIT)
        except BlockingIOError:
            return
        except OSError:  # nobody listens there
            self._drop(fd)
            self._ask(asked)
            return
        if message[:2] != asked.message[:2]:
            return
        self._drop(fd)
        self._pass_on(asked, message)

    def _pass_on(self, asked: _Asked, message: bytes) -> None:
        """An answer; but another server is asked after one that cannot tell, or does not want to."""
        if asked.servers and dns.code(message) in (dns.SERVFAIL, dns.REFUSED):
            self._ask(asked)
            return
        try:
            self._directory.told(asked.question.name, message)
        except UNKNOWN:
            message = dns.answer(asked.question, [], code=dns.SERVFAIL)
        asked.reply(message)

    def _told(self, stream: _Stream, fd: int) -> None:
        asked = self._asked[fd]
        if stream.pending:
            try:
                sent = stream.socket.send(stream.pending)
            except BlockingIOError:
                return
            except OSError:
                self._drop(fd)
                self._ask(asked)
                return
            stream.pending = stream.pending[sent:]
            if not stream.pending:
                self._loop.watch(fd, POLLIN, lambda _: self._told(stream, fd))
            return
        messages = stream.messages()
        if messages is None:
            self._drop(fd)
            self._ask(asked)
        elif messages:
            self._drop(fd)
            self._pass_on(asked, messages[0])

    def _wait(
        self, asked: _Asked, handle: socket.socket, handler: Callable[[int], None], events: int = POLLIN
    ) -> None:
        asked.socket = handle
        asked.deadline = time.monotonic() + PATIENCE
        self._asked[handle.fileno()] = asked
        self._hurry()
        fd = handle.fileno()
        self._loop.watch(fd, events, lambda _: handler(fd))

    def _drop(self, fd: int) -> None:
        asked = self._asked.pop(fd)
        if asked.socket is not None:
            self._forget(asked.socket)
            asked.socket = None

    def _connected(self, server: Server, kind: int) -> socket.socket:
        """A socket to a name server; by TCP the connection may still be on its way."""
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        handle = self._inside(family, kind) if server.inside else socket.socket(family, kind)
        try:
            handle.setblocking(False)
            error = handle.connect_ex((server.address, PORT))
            if error not in (0, 115):  # EINPROGRESS
                raise OSError(error, os.strerror(error), server.address)
        except BaseException:
            handle.close()
            raise
        return handle

    def _inside(self, family: int, kind: int) -> socket.socket:
        """A socket where ours are, in the container's network namespace."""
        outside = namespace.open_namespace("network")
        try:
            target = namespace.of_socket(self._udp.fileno())
            try:
                namespace.setns(target, namespace.CLONE_NEWNET)
            finally:
                os.close(target)
            try:
                return socket.socket(family, kind)
            finally:
                namespace.setns(outside, namespace.CLONE_NEWNET)
        finally:
            os.close(outside)
