"""The D-Bus protocol, as far as a short conversation with one service over a unix socket needs it.

    with Connection("/run/systemd/private") as bus:
        (job,) = bus.call(None, path, "org.freedesktop.systemd1.Manager", "StopUnit", "ss", name, "replace")
        while (signal := bus.signal()).member != "JobRemoved": …

A message is a header and a body (https://dbus.freedesktop.org/doc/dbus-specification.html, "Message Format"),
everything aligned to its size, strings with their length before and a NUL after:

    l  type  flags  1  length of body:32  serial:32  a(yv) fields  padding to 8  body

Values are written by a signature: numbers, ``str``, ``bool``; ``a…`` is a list, ``ay`` is ``bytes``,
``(…)`` is a tuple, ``v`` is a pair of a signature and a value. Out of scope: serving, descriptors,
dictionaries as such (``a{…}`` is a list of pairs), and what is said (``linux/systemd.py``).
"""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
_FIXED = {"y": "B", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d", "b": "I"}
_ALIGNMENT = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}
_HEADER = 16  # bytes up to and with the length of the fields
_LARGEST = 1 << 27  # "Message Format": the maximum length of a message


class BusError(Exception):
    """A service answered with an error: ``name`` is that of its kind, the text is for a person."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


class Message:
    """What came: a reply, an error or a signal."""

    __slots__ = ("body", "error", "kind", "member", "path", "serial")

    def __init__(self, kind: int, fields: dict[int, Any], body: tuple[Any, ...]) -> None:
        self.kind = kind
        self.path: str = fields.get(_PATH, "")
        self.member: str = fields.get(_MEMBER, "")
        self.error: str = fields.get(_ERROR_NAME, "")
        self.serial: int = fields.get(_REPLY_SERIAL, 0)
        self.body = body


class Connection:
    """One end of a conversation. Any answer that takes longer than ``timeout`` seconds is a TimeoutError."""

    __slots__ = ("_buffer", "_serial", "_signals", "_socket")

    def __init__(self, path: str, timeout: float) -> None:
        self._serial = 0
        self._signals: list[Message] = []
        self._buffer = b""
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(path)
            self._authenticate()
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        destination: str | None,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *arguments: Any,
    ) -> tuple[Any, ...]:
        """Call a method and return what it returns; ``BusError`` is its error.

        There is no ``destination`` where the service itself is at the other end, and no bus between.
        """
        self._serial += 1
        fields = [(_PATH, ("o", path)), (_INTERFACE, ("s", interface)), (_MEMBER, ("s", member))]
        if destination is not None:
            fields.append((_DESTINATION, ("s", destination)))
        if signature:
            fields.append((_SIGNATURE, ("g", signature)))
        body = encode(signature, arguments)
        start = struct.pack("<cBBBII", b"l", METHOD_CALL, 0, 1, len(body), self._serial)
        header = start + encode("a(yv)", (fields,), len(start))
        self._socket.sendall(header + bytes(-len(header) % 8) + body)
        while True:
            message = self._receive()
            if message.kind == SIGNAL:
                self._signals.append(message)
            elif message.serial == self._serial:
                if message.kind == ERROR:
                    raise BusError(message.error, str(message.body[0]) if message.body else "")
                return message.body

    def signal(self) -> Message:
        """The next signal that has come, or comes."""
        while not self._signals:
            message = self._receive()
            if message.kind == SIGNAL:
                self._signals.append(message)
        return self._signals.pop(0)

    def _authenticate(self) -> None:
        """Mechanism EXTERNAL of "Authentication Protocol": the kernel says who we are, we have to agree.

        BEGIN goes with the first line, before the answer to it: systemd may read it and the first message in
        one piece otherwise, and then leaves that message until the next one comes.
        """
        user = str(os.geteuid()).encode().hex().encode()
        self._socket.sendall(b"\0AUTH EXTERNAL %s\r\nBEGIN\r\n" % user)
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._read(1)
        if not line.startswith(b"OK "):
            raise PermissionError(1, f"authentication refused ({line.decode(errors='replace').strip()})")

    def _receive(self) -> Message:
        start = self._read(_HEADER)
        order = {b"l": "<", b"B": ">"}.get(start[:1])
        if order is None:
            raise ConnectionError("what came over the bus is no message")
        kind = start[1]
        length, _, fields_length = struct.unpack(f"{order}III", start[4:])
        fields_end = _HEADER + fields_length
        total = fields_end + -fields_end % 8 + length
        if total > _LARGEST:
            raise ConnectionError("a message over the bus is too long")
        data = start + self._read(total - _HEADER)
        (pairs,) = decode("a(yv)", data, 12, order)
        fields = {code: value for code, (_, value) in pairs}
        return Message(kind, fields, decode(fields.get(_SIGNATURE, ""), data, total - length, order))

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionResetError(104, "the other end of the bus is gone")
            self._buffer += chunk
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found


def types(signature: str) -> list[str]:
    """The complete types that a signature is made of: ``sa(sv)u`` -> ``s``, ``a(sv)``, ``u``."""
    found = []
    start = place = depth = 0
    while place < len(signature):
        letter = signature[place]
        depth += (letter in "({") - (letter in ")}")
        place += 1
        if letter != "a" and not depth:
            found.append(signature[start:place])
            start = place
    return found


def encode(signature: str, values: Any, offset: int = 0) -> bytes:
    """The values as they are in a message from ``offset`` on, in little-endian order."""
    data = bytearray(offset)
    for kind, value in zip(types(signature), values, strict=True):
        _write(data, kind, value)
    return bytes(data[offset:])


def _pad(data: bytearray, kind: str) -> None:
    data.extend(bytes(-len(data) % _ALIGNMENT.get(kind, 4)))


def _write(data: bytearray, kind: str, value: Any) -> None:
    letter = kind[0]
    _pad(data, letter)
    if letter in _FIXED:
        data.extend(struct.pack(f"<{_FIXED[letter]}", value))
    elif letter in "sog":
        encoded = value.encode(errors="surrogateescape")
        data.extend(struct.pack("<B" if letter == "g" else "<I", len(encoded)) + encoded + b"\0")
    elif letter == "v":
        _write(data, "g", value[0])
        _write(data, *value)
    elif letter == "a":
        place = len(data)
        data.extend(bytes(4))
        _pad(data, kind[1])  # which does not count for the length
        start = len(data)
        if kind == "ay":
            data.extend(value)
        else:
            for member in value:
                _write(data, kind[1:], member)
        struct.pack_into("<I", data, place, len(data) - start)
    else:
        for member_kind, member in zip(types(kind[1:-1]), value, strict=True):
            _write(data, member_kind, member)


def decode(signature: str, data: bytes, offset: int, order: str = "<") -> tuple[Any, ...]:
    """The values of these types at ``offset`` of a message."""
    reader = _Reader(data, offset, order)
    return tuple(reader.read(kind) for kind in types(signature))


class _Reader:
    __slots__ = ("_data", "_order", "_place")

    def __init__(self, data: bytes, place: int, order: str) -> None:
        self._data = data
        self._place = place
        self._order = order

    def read(self, kind: str) -> Any:
        letter = kind[0]
        self._align(letter)
        if letter in _FIXED:
            (value,) = self._unpack(_FIXED[letter])
            return bool(value) if letter == "b" else value
        if letter in "sog":
            (length,) = self._unpack("B" if letter == "g" else "I")
            return self._bytes(length + 1)[:-1].decode(errors="surrogateescape")
        if letter == "v":
            inner = self.read("g")
            return inner, self.read(inner)
        if letter == "a":
            (length,) = self._unpack("I")
            self._align(kind[1])
            if kind == "ay":
                return self._bytes(length)
            end = self._place + length
            found = []
            while self._place < end:
                found.append(self.read(kind[1:]))
            return found
        return tuple(self.read(member) for member in types(kind[1:-1]))

    def _align(self, kind: str) -> None:
        self._place += -self._place % _ALIGNMENT.get(kind, 4)

    def _unpack(self, letter: str) -> tuple[Any, ...]:
        size = struct.calcsize(letter)
        return struct.unpack(self._order + letter, self._bytes(size))

    def _bytes(self, count: int) -> bytes:
        found = self._data[self._place : self._place + count]
        if len(found) < count:
            raise ConnectionError("a message over the bus ends early")
        self._place += count
        return found
