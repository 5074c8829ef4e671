"""The process that forks what is to outlive a command (``spawn.py``), for the server.

A monitor lives as long as its container, and costs what it does not share with the process that it was forked
from: what either of them writes to. The server goes on writing, and has loaded what every command may need;
the zygote is forked from it when only what monitors need is loaded, and does nothing but fork. What it forks
are children of the server all the same (``CLONE_PARENT``).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import NoReturn

from ..linux import process
from ..linux.process import CLONE_PARENT, clone3
from . import child, cold, worker
from .child import Child

# What acts in such a process. It is called with a descriptor, and with what waits there, in this process or a
# child, for who has something to be done: that is given what to offer them (``spawn.offered``), and returns
# what they say; with the directory of the server; and with whether there is time before.
OUTLIVING = "mydocker.container.supervise:stand_by"
_NAME = b"mydocker-zygote"
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
        self._channel.send(b"+" if in_advance else b".")
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
    channel: socket.socket, own_identity: bytes, directory: str, prepare: Callable[[], None]
) -> NoReturn:
    process.set_name(_NAME)
    process.close_all_but({0, 1, 2, channel.fileno()})
    prepare()
    channel.send(b"!")
    while order := channel.recv(1):
        ours, theirs = socket.socketpair()
        try:
            pid, pidfd = clone3(CLONE_PARENT)
        except OSError:  # too many processes
            ours.close()
            theirs.close()
            channel.send(b"-")
            continue
        if pid == 0:
            process.set_name(child.NAME)
            try:
                _outlive(theirs, own_identity, directory, in_advance=order == b"+")
            finally:
                worker.exit_later(0)
        theirs.close()
        with ours:
            socket.send_fds(channel, [b"."], [pidfd, ours.fileno()])
        os.close(pidfd)
    os._exit(0)


def _outlive(channel: socket.socket, own_identity: bytes, directory: str, *, in_advance: bool) -> None:
    def hear(offer: str) -> tuple[bytes, list[int]]:
        if in_advance:
            worker.rehearse_hearing()
        return worker.hear(child.wait(channel), own_identity, offer)

    cold.load(OUTLIVING)(channel.fileno(), hear, directory, in_advance=in_advance)
