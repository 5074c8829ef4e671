"""A child of the server: forked first, and then given what there is for it to do.

In between there may be any time. A fork, and the copy of every page that the child then writes to, take
longer than many a command, so a server keeps a child of each kind waiting that is as far as it can be without
knowing what for. It is given a connection over a socket pair, whose end tells it that the server is gone.
"""

from __future__ import annotations

import os
import socket

NAME = b"mydocker-spare"
"""what ps(1) shows until there is something to do"""


class Child:
    """The server's side. It owns ``pidfd``, and one end of the socket pair until that is used."""

    __slots__ = ("_channel", "pidfd")

    def __init__(self, pidfd: int, channel: socket.socket) -> None:
        self.pidfd = pidfd
        self._channel = channel

    def give(self, connection: socket.socket) -> bool:
        """Hand over a connection; returns whether there still was somebody to take it. Reaps it, if not."""
        with self._channel as channel:
            try:
                socket.send_fds(channel, [b"."], [connection.fileno()])
            except OSError:
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                os.close(self.pidfd)
                return False
        return True

    def forget(self) -> None:
        """In another child of the server, which must not seem to be the server."""
        self._channel.close()


def wait(channel: socket.socket) -> socket.socket:
    """In the child: the connection to serve. ``EOFError`` if the server is gone."""
    with channel:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not descriptors:
        raise EOFError
    return socket.socket(fileno=descriptors[0])
