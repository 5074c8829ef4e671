"""The first part of a monitor's life, in which it touches as little memory as a process of Python can.

A page that a fork shares is copied when it is first written to, and Python writes to whatever it looks at. A
monitor with all its objects weighs 1.5 MB, and most have nothing to do but to wait for the end of a container
that says nothing. So a monitor begins with a builder, takes what that hands over as it comes, and looks at it
when there is something to do.

    builder --SOCK_SEQPACKET--> monitor
        a ``Brief``, encoded, with its starter, lock and plan
        what a builder hands over (``build.py``); with QUIET nothing has to be done before something happens
"""

from __future__ import annotations

import _socket
import os
import select
from collections.abc import Sequence

from ..linux.process import close_all_but, fork
from . import protocol

_KIND = _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
_RIGHTS = _socket.CMSG_SPACE(4 * protocol.DESCRIPTORS)
_LIMIT = protocol.LONG_PACKET
_QUIET = int(protocol.Kind.QUIET)

Handed = tuple[bytes, list[int]]


def pair() -> tuple[_socket.socket, _socket.socket]:
    """Two ends of a connection for packets, close-on-exec."""
    return _socket.socketpair(_socket.AF_UNIX, _KIND, 0)


def fork_builder(kept: Sequence[int]) -> tuple[int, _socket.socket]:
    """As fork(2): its number, and a connection to it; 0 and the other end in itself. It has the descriptors
    ``kept`` for its own, and ends with ``spawn.leave``."""
    ours, theirs = pair()
    pid = fork()
    if pid == 0:
        ours.close()
        close_all_but((0, 1, 2, theirs.fileno(), *kept))
        return 0, theirs
    theirs.close()
    for descriptor in kept:
        os.close(descriptor)
    return pid, ours


def receive(connection: _socket.socket) -> Handed:
    """One message and its descriptors; empty if there is none any more."""
    message, ancillary, _, _ = connection.recvmsg(_LIMIT, _RIGHTS, _socket.MSG_CMSG_CLOEXEC)
    return message, memoryview(ancillary[0][2]).cast("i").tolist() if ancillary else []


def is_quiet(message: bytes) -> bool:
    return message[0] == _QUIET


def sleep(pid: int, connection: _socket.socket, descriptors: Sequence[int]) -> bool:
    """Until something happens at one of the ``descriptors``; whether the builder has been reaped by then.

    Its end of the connection is the last that a builder closes.
    """
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    builder = connection.fileno()
    poll.register(builder, 0)
    ready = poll.poll()
    if len(ready) > 1 or ready[0][0] != builder:
        return False
    poll.unregister(builder)
    connection.close()
    os.waitpid(pid, 0)
    poll.poll()
    return True
