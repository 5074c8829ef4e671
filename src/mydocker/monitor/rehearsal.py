"""The life of a monitor in small, played through by the process that monitors will be forked from.

A page that a fork shares is copied when it is first written to. Python writes where it only reads (reference
counts), and the first times that it runs a function it writes more: the interpreter specialises the bytecode
and fills the cache of attributes. Done before the fork, that is done once, and not in each monitor.

Nothing of this can be seen from outside: the process is a child that ends at once, the streams are pipes.
"""

from __future__ import annotations

import gc
import os
import socket

from . import protocol
from .build import Built
from .monitor import Monitor
from .plan import Brief, decode_brief, encode
from .protocol import AttachRequest, Kind, packet

ROUNDS = 16
"""Python 3.11 specialises a function after 8 calls, and then an instruction after some more."""


def rehearse() -> None:
    """A monitor leaves it to its end to close what it has; here that has to be done for it."""
    before = _descriptors()
    for _ in range(ROUNDS):
        _once()
    gc.collect()  # or sockets in cycles would close, later, numbers that are not theirs any more
    for descriptor in _descriptors() - before:
        os.close(descriptor)


def _descriptors() -> set[int]:
    names = os.listdir("/proc/self/fd")
    return {int(name) for name in names if os.path.exists(f"/proc/self/fd/{name}")}


def _once() -> None:
    ours, starter = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("")  # a name of the kernel's choice
    listener.listen(1)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(listener.getsockname())
    output, writer = os.pipe()
    errors, errors_writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    brief = decode_brief(
        encode(
            Brief(
                root="/",
                state="/",
                id="",
                run_directory="/",
                log="/dev/null",
                stdin_once=False,
                attach=AttachRequest(stdin=True, stdout=True, stderr=True),
                starter=-1,
                lock=-1,
                plan=-1,
                namespaces=[],
                named=[],
            )
        )
    )
    os.write(writer, b"said\n")
    os.close(writer)
    os.close(errors_writer)
    client.send(packet(Kind.ATTACH, protocol.encode(AttachRequest(stdin=False, stdout=True, stderr=True))))
    monitor = Monitor(brief, _Nobody())
    monitor.serve(
        Built(pid=pid, output=True), [os.pidfd_open(pid), listener.detach(), output, errors], starter
    )
    ours.close()
    client.close()


class _Nobody:
    """An owner without a record."""

    def started(self, pid: int) -> None:
        pass

    def failed(self, error: Exception) -> None:
        pass

    def clear(self) -> bool:
        return False

    def ended(self, code: int, *, oom_killed: bool) -> None:
        pass

    def pause(self, *, paused: bool) -> None:
        pass

    def keep(self) -> None:
        pass

    def exec_ended(self, identifier: str, code: int) -> None:
        pass
