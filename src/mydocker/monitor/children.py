"""The children of a monitor: what it forked itself, and what a builder cloned for it (``CLONE_PARENT``).

A builder that is killed, or that fails, may leave a process that nobody told of. Whatever became of that, it
is ended and reaped here: until its parent has done so, the kernel holds up the end of the PID namespace that
it is in, and so of the container (pid_namespaces(7); ``zap_pid_ns_processes`` in kernel/pid_namespace.c).
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ..linux import pidfd, process
from .loop import POLLIN, Loop
from .spawn import forked

if TYPE_CHECKING:
    from signal import SIGKILL
else:
    from _signal import SIGKILL  # without enumerations, each of which would be touched and so copied


_TRACED_PAUSE = 0.1


class Children:
    __slots__ = ("_crash_log", "_known", "_loop")

    def __init__(self, loop: Loop, crash_log: str) -> None:
        self._loop = loop
        self._crash_log = crash_log
        self._known: set[int] = set()

    def fork(self, work: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
        """One that does ``work`` and ends: its number, and a connection to it. Raises ``OSError``."""
        pid, connection = forked(work, self._crash_log)
        self._known.add(pid)
        return pid, connection

    def know(self, pid: int) -> None:
        """This one is somebody's, who will reap it and ``forget`` it then."""
        self._known.add(pid)

    def forget(self, pid: int) -> None:
        self._known.discard(pid)

    def reaped(self, descriptor: int, again: Callable[[], None]) -> int | None:
        """The exit code of one whose pidfd has said that it has ended. None if one that traces it is to hear
        of it first (ptrace(2)), and may never ask: ``again`` is called in a moment."""
        code = pidfd.reaped(descriptor)
        if code is None:
            self._loop.forget(descriptor)
            self._loop.after(f"traced {descriptor}", _TRACED_PAUSE, again)
        return code

    def part(self, pid: int, descriptor: int) -> None:
        """This one is reaped, or given up; close its pidfd."""
        self._loop.cancel(f"traced {descriptor}")
        self._loop.forget(descriptor)
        os.close(descriptor)
        self._known.discard(pid)

    def end_strangers(self) -> None:
        """Kill those that nobody knows, and reap each as soon as it ends, which a frozen one does later."""
        for pid in process.children():
            if pid not in self._known:
                self._end(pid)

    def _end(self, pid: int) -> None:
        descriptor = pidfd.pidfd_open(pid)
        self._known.add(pid)
        with suppress(ProcessLookupError):  # it has ended, and waits to be reaped
            pidfd.pidfd_send_signal(descriptor, SIGKILL)

        def ended() -> None:
            if self.reaped(descriptor, ended) is not None:
                self.part(pid, descriptor)

        self._loop.watch(descriptor, POLLIN, lambda _: ended())
