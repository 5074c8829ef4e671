"""What becomes of a child that a monitor does not know; in a process that has no other children."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from mydocker.linux.process import children
from mydocker.monitor.children import Children
from mydocker.monitor.loop import Loop

PATIENCE = 10


def alone(function: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "see the traceback"


def stranger(lives: float) -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(lives)
        os._exit(0)
    return pid


def _until_told(connection: socket.socket) -> None:
    connection.recv(1)


def turn_until(loop: Loop, condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        loop.turn(0.05)


@pytest.mark.parametrize("lives", [0, 1000])
def test_a_stranger_is_ended_and_reaped_and_who_is_known_is_not(tmp_path: Path, lives: float) -> None:
    def act() -> None:
        loop = Loop()
        tested = Children(loop, str(tmp_path / "crash.log"))
        forked, connection = tested.fork(_until_told)
        known = stranger(1000)
        tested.know(known)
        unknown = stranger(lives)
        if not lives:
            os.waitid(os.P_PID, unknown, os.WEXITED | os.WNOWAIT)
        assert children() == [forked, known, unknown]
        tested.end_strangers()
        tested.end_strangers()
        turn_until(loop, lambda: children() == [forked, known])
        tested.forget(known)
        tested.end_strangers()
        turn_until(loop, lambda: children() == [forked])
        connection.close()
        os.waitpid(forked, 0)

    alone(act)
    assert not (tmp_path / "crash.log").exists()


def test_without_the_kernels_list_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def act() -> None:
        first, second = stranger(1000), stranger(0)
        real = open

        def missing(path: str) -> IO[str]:
            if path.endswith("/children"):
                raise FileNotFoundError(path)
            return real(path)

        monkeypatch.setattr("builtins.open", missing)
        assert sorted(children()) == sorted([first, second])
        os.kill(first, signal.SIGKILL)

    alone(act)
