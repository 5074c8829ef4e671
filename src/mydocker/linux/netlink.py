"""netlink(7): a socket, its messages and their attributes. ``links.py`` and its like say what they mean.

A message is ``struct nlmsghdr``, the header of a family and attributes, each padded to four bytes. A refusal
of the kernel is an ``OSError`` with the name of what was asked for.

Why not pyroute2: its import takes 180 to 400 ms, which is what ten containers take to run.
"""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

NETLINK_ROUTE = 0
NLM_F_REQUEST, NLM_F_ACK, NLM_F_ECHO = 0x1, 0x4, 0x8
NLM_F_DUMP, NLM_F_REPLACE = 0x300, 0x100
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

_HEADER = struct.Struct("=IHHII")  # nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq, nlmsg_pid
_ATTRIBUTE = struct.Struct("=HH")  # nla_len, nla_type
_ROOM = 1 << 16


def attribute(kind: int, payload: bytes) -> bytes:
    """``struct nlattr`` with its payload, padded to four bytes."""
    size = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + bytes(-size % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The payloads by type; of a type that is there twice, the last."""
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size:
            break
        found[kind & NLA_TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + size]
        offset += size + -size % 4
    return found


class Socket:
    """One of ``PROTOCOL`` in the current network namespace; it stays there whatever is joined later."""

    __slots__ = ("_sequence", "_socket")
    PROTOCOL = NETLINK_ROUTE

    def __init__(self) -> None:
        self._socket = _socket.socket(
            _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, self.PROTOCOL
        )
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def new(self, message: int, body: bytes, what: str) -> None:
        """Make what is not there yet; EEXIST if it is."""
        self.send(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body, what)

    def ask(self, message: int, body: bytes, what: str) -> bytes:
        """A request that one message answers."""
        for kind, answer in self._exchange(message, 0, body):
            if kind == NLMSG_ERROR:
                _raise(answer, what)
            return answer
        raise OSError(71, os.strerror(71), what)  # EPROTO

    def send(self, message: int, flags: int, body: bytes, what: str) -> None:
        """A request with an acknowledgement (NLM_F_ACK among the flags)."""
        for kind, answer in self._exchange(message, flags, body):
            if kind == NLMSG_ERROR:
                _raise(answer, what)
                return

    def dump(self, message: int, body: bytes) -> Iterator[bytes]:
        for kind, answer in self._exchange(message, NLM_F_DUMP, body):
            if kind == NLMSG_ERROR:
                _raise(answer, "dump")
            if kind == NLMSG_DONE:
                return
            yield answer

    def _exchange(self, message: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Send a request and yield the messages that answer it, without an end of their own."""
        self._socket.send(self._packed(message, flags, body))
        while True:
            for kind, sequence, answer in self._received():
                if sequence == self._sequence:
                    yield kind, answer

    def _packed(self, message: int, flags: int, body: bytes) -> bytes:
        """A request with the next sequence number."""
        self._sequence += 1
        return (
            _HEADER.pack(_HEADER.size + len(body), message, NLM_F_REQUEST | flags, self._sequence, 0) + body
        )

    def _received(self) -> Iterator[tuple[int, int, bytes]]:
        """Type, sequence number and body of each message in the next datagram."""
        data = self._socket.recv(_ROOM)
        offset = 0
        while offset + _HEADER.size <= len(data):
            size, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
            yield kind, sequence, data[offset + _HEADER.size : offset + size]
            offset += size + -size % 4


def _raise(answer: bytes, what: str) -> None:
    code: int = -struct.unpack_from("=i", answer)[0]
    if code:
        raise OSError(code, os.strerror(code), what)
