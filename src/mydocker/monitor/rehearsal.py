"""The life of a monitor in small, played through by the process that monitors will be forked from.

A page that a fork shares is copied when it is first written to. Python writes where it only reads (reference
counts), and the first times that it runs a function it writes more: the interpreter specialises the bytecode
and fills the cache of attributes. Done before the fork, that is done once, and not in each monitor.

Nothing of this can be seen from outside: the process is a child that ends at once, the streams are pipes.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from . import protocol
from .build import Built
from .loop import Loop
from .monitor import Monitor
from .owner import Connected
from .plan import Brief, LogFiles, LogPlan, Plan, decode_brief, encode
from .protocol import AttachRequest, Kind, packet
from .resolver import Directory, Resolver

ROUNDS = 16
"""Python 3.11 specialises a function after 8 calls, and then an instruction after some more."""


def rehearse(rounds: int = ROUNDS) -> None:
    with left_open():
        for _ in range(rounds):
            _once()
        gc.collect()  # or sockets in cycles would close, later, numbers that are not theirs any more


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
                cgroup="",
                log=LogPlan(files=LogFiles(path="/dev/null", size=1 << 30, count=3)),
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
    _resolve()


def _resolve() -> None:
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

    def servers(self) -> list[str]:
        return []


class _Nobody:
    """An owner without a record."""

    def trees(self, spec: Mapping[str, Any]) -> AbstractContextManager[None]:  # noqa: ARG002 - the protocol
        return nullcontext()

    def connect(self, pid: int) -> Connected:  # noqa: ARG002 - the protocol has it
        return Connected()

    def directory(self) -> Directory:
        return _Names()

    def starting(self) -> Callable[[int], None]:
        raise NotImplementedError("nothing is started here")

    def failed(self, error: Exception) -> int:
        raise error

    def plan(self) -> Plan:
        raise NotImplementedError("nothing is started here")

    def clear(self) -> bool:
        return False

    def ended(self, code: int, *, oom_killed: bool) -> float | None:
        pass

    def finish(self) -> None:
        pass

    def signalled(self, number: int) -> None:
        pass

    def stopped(self) -> bool:
        return True

    def probe(self) -> bytes:
        raise NotImplementedError("there is no health check here")

    def probed(self, start: str, end: str, code: int, output: str) -> tuple[bool, str]:
        raise NotImplementedError("there is no health check here")

    def stop_signal(self) -> tuple[int, int]:
        return signal.SIGTERM, 10

    def pause(self, *, paused: bool) -> None:
        pass

    def keep(self) -> None:
        pass

    def exec_ended(self, identifier: str, code: int) -> None:
        pass
