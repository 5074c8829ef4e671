"""From a worker: have the forkserver start one more process, which is to outlive the command.

A fork of the worker itself would begin with all pages that the worker has written to, and would copy again
each that either of them writes to next. One from the zygote is clean. The name that ``bind`` gives to this
end of the connection tells the server what is asked for.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from . import worker

_reserved: socket.socket | None = None
_offered = ""


def reserve() -> None:
    """Have the server hand over a process for the next ``spawn``, which meanwhile waits: it is about to come.

    If it does not come after all, that process ends with this one.
    """
    global _reserved, _offered
    if _reserved is None and worker.origin is not None:
        _reserved, _offered = _connected(worker.origin[0]), ""


def offered() -> str:
    """What the process that was reserved calls itself ready for (``zygote.OUTLIVING``); empty without one."""
    global _offered
    if _reserved is not None and not _offered:
        try:
            _offered, _ = worker.read_request(_reserved)
        except (EOFError, OSError):
            return ""  # whoever calls spawn next sees it too
    return _offered


def spawn(argument: bytes, descriptors: Sequence[int]) -> bool:
    """Have a clean process act on ``argument`` (``zygote.OUTLIVING``); whether that could be done.

    It has the ``descriptors`` under other numbers, and otherwise begins as the server is: in the root
    directory, with /dev/null as standard streams. False where this process is no worker of a forkserver, or
    its server is gone: then nothing was started.
    """
    global _reserved
    reserve()
    offered()
    connection, _reserved = _reserved, None
    if connection is None or worker.origin is None:
        return False
    data = worker.message((worker.origin[1], argument))
    try:
        with connection:
            sent = socket.send_fds(connection, [data], descriptors)
            connection.sendall(data[sent:])
            return connection.recv(1) == b"A"
    except OSError:
        return False


def _connected(path: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.bind("")
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection
