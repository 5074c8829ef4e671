"""From a worker: have the forkserver start one more process, which is to outlive the command.

A fork of the worker itself would begin with all pages that the worker has written to, and would copy again
each that either of them writes to next. One from the zygote is clean. The name that ``bind`` gives to this
end of the connection tells the server what is asked for.
"""

from __future__ import annotations

import marshal
import socket
from collections.abc import Sequence

from . import worker


def spawn(argument: bytes, descriptors: Sequence[int]) -> bool:
    """Have a clean process act on ``argument`` (``zygote.OUTLIVING``); whether that could be done.

    It has the ``descriptors`` under other numbers, and otherwise begins as the server is: in the root
    directory, with /dev/null as standard streams. False where this process is no worker of a forkserver, or
    its server is gone: then nothing was started.
    """
    if worker.origin is None:
        return False
    path, identity = worker.origin
    body = marshal.dumps((identity, argument))
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
