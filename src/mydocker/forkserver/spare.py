"""A worker that was forked before there was anything for it to do.

A fork, and the copy of every page that the child then touches first, take longer than many a command. So a
server keeps one worker waiting that has been through the motions once (``worker.rehearse``). It is given a
launcher's connection over a socket pair; the server's end at once tells it that the server is gone.
"""

from __future__ import annotations

import os
import socket

from . import worker


class Spare:
    """In the server: ``give`` it a connection. In the child (``is_child``): ``wait`` for one."""

    def __init__(self, entry: str) -> None:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        self.is_child = pid == 0
        if self.is_child:
            ours.close()
            self._channel = theirs
            worker.rehearse(entry)
            return
        theirs.close()
        self._channel = ours
        self.pidfd = os.pidfd_open(pid)

    def give(self, connection: socket.socket) -> bool:
        """Hand over a launcher's connection; returns whether there still was somebody to take it."""
        with self._channel as channel:
            try:
                socket.send_fds(channel, [b"."], [connection.fileno()])
            except OSError:
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                os.close(self.pidfd)
                return False
        return True

    def wait(self) -> socket.socket:
        """The connection to serve; ends the process if the server is gone."""
        with self._channel as channel:
            _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not descriptors:
            os._exit(0)
        return socket.socket(fileno=descriptors[0])
