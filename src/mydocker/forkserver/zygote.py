"""The process that forks what is to outlive a command (``spawn.py``), for the server.

A monitor lives as long as its container, and costs what it does not share with the process that it was forked
from: what either of them writes to. The server goes on writing, and has loaded what every command may need;
the zygote is forked from it when only what monitors need is loaded, and does nothing but fork. What it forks
are children of the server all the same (``CLONE_PARENT``).
"""

from __future__ import annotations

import _socket
import os
import socket
import struct
from collections.abc import Callable
from typing import NoReturn

from ..linux import process
from ..linux.process import CLONE_PARENT, clone3
from ..monitor import dormant, spawn
from . import child, cold, worker
from .child import Child

# What acts in such a process. It is called with what ``hear`` needs, the directory of the server, and whether
# there is time before somebody comes.
OUTLIVING = "mydocker.container.supervise:stand_by"
_NAME = b"mydocker-zygote"
_IN_ADVANCE = b"+"
_ROUNDS = 16
_RIGHTS = struct.Struct("ii")
_PATIENCE_SECONDS = 1.0  # with one that somebody has stopped


class Zygote:
    """In the server. The process ends with the server. It is ``ready`` once it has prepared itself; that it
    is, or has ended, is to be seen at ``fileno`` and to be heard."""

    def __init__(self, own_identity: bytes, directory: str, prepare: Callable[[], None]) -> None:
        self.ready = False
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            try:
                self._channel.close()
                _serve(theirs, own_identity, directory, prepare)
            finally:
                os._exit(1)
        theirs.close()
        self._channel.settimeout(_PATIENCE_SECONDS)

    def fork(self, *, in_advance: bool) -> Child:
        """A child; ``in_advance``: it will have to wait. ``OSError`` if there can be none now."""
        if not self.ready:
            raise BlockingIOError
        self._channel.send(_IN_ADVANCE if in_advance else b".")
        _, descriptors, _, _ = socket.recv_fds(self._channel, 1, 2)
        if not descriptors:
            raise BlockingIOError
        pidfd, channel = descriptors
        return Child(pidfd, socket.socket(fileno=channel))

    def hear(self) -> bool:
        """Whether it is there: it has just become ready, or else has ended."""
        try:
            self.ready = bool(self._channel.recv(1))
        except OSError:
            self.ready = False
        return self.ready

    def fileno(self) -> int:
        return self._channel.fileno()

    def forget(self) -> None:
        """In a child of the server, which must not seem to be the server."""
        self._channel.close()


def _serve(
    connection: socket.socket, own_identity: bytes, directory: str, prepare: Callable[[], None]
) -> NoReturn:
    process.set_name(_NAME)
    channel = _socket.socket(fileno=connection.detach())
    process.close_all_but({0, 1, 2, channel.fileno()})
    outlive = cold.load(OUTLIVING)
    prepare()
    spawn.settle()
    _rehearse()
    channel.send(b"!")
    while order := channel.recv(1):
        _fork(channel, order, outlive, own_identity, directory, CLONE_PARENT)
    os._exit(0)


def _fork(
    channel: _socket.socket,
    order: bytes,
    outlive: Callable[[int, bytes, str, bool], None],
    own_identity: bytes,
    directory: str,
    flags: int,
) -> None:
    """Answer one order: with a child of these ``flags``, which calls ``outlive``, and its channel."""
    ours, theirs = dormant.pair()
    try:
        pid, pidfd = clone3(flags)
    except OSError:  # too many processes
        ours.close()
        theirs.close()
        channel.send(b"-")
        return
    if pid == 0:
        try:
            process.set_name(child.NAME)
            os.setsid()
            channel.close()
            ours.close()
            outlive(theirs.detach(), own_identity, directory, order == _IN_ADVANCE)
        finally:
            worker.exit_later(0)
    theirs.close()
    rights = _RIGHTS.pack(pidfd, ours.fileno())
    channel.sendmsg([b"."], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    ours.close()
    os.close(pidfd)


def hear(channel: int, own_identity: bytes, offer: str, *, in_advance: bool) -> tuple[bytes, list[int]]:
    """In such a child, or one of its own: wait for who has something to be done, and give them an ``offer``;
    what they say (``spawn.py``), and its descriptors. ``EOFError`` if nobody will come."""
    if in_advance:
        worker.rehearse_hearing()
    return worker.hear(child.wait(socket.socket(fileno=channel)), own_identity, offer)


def _rehearse() -> None:
    """Fork some children that end at once; see ``monitor/rehearsal.py``."""
    ours, theirs = dormant.pair()
    for _ in range(_ROUNDS):
        _fork(ours, b"", lambda *_: None, b"", "", 0)
        os.wait()
        for descriptor in dormant.receive(theirs)[1]:
            os.close(descriptor)
    ours.close()
    theirs.close()
    for _ in range(_ROUNDS):
        process.set_name(_NAME)
