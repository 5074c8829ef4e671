"""The log of one container as its monitor sees it: which of the sinks it is, and compression beside it."""

import os
from contextlib import suppress

from . import log_pump
from .children import Children
from .helper import Helper
from .log_file import UNFINISHED, Writer, compress_rotated
from .loop import Loop
from .plan import LogPlan

_PAUSE = 1.0


class Log:
    """A sink (``streams.py``) for as long as the monitor lives; each run of the container ends with
    ``finish``."""

    __slots__ = ("_again", "_children", "_compressor", "_loop", "_plan", "_sink")

    def __init__(self, plan: LogPlan, loop: Loop, children: Children) -> None:
        self._plan = plan
        self._loop = loop
        self._children = children
        self._compressor = _Compressor(loop, children)
        self._sink: Writer | log_pump.Pump | None = None
        self._again = loop.clock()
        self._begin()

    def _begin(self) -> None:
        """Where no process can be had for it, the container goes on; there may be one later."""
        if self._sink is not None or self._loop.clock() < self._again:
            return
        if self._plan.pumped:
            try:
                self._sink = log_pump.start(self._plan, self._loop, lambda work: self._children.fork(work)[1])
            except OSError:
                self._again = self._loop.clock() + _PAUSE
        else:
            assert self._plan.files is not None
            self._sink = Writer(self._plan.files, self._compressor.begin, self._compressor.stop)

    def write(self, stream: str, data: bytes) -> None:
        self._begin()
        if self._sink is not None:
            self._sink.write(stream, data)

    def finish(self) -> None:
        """A file that is being compressed stays as it is: nobody waits for that."""
        if self._sink is not None:
            self._sink.finish()
        self._compressor.stop()

    def clear(self) -> None:
        self._compressor.stop()
        if self._sink is not None:
            self._sink.clear()


class _Compressor:
    """A process that compresses what a rotation has left, and ends."""

    __slots__ = ("_helper", "_path")

    def __init__(self, loop: Loop, children: Children) -> None:
        self._helper = Helper(loop, children)
        self._path = ""

    def begin(self, path: str) -> None:
        """Where no process can be had, the files stay as they are, until the next rotation."""
        try:
            self._helper.begin(lambda _: compress_rotated(path), self.stop)
        except OSError:
            return
        self._path = path

    def stop(self) -> None:
        """It is done; or if not, it is ended."""
        if self._helper.connection is None:
            return
        self._helper.end()
        directory, _, name = self._path.rpartition("/")
        with suppress(FileNotFoundError):
            for each in os.listdir(directory):
                if each.startswith(f"{name}.") and each.endswith(UNFINISHED):
                    os.unlink(f"{directory}/{each}")
