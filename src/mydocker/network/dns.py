"""DNS messages, for a resolver that answers for a few names and passes on the rest (RFC 1035).

In scope: reading the question of a query, writing the answer to it, and finding the addresses in one of
somebody else, which is passed on as it is. Out of scope: sockets, and who has which name.

Why not dnspython: its import takes 90 ms, and every monitor of a container would carry it.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

A, PTR, AAAA, ANY = 1, 12, 28, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
TTL = 600
"""seconds; Docker's"""
UDP_LIMIT = 512
"""bytes of an answer by UDP to who has not said that it takes more"""
_MOST = 4096
"""bytes of one to who has (RFC 6891, section 6.2.5)"""
_OPT = 41

_HEADER = struct.Struct("!HHHHHH")
SHORTEST = _HEADER.size
"""bytes of a message"""
_QR, _AA, _TC, _RD, _RA, _OPCODE = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x7800
_ANSWER = struct.Struct("!HHHIH")
_OPTION = struct.Struct("!BHHIH")
_FIRST_NAME = 0xC000 | _HEADER.size
"""a pointer to the name of the question (section 4.1.4)"""


class Question(NamedTuple):
    id: int
    flags: int
    name: str
    """without the last dot, as it was asked for"""
    type: int
    question: bytes
    """name, type and class as they came, for the answer"""
    room: int = 0
    """bytes that an answer by UDP may have if it says so (EDNS); 0 if it does not speak of it"""


class Malformed(Exception):
    """Not a query with one question of class IN; ``id`` is what an answer says that it is to."""

    def __init__(self, message: str, id: int = 0) -> None:
        super().__init__(message)
        self.id = id


def read(message: bytes) -> Question:
    """The question of a query. Raises ``Malformed``."""
    if len(message) < _HEADER.size:
        raise Malformed("it has no header")
    id, flags, questions, *_ = _HEADER.unpack_from(message)
    if flags & _QR or flags & _OPCODE or questions != 1:
        raise Malformed("it is no query with one question", id)
    labels = []
    offset = _HEADER.size
    while True:
        if offset >= len(message):
            raise Malformed("its name has no end", id)
        size = message[offset]
        offset += 1
        if size == 0:
            break
        if size > 63 or offset + size > len(message):
            raise Malformed("its name has a label that is none", id)
        labels.append(message[offset : offset + size].decode("latin-1"))
        offset += size
    if offset + 4 > len(message) or offset - _HEADER.size > 255:
        raise Malformed("it ends before its question does", id)
    type, class_ = struct.unpack_from("!HH", message, offset)
    if class_ != IN:
        raise Malformed("it is not of class IN", id)
    question = message[_HEADER.size : offset + 4]
    return Question(id, flags, ".".join(labels), type, question, _room(message[offset + 4 :]))


def _room(rest: bytes) -> int:
    """By the OPT record, if that is what follows the question: root, type, bytes in place of a class."""
    if len(rest) < _OPTION.size:
        return 0
    root, type, size, *_ = _OPTION.unpack_from(rest)
    return min(max(size, UDP_LIMIT), _MOST) if (root, type) == (0, _OPT) else 0


def code(message: bytes) -> int:
    """Of an answer: ``NOERROR`` and so on."""
    return message[3] & 0xF if len(message) >= _HEADER.size else FORMERR


def addresses(message: bytes) -> list[tuple[str, int]]:
    """Those that an answer tells (A and AAAA records), each with its TTL in seconds; ``Malformed``."""
    found = []
    try:
        _, _, questions, answers, *_ = _HEADER.unpack_from(message)
        offset = _HEADER.size
        for _ in range(questions):
            offset = _skip(message, offset) + 4
        for _ in range(answers):
            offset = _skip(message, offset)
            type, class_, ttl, size = struct.unpack_from("!HHIH", message, offset)
            offset += 10
            data = message[offset : offset + size]
            offset += size
            if class_ == IN and (type, len(data)) in ((A, 4), (AAAA, 16)):
                found.append((str(ipaddress.ip_address(data)), ttl))
    except (struct.error, IndexError):
        raise Malformed("it ends before its records do") from None
    return found


def _skip(message: bytes, offset: int) -> int:
    """Where a name ends: after its last label, or a pointer (section 4.1.4)."""
    while True:
        size = message[offset]
        if size & 0xC0:
            return offset + 2
        offset += 1 + size
        if not size:
            return offset


def answer(question: Question, records: list[bytes], *, code: int = NOERROR, limit: int = 65535) -> bytes:
    """``records`` are the data of records of the question's type; TC says that not all of them fit."""
    about = _OPTION.pack(0, _OPT, _MOST, 0, 0) if question.room else b""
    left = limit - _HEADER.size - len(question.question) - len(about)
    flags = _QR | _AA | _RA | (question.flags & _RD) | code
    body, count = b"", 0
    for data in records:
        record = _ANSWER.pack(_FIRST_NAME, question.type, IN, TTL, len(data)) + data
        if len(body) + len(record) > left:
            flags |= _TC
            break
        body, count = body + record, count + 1
    head = _HEADER.pack(question.id, flags, 1, count, 0, 1 if about else 0)
    return head + question.question + body + about


def refusal(id: int, code: int) -> bytes:
    """An answer without the question, which could not be read."""
    return _HEADER.pack(id, _QR | code, 0, 0, 0, 0)


def name_data(name: str) -> bytes:
    """A name as the data of a PTR record."""
    labels = [label.encode("latin-1", "replace")[:63] for label in name.split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def reversed_address(name: str) -> str:
    """The address that a name below in-addr.arpa or ip6.arpa is about; empty if it is none."""
    lower = name.lower()
    if "%" in lower:  # the scope of an address may be anything
        return ""
    if lower.endswith(".in-addr.arpa"):
        parts = lower.removesuffix(".in-addr.arpa").split(".")
        text = ".".join(reversed(parts))
    elif lower.endswith(".ip6.arpa"):
        digits = "".join(reversed(lower.removesuffix(".ip6.arpa").split(".")))
        text = ":".join(digits[first : first + 4] for first in range(0, len(digits), 4))
    else:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
