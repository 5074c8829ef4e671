"""From a worker: have the forkserver start one more process, which is to outlive the command.

A fork of the worker itself would begin with all pages that the worker has written to, and would copy again
each that either of them writes to next. One from the server is clean. It is not the spare worker either,
whose rehearsal has cost more memory than a monitor needs in its life: the name that ``bind`` gives to this
end of the connection tells the server so.
"""

from __future__ import annotations

import marshal
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import worker

if TYPE_CHECKING:
    from .launcher import Request


def spawn(entry: str, argument: bytes, descriptors: Sequence[int], name: str) -> bool:
    """Call ``entry`` (``module:function``) with ``argument`` in a new process; whether that could be done.

    The process is in a session of its own, in the root directory, with ``descriptors`` under the numbers that
    they have here, /dev/null as standard streams, and nothing else of the caller; ps(1) shows it as ``name``.
    False where this process is no worker of a forkserver, or its server is gone: then nothing was started.
    """
    if worker.origin is None:
        return False
    path, identity = worker.origin
    numbers = [0, 1, 2, *descriptors]
    request: Request = (identity, entry, [name], {}, numbers, 0o022, [], [], argument)
    body = marshal.dumps(request)
    data = len(body).to_bytes(4, "little") + body
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.bind("")
            connection.connect(path)
            sent = socket.send_fds(connection, [data], [null, null, null, *descriptors, root])
            connection.sendall(data[sent:])
            return connection.recv(1) == b"A"
    except OSError:
        return False
    finally:
        os.close(null)
        os.close(root)
