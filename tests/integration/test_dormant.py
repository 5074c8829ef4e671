"""A monitor that has had nothing to do yet: what it costs, what wakes it, and that nothing is missed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support import leaks
from support.command import Runner
from support.killing import children, parent
from support.waiting import wait_until


def own_memory(pid: int) -> int:
    """kB of pages that no other process has."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1])
    raise AssertionError(f"{pid} has none")


@pytest.fixture
def server(mydocker: Runner) -> None:
    mydocker("ps")
    wait_until(lambda: bool(leaks.waiting()), patience=30)


@pytest.mark.usefixtures("server")
def test_who_only_looks_does_not_wake_it(mydocker: Runner, image: str) -> None:
    _, init = mydocker.start(image, "--name", "idle")
    monitor = parent(init)
    wait_until(lambda: children(monitor) == [init])  # the builder is reaped
    before = own_memory(monitor)
    assert mydocker.inspect("idle")["ExecIDs"] is None
    assert mydocker("logs", "idle").out == ""
    mydocker("ps")
    mydocker("top", "idle")
    mydocker("stats", "--no-stream", "idle")
    assert own_memory(monitor) < 1.5 * before  # the zygote's own writes leave it with pages alone
    mydocker("exec", "idle", "true")
    assert own_memory(monitor) > 2 * before


@pytest.mark.usefixtures("server")
def test_it_costs_the_server_one_descriptor(mydocker: Runner, image: str) -> None:
    """By which that will hear of its end. A connection is kept while somebody is at the other end."""
    _, init = mydocker.start(image)
    server = parent(parent(init))

    def descriptors() -> int:
        """When it has its spare children again: a launcher's connection is there for a moment before."""
        last = -1
        while last != (now := len(os.listdir(f"/proc/{server}/fd"))) or not leaks.waiting():
            last = now
            time.sleep(0.3)
        return now

    before = descriptors()
    more = [mydocker.start(image)[0] for _ in range(4)]
    assert descriptors() == before + 4
    mydocker("rm", "-f", *more)
    assert descriptors() == before


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("flags", [(), ("-t",), ("-i",), ("-it",)])
def test_output_wakes_it(mydocker: Runner, image: str, flags: tuple[str, ...]) -> None:
    container = mydocker("run", "-d", *flags, image, "sh", "-c", "sleep 0.3; echo out; exec sleep 100").line
    mydocker.wait_for_log(container, "out")


@pytest.mark.usefixtures("server")
def test_a_terminal_that_is_closed_and_opened_again(mydocker: Runner, image: str) -> None:
    script = "exec </dev/null >/dev/null 2>&1; sleep 0.3; echo again >/dev/console; exec sleep 100"
    container = mydocker("run", "-d", "-t", image, "sh", "-c", script).line
    mydocker.wait_for_log(container, "again")


@pytest.mark.usefixtures("server")
def test_the_end_wakes_it(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", image, "sh", "-c", "sleep 0.3; exit 7").line
    assert mydocker("wait", container).line == "7"
    assert mydocker.inspect(container)["State"]["ExitCode"] == 7


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "words", [("stop", "-t", "0"), ("kill",), ("pause",), ("restart", "-t", "0"), ("rm", "-f"), ("exec",)]
)
def test_requests_wake_it(mydocker: Runner, image: str, words: tuple[str, ...]) -> None:
    container, _ = mydocker.start(image)
    more = ("echo", "there") if words == ("exec",) else ()
    said = mydocker(*words, container, *more).line
    assert said == ("there" if more else container)
    if words == ("pause",):
        mydocker("unpause", container)


@pytest.mark.usefixtures("server")
def test_a_client_that_attaches(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", "-i", image, "sh", "-c", "read line; echo got $line").line
    client = mydocker.popen("attach", container, stdin=subprocess.PIPE)
    output, _ = client.communicate(b"this\n", timeout=20)
    assert output == b"got this\n"


@pytest.mark.usefixtures("server")
def test_killed_while_it_sleeps(mydocker: Runner, image: str) -> None:
    """Its container ends with it, and the next command says so."""
    container, init = mydocker.start(image)
    os.kill(parent(init), signal.SIGKILL)
    wait_until(lambda: not os.path.exists(f"/proc/{init}"))
    assert mydocker.inspect(container)["State"]["Status"] == "exited"
