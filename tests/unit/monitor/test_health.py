"""When a health check is due, by a clock that the test turns, and what becomes of its output."""

from __future__ import annotations

import pytest

from mydocker.monitor.health import Checks, Output, _duration
from mydocker.monitor.loop import Loop
from mydocker.monitor.plan import HealthSchedule


class Rig:
    def __init__(self, schedule: HealthSchedule) -> None:
        self.now = 0.0
        self.loop = Loop(lambda: self.now)
        self.outputs: list[Output] = []
        self.killed = 0
        self.results: list[tuple[int, str]] = []
        self.starting = True
        self.checks = Checks(self.loop, schedule, self.outputs.append, self.kill, self.judge)

    def kill(self) -> None:
        self.killed += 1

    def judge(self, start: str, end: str, code: int, output: str) -> bool:
        assert start <= end
        self.results.append((code, output))
        return self.starting

    def wait(self, seconds: float) -> int:
        """How many commands have become due by then."""
        self.now += seconds
        self.loop.turn(0)
        return len(self.outputs)


@pytest.fixture
def rig() -> Rig:
    return Rig(HealthSchedule(interval=30, timeout=10, start_period=60, start_interval=5))


def test_one_after_the_other(rig: Rig) -> None:
    rig.starting = False
    assert rig.wait(4.9) == 0
    assert rig.wait(0.1) == 1
    assert rig.wait(9) == 1
    rig.outputs[0].write("stdout", b"fine\n")
    rig.checks.ended(0)
    assert rig.results == [(0, "fine\n")]
    assert rig.wait(29) == 1
    assert rig.wait(1) == 2


def test_often_in_the_start_period_while_it_is_starting(rig: Rig) -> None:
    for number in range(1, 12):
        assert rig.wait(5) == number
        rig.checks.ended(1)
    assert rig.wait(5) == 12
    rig.checks.ended(1)
    assert rig.wait(29) == 12
    assert rig.wait(1) == 13


def test_one_that_takes_too_long(rig: Rig) -> None:
    rig.wait(5)
    rig.outputs[0].write("stderr", b"well")
    rig.wait(10)
    assert rig.killed == 1
    assert rig.results == []
    rig.checks.ended(137)
    assert rig.results == [(-1, "Health check exceeded timeout (10s): well")]
    rig.wait(5)
    rig.checks.ended(0)
    assert rig.results[1:] == [(0, "")]


def test_one_that_could_not_be_started(rig: Rig) -> None:
    rig.wait(5)
    rig.checks.failed("no such file")
    assert rig.results == [(-1, "no such file")]
    assert rig.wait(5) == 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.001, "1ms"), (0.25, "250ms"), (1, "1s"), (1.5, "1.5s"), (90, "1m30s"), (7200, "2h0m0s")],
)
def test_durations_are_go_s(seconds: float, text: str) -> None:
    assert _duration(seconds) == text


def test_after_the_end_nothing_is_due(rig: Rig) -> None:
    rig.checks.cancel()
    assert rig.wait(1000) == 0


def test_the_beginning_of_a_long_output() -> None:
    output = Output()
    output.write("stdout", b"a" * 4000)
    output.write("stdout", b"b" * 4000)
    output.write("stdout", b"c")
    output.finish()
    assert output.text() == "a" * 4000 + "b" * 96 + "..."
