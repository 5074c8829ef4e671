"""The health check of one run of a container: when its command is due, and what it said.

The command is run by ``Monitor`` like any exec, through a builder; what a result means is the owner's to say.
There is one at a time: the next is due when the last has ended, as in Docker.
"""

import time
from collections.abc import Callable

from .loop import Loop
from .plan import HealthSchedule
from .timestamp import rfc3339

_KEPT = 4096
"""bytes of output in a result (moby, ``daemon/health.go``, ``maxOutputLen``)"""
TIMERS = ("health", "health timeout")

Judge = Callable[[str, str, int, str], bool]
"""start, end, exit code, output; returns whether the container is still starting"""


class Checks:
    """``begin`` is called when a command is due, with the output that it is to fill; ``kill`` when it takes
    too long. Whoever runs it calls ``ended`` or ``failed``."""

    __slots__ = (
        "_began", "_begin", "_judge", "_kill", "_loop", "_output", "_schedule", "_start", "_starting", "late"
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        schedule: HealthSchedule,
        begin: Callable[["Output"], None],
        kill: Callable[[], None],
        judge: Judge,
    ) -> None:
        self._loop = loop
        self._schedule = schedule
        self._begin = begin
        self._kill = kill
        self._judge = judge
        self._began = loop.clock()
        self._start = ""
        self._starting = True
        self.late = False
        self._output = Output()
        self.rest()

    def rest(self) -> None:
        """Until the next one."""
        schedule = self._schedule
        early = self._starting and self._loop.clock() - self._began < schedule.start_period
        self._loop.after("health", schedule.start_interval if early else schedule.interval, self._due)

    def _due(self) -> None:
        self._start = rfc3339(time.time_ns())
        self.late = False
        self._output = Output()
        self._loop.after("health timeout", self._schedule.timeout, self._too_late)
        self._begin(self._output)

    def _too_late(self) -> None:
        self.late = True
        self._kill()

    def ended(self, code: int) -> None:
        text = self._output.text()
        if self.late:
            self._result(-1, f"Health check exceeded timeout ({_duration(self._schedule.timeout)}): {text}")
        else:
            self._result(code, text)

    def failed(self, why: str) -> None:
        self._result(-1, why)

    def _result(self, code: int, text: str) -> None:
        self._loop.cancel("health timeout")
        self._starting = self._judge(self._start, rfc3339(time.time_ns()), code, text)
        self.rest()

    def cancel(self) -> None:
        for name in TIMERS:
            self._loop.cancel(name)


def _duration(seconds: float) -> str:
    """As Go prints it: ``100ms``, ``1.5s``, ``1m30s``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


class Output:
    """What the command wrote, its beginning."""

    __slots__ = ("_kept", "_more")

    def __init__(self) -> None:
        self._kept = b""
        self._more = False

    def write(self, _: str, data: bytes) -> None:
        room = _KEPT - len(self._kept)
        self._kept += data[:room]
        self._more = self._more or len(data) > room

    def finish(self) -> None:
        """There is nothing to close."""

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace") + ("..." if self._more else "")
