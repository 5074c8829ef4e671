"""From a worker: have the forkserver start one more process, which is to outlive the command.

A fork of the worker itself would begin with all pages that the worker has written to, and would copy again
each that either of them writes to next. One from the server is clean. It is not the spare worker either,
whose rehearsal has cost more memory than a monitor needs in its life: the name that ``bind`` gives to this
end of the connection tells the server so.
"""

from __future__ import annotations

import marshal
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import worker

if TYPE_CHECKING:
    from .launcher import Request


def spawn(entry: str, argument: bytes, descriptors: Sequence[int]) -> bool:
    """Have the server call what ``entry`` stands for in a new process; whether that could be done.

    ``entry`` (``module:function``) is called in the server, with ``argument`` and the numbers that
    ``descriptors`` have there, and returns what is to be called in the process. This begins as the server is:
    in the root directory, with /dev/null as standard streams, and with the server's descriptors.
    False where this process is no worker of a forkserver, or its server is gone: then nothing was started.
    """
    if worker.origin is None:
        return False
    path, identity = worker.origin
    request: Request = (identity, entry, [], {}, [], 0, [], [], argument)
    body = marshal.dumps(request)
    data = len(body).to_bytes(4, "little") + body
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.bind("")
            connection.connect(path)
            sent = socket.send_fds(connection, [data], descriptors)
            connection.sendall(data[sent:])
            return connection.recv(1) == b"A"
    except OSError:
        return False
