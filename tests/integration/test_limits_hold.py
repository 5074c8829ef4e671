"""Limits under attack: memory, processes and processor time, each read from the kernel while it happens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from integration.test_run_limits import cgroup_file
from support import probe
from support.command import Runner

MEGABYTE = 1 << 20
# busybox dd fills one buffer of this size: that much anonymous memory, no more and no less
EAT_200_MB = ("dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")


def fields(path: Path) -> dict[str, int]:
    """A file of ``name value`` lines."""
    lines = (line.split() for line in path.read_text().splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) == 2}


@pytest.mark.both_ways
def test_too_much_memory_is_killed(mydocker: Runner, image: str) -> None:
    if reason := probe.missing_controller("memory"):
        pytest.skip(reason)
    mydocker("run", "--name", "limits-oom", "-m", "64m", image, *EAT_200_MB, check=137)
    state = mydocker.inspect("limits-oom")["State"]
    assert (state["OOMKilled"], state["ExitCode"], state["Status"]) == (True, 137, "exited")


def test_too_much_memory_is_killed_and_removed(mydocker: Runner, image: str) -> None:
    before = mydocker.containers()
    mydocker("run", "--rm", "-m", "64m", image, *EAT_200_MB, check=137)
    assert mydocker.containers() == before


def test_the_same_within_its_limit_ends_well(mydocker: Runner, image: str) -> None:
    mydocker("run", "--name", "limits-fine", "-m", "400m", image, *EAT_200_MB)
    state = mydocker.inspect("limits-fine")["State"]
    assert (state["OOMKilled"], state["ExitCode"]) == (False, 0)


def test_the_kernel_counts_the_kill(mydocker: Runner, image: str) -> None:
    """The victim is not PID 1, so the control group is still there to be read."""
    if reason := probe.missing_controller("memory"):
        pytest.skip(reason)
    script = f"{' '.join(EAT_200_MB)}; echo status $?; exec sleep 1000"
    container, pid = mydocker.start(image, "-m", "64m", command=("sh", "-c", script))
    mydocker.wait_for_log(container, "status 137")
    events = fields(cgroup_file(pid, "memory", ("memory.oom_control", "memory.events")))
    assert events["oom_kill"] >= 1
    peak = cgroup_file(pid, "memory", ("memory.max_usage_in_bytes", "memory.peak"))
    if peak.exists():
        assert int(peak.read_text()) <= 64 * MEGABYTE


def test_fork_bomb_is_contained(mydocker: Runner, image: str) -> None:
    if reason := probe.missing_controller("pids"):
        pytest.skip(reason)
    bomb = "bomb() { bomb | bomb & }; (while :; do bomb; done) & exec sleep 1000"
    container, pid = mydocker.start(image, "--pids-limit", "20", command=("sh", "-c", bomb))
    current = cgroup_file(pid, "pids", ("pids.current", "pids.current"))
    events = cgroup_file(pid, "pids", ("pids.events", "pids.events"))
    most, end = 0, time.monotonic() + 2
    while time.monotonic() < end:
        most = max(most, int(current.read_text()))
        time.sleep(0.01)
    assert 10 < most <= 20 + 20, "a process is counted before it is refused, and each may be at one"
    assert cgroup_file(pid, "pids", ("pids.max", "pids.max")).read_text() == "20\n"
    assert fields(events)["max"] > 0
    assert mydocker("run", "--rm", image, "echo", "unharmed").line == "unharmed"
    mydocker("rm", "-f", container)
    assert not current.exists()


@pytest.mark.slow
def test_half_a_processor(mydocker: Runner, image: str) -> None:
    if reason := probe.missing_controller("cpu"):
        pytest.skip(reason)
    _, pid = mydocker.start(image, "--cpus", "0.5", command=("sh", "-c", "while :; do :; done"))
    before, began = processor_seconds(pid), time.monotonic()
    time.sleep(5)
    used, passed = processor_seconds(pid) - before, time.monotonic() - began
    assert 0.3 < used / passed < 0.55
    assert fields(cgroup_file(pid, "cpu", ("cpu.stat", "cpu.stat")))["nr_throttled"] > 0


def processor_seconds(pid: int) -> float:
    path = cgroup_file(pid, "cpuacct" if probe.cgroup_of("cpuacct") else "cpu", ("cpuacct.usage", "cpu.stat"))
    if path.name == "cpuacct.usage":
        return int(path.read_text()) / 1e9
    return fields(path)["usage_usec"] / 1e6
