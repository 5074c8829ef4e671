"""Timers of a monitor's loop, by a clock that the test turns."""

from __future__ import annotations

import os

import pytest

from mydocker.monitor.loop import POLLIN, Loop


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_timer_is_called_once_when_its_time_has_come(clock: Clock) -> None:
    loop, called = Loop(clock), []
    loop.after("one", 5, lambda: called.append("one"))
    loop.turn(0)
    assert called == []
    clock.now += 5
    loop.turn(0)
    loop.turn(0)
    assert called == ["one"]


def test_the_same_name_again_replaces_it_and_it_can_be_cancelled(clock: Clock) -> None:
    loop, called = Loop(clock), []
    loop.after("one", 1, lambda: called.append("early"))
    loop.after("one", 9, lambda: called.append("late"))
    loop.after("two", 1, lambda: called.append("two"))
    loop.cancel("two")
    loop.cancel("three")
    clock.now += 5
    loop.turn(0)
    assert called == []
    clock.now += 5
    loop.turn(0)
    assert called == ["late"]


def test_a_timer_may_set_itself_again_and_cancel_another(clock: Clock) -> None:
    loop, called = Loop(clock), []

    def first() -> None:
        called.append("first")
        loop.cancel("second")
        loop.after("first", 1, first)

    loop.after("first", 1, first)
    loop.after("second", 1, lambda: called.append("second"))
    clock.now += 1
    loop.turn(0)
    assert called == ["first"]
    clock.now += 1
    loop.turn(0)
    assert called == ["first", "first"]


def test_waiting_ends_with_the_first_timer() -> None:
    loop, called = Loop(), []
    reader, writer = os.pipe()
    loop.watch(reader, POLLIN, lambda _: called.append("read"))
    loop.after("soon", 0.01, lambda: called.append("soon"))
    loop.turn(60)
    assert called == ["soon"]
    os.close(reader)
    os.close(writer)
