"""The log of one container as its monitor sees it: which of the sinks it is, and compression beside it."""

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from ..linux import pidfd
from . import log_pump
from .log_file import Writer, compress_file
from .loop import POLLIN, Loop
from .plan import LogPlan
from .spawn import forked

if TYPE_CHECKING:
    from signal import SIGKILL
else:
    from _signal import SIGKILL


class Log:
    """A sink (``streams.py``) for as long as the monitor lives; each run of the container ends with
    ``finish``."""

    __slots__ = ("_compressor", "_sink")

    def __init__(self, plan: LogPlan, loop: Loop, crash_log: str) -> None:
        self._compressor = _Compressor(loop, crash_log)
        self._sink: Writer | log_pump.Pump
        if plan.pumped:
            self._sink = log_pump.start(plan, loop, lambda work: forked(work, crash_log)[1])
        else:
            assert plan.files is not None
            self._sink = Writer(plan.files, self._compressor.begin, self._compressor.busy)

    def write(self, stream: str, data: bytes) -> None:
        self._sink.write(stream, data)

    def finish(self) -> None:
        """A file that is being compressed stays as it is: nobody waits for that."""
        self._sink.finish()
        self._compressor.stop()

    def clear(self) -> None:
        self._compressor.stop()
        self._sink.clear()


class _Compressor:
    """A process that compresses one file, and ends."""

    __slots__ = ("_child", "_connection", "_crash_log", "_loop", "_path")

    def __init__(self, loop: Loop, crash_log: str) -> None:
        self._loop = loop
        self._crash_log = crash_log
        self._child = 0
        self._path = ""
        self._connection: socket.socket | None = None

    def busy(self) -> bool:
        return self._connection is not None

    def begin(self, path: str) -> None:
        """Where no process can be had, the file stays as it is."""
        try:
            child, self._connection = forked(lambda _: compress_file(path), self._crash_log)
        except OSError:
            return
        self._child = pidfd.pidfd_open(child)
        self._path = path
        self._loop.watch(self._connection.fileno(), POLLIN, lambda _: self.stop())

    def stop(self) -> None:
        """It is done; or if not, it is ended."""
        if self._connection is None:
            return
        self._loop.forget(self._connection.fileno())
        self._connection.close()
        self._connection = None
        with suppress(ProcessLookupError, ChildProcessError):  # it was reaped with other strangers
            pidfd.pidfd_send_signal(self._child, SIGKILL)
            pidfd.reap(self._child)
        os.close(self._child)
        with suppress(FileNotFoundError):
            os.unlink(f"{self._path}.gz.new")
