"""The socket between the runtime and init, and between the runtime and an added process.

One message is one packet of a ``SOCK_SEQPACKET`` pair (unix(7)): a word that says what it is, then fields,
all UTF-8 text, separated by NUL bytes; descriptors travel beside it (SCM_RIGHTS). The socket is close-on-exec
on both ends, so the end of it without a word is what a successful execve(2) looks like.

    init -> runtime   map                        write my user namespace's maps, then say go
                      offsets   text             write my time namespace's offsets, then say go
                      hooks                      I am not yet in my root: run the hooks, then say go
                      console   + descriptor     the master of my terminal
                      event     step, observed   for an observer
                      warning   text
                      ready                      all is done but execve
                      error     class, text      a class of errors.py; init ends
    runtime -> init   go [field …]
                      descriptors number… + them   to one that waits (``runtime/waiting.py``): have these
                      orders number                what to do, in one of these
"""

from __future__ import annotations

import _socket
import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DESCRIPTORS = 200
"""in one message; the kernel takes 253 (SCM_MAX_FD)"""
_LIMIT = 1 << 16
_RIGHTS = _socket.CMSG_SPACE(4 * DESCRIPTORS)


class Channel:
    """One end. It owns its socket."""

    __slots__ = ("_socket",)

    def __init__(self, socket: _socket.socket) -> None:
        self._socket = socket

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        descriptors = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC, 0)
        return cls(descriptors[0]), cls(descriptors[1])

    @classmethod
    def accept(cls, listener: _socket.socket) -> Channel:
        """Wait for a connection on a listening socket."""
        descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # what socket.accept is made of
        return cls(_socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def moved(self, least: int) -> Channel:
        """The same end under the first free number from ``least`` on, in place of this one."""
        with self:
            number = fcntl.fcntl(self._socket, fcntl.F_DUPFD_CLOEXEC, least)
        return Channel(_socket.socket(fileno=number))

    def send(self, kind: str, *fields: str, descriptors: Sequence[int] = ()) -> None:
        """Send one message, with up to ``DESCRIPTORS``; ``BrokenPipeError`` if the other end is gone."""
        packet = "\0".join((kind, *fields)).encode(errors="surrogateescape")[:_LIMIT]
        ancillary = []
        if descriptors:
            rights = struct.pack(f"{len(descriptors)}i", *descriptors)
            ancillary.append((_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights))
        self._socket.sendmsg([packet], ancillary, _socket.MSG_NOSIGNAL)

    def receive(self) -> tuple[str, list[str], list[int]]:
        """Return (kind, fields, descriptors); the kind is "" when the other end is closed."""
        try:
            packet, ancillary, _, _ = self._socket.recvmsg(_LIMIT, _RIGHTS, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:  # it ended with something of ours unread
            return "", [], []
        descriptors: list[int] = []
        for level, kind, data in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
                descriptors += struct.unpack(f"{len(data) // 4}i", data)
        kind_, *fields = packet.decode(errors="surrogateescape").split("\0")
        return kind_, fields, descriptors

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def close_all(descriptors: list[int]) -> None:
    """Close each of ``descriptors`` and forget them."""
    while descriptors:
        os.close(descriptors.pop())
