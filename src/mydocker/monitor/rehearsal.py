"""The life of a monitor in small, played through by the process that monitors will be forked from.

A page that a fork shares is copied when it is first written to. Python writes where it only reads (reference
counts), and the first times that it runs a function it writes more: the interpreter specialises the bytecode
and fills the caches of attributes. Done before the fork, that is done once, and not in each monitor.

Nothing of this can be seen from outside: the processes are children that end at once, the streams are pipes.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from signal import SIGKILL, pidfd_send_signal

import msgspec

from ..linux.process import close_all_but
from . import protocol
from .build import Built
from .loop import Loop
from .plan import Brief, LogFiles, LogPlan, encode
from .protocol import AttachRequest, ControlRequest, Kind, packet
from .resolver import Resolver, Server

Live = Callable[[list[int], Callable[[socket.socket], None]], None]

ROUNDS = 16
"""Python 3.11 specialises a function after 8 calls, and then an instruction after some more."""


@contextmanager
def left_open() -> Iterator[None]:
    """Monitors and builders leave it to their end to close what they have: here it is done for them."""
    before = _descriptors()
    yield
    for descriptor in _descriptors() - before:
        os.close(descriptor)


def _descriptors() -> set[int]:
    names = os.listdir("/proc/self/fd")
    return {int(name) for name in names if os.path.exists(f"/proc/self/fd/{name}")}


@contextmanager
def somebody() -> Iterator[int]:
    """A process that does nothing for as long as this one is there; its number. Whoever wants may reap it."""
    alive, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            close_all_but((alive,))
            os.read(alive, 1)
        finally:
            os._exit(0)
    os.close(alive)
    pidfd = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        os.close(held)
        with suppress(ProcessLookupError):  # it was reaped
            pidfd_send_signal(pidfd, SIGKILL)
        os.close(pidfd)
        with suppress(ChildProcessError):  # it was reaped
            os.waitpid(pid, 0)


def play(brief: Brief, live: Live) -> None:
    """Have ``live``, with descriptors for a builder and what that does, be the monitor of a container that
    says a line and is killed by a client."""
    ours, starter = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind("")  # a name of the kernel's choice
    listener.listen(2)
    requests = (
        packet(Kind.ATTACH, protocol.encode(AttachRequest(stdin=False, stdout=True, stderr=True))),
        packet(Kind.CONTROL, protocol.encode(ControlRequest(signal=SIGKILL))),
    )
    clients = []
    for request in requests:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(listener.getsockname())
        client.send(request)
        clients.append(client)
    output, writer = os.pipe()
    errors, errors_writer = os.pipe()
    os.write(writer, b"said\n")
    os.close(writer)
    os.close(errors_writer)
    played = msgspec.structs.replace(
        brief,
        log=LogPlan(files=LogFiles(path="/dev/null", size=1 << 30, count=3)),
        attach=AttachRequest(stdin=True, stdout=True, stderr=True),
    )
    told = [starter.detach(), os.dup(brief.lock), os.dup(brief.plan)]
    with somebody() as pid:
        made = [os.pidfd_open(pid), listener.detach(), output, errors]

        def build(monitor: socket.socket) -> None:
            socket.send_fds(monitor, [encode(played)], told)
            answer = packet(Kind.QUIET, protocol.encode(Built(pid=pid, output=True)))
            socket.send_fds(monitor, [answer], made)

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        live([*told, *made], build)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)  # which a monitor widens for itself
    ours.close()
    for client in clients:
        client.close()


def resolve() -> None:
    """What a resolver does for a container that asks it for a name."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    resolver = Resolver(Loop(), _Names(), udp.detach(), tcp.detach())
    resolver.take(_QUESTION, lambda _: None)
    resolver.close()


_QUESTION = bytes((0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1))
"""RFC 1035, section 4: the address (A, IN) of ``a``"""


class _Names:
    def addresses(self, name: str) -> list[str] | None:  # noqa: ARG002 - the protocol has it
        return ["127.0.0.1"]

    def name_of(self, address: str) -> str:
        return address

    def passes(self, name: str) -> bool:  # noqa: ARG002 - the protocol has it
        return True

    def told(self, name: str, message: bytes) -> None:  # noqa: ARG002 - the protocol has it
        return

    def servers(self) -> list[Server]:
        return []
