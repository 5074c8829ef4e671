"""What a monitor asks of whoever owns the container's record (``container/supervise.py``)."""

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from .plan import Plan
from .resolver import Directory


class Held(NamedTuple):
    """A port of the host, and where what arrives at its socket is to be passed on to, if anything does."""

    handle: socket.socket
    address: str = ""
    port: int = 0


class Connected(NamedTuple):
    """Sockets that the network of a container needs for as long as it runs."""

    held: Sequence[Held] = ()
    dns: Sequence[socket.socket] = ()
    """inside the container, one for UDP and one for TCP: where its resolver listens (``resolver.py``)"""


class Starting(Protocol):
    """What a start means for the container's record."""

    def trees(self, spec: Mapping[str, Any]) -> AbstractContextManager[None]:
        """To be held from before its mounts are made until it is noted that it runs: what is to be opened for
        the runtime document is, and the document has the descriptors."""

    def connect(self, pid: int) -> Connected:
        """Init is made, and waits for its network: connect it. Only asked if the plan is ``connected``."""

    def starting(self) -> Callable[[int], None]:
        """It is about to execute its program; what is returned writes down that it runs, and its PID."""

    def begun(self) -> None:
        """Its monitor has it. Who starts it is told after this, which raises nothing: it runs."""

    def failed(self, error: Exception) -> int:
        """The container could not be started, and nothing of it is left in the kernel; its exit code."""

    def plan(self) -> Plan:
        """Of another start, by what is true now. Descriptors in it are open in this process."""


class Owner(Starting, Protocol):
    """What happens to the container's record and its cgroup. None of these may leave anything half done."""

    def clear(self) -> bool:
        """End what is left of it, remove the cgroup; whether anything was killed for want of memory."""

    def ended(self, code: int, *, oom_killed: bool) -> float | None:
        """It is gone from the kernel: write this down, or have it be gone for everybody.

        Or say in how many seconds it is to be started again.
        """

    def finish(self) -> None:
        """Whoever waited for its end knows: do what nobody has to wait for. The lock is given up by now."""

    def signalled(self, number: int) -> None:
        """Somebody sends init a signal, or would if there were one: it may be meant to end."""

    def stopped(self) -> bool:
        """Whether one that waits to be started again has been stopped: then this is written down as well."""

    def probe(self) -> bytes:
        """The ``ExecRequest`` of the health check. Called in a builder."""

    def probed(self, start: str, end: str, code: int, output: str) -> tuple[bool, str]:
        """Write down a result of it; whether the container is still starting, and what is to be done to it:
        nothing, ``kill``, ``restart`` or ``stop``. The last two go with a stop signal."""

    def stop_signal(self) -> tuple[int, int]:
        """The signal that asks it to end, and the seconds to wait before SIGKILL (negative: for ever)."""

    def directory(self) -> Directory:
        """Of the names that its resolver knows."""

    def pause(self, *, paused: bool) -> None:
        """Write down that it is frozen, or not any more; ``Conflict`` if it is already."""

    def keep(self) -> None:
        """It is not to remove itself when it ends."""

    def exec_ended(self, identifier: str, code: int) -> None:
        """An added process has ended, the container has not."""
