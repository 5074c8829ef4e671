"""What the limits do to processes, and what is counted."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from mydocker.linux.cgroup.hierarchy import discover
from support.cgroups import (
    MEGABYTE,
    Member,
    controllers,
    eat_and_wait,
    idle,
    need,
)
from support.waiting import wait_until

if TYPE_CHECKING:
    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.cgroup_stats import CpuStats


def test_processes_beyond_the_limit_are_refused(prepare: Callable[..., Cgroup]) -> None:
    need("pids")
    cgroup = prepare(pids={"limit": 3})

    def fork_until_refused() -> int:
        made = 0
        while made < 10:
            try:
                if os.fork() == 0:
                    idle()
            except BlockingIOError:
                return made
            made += 1
        return made

    assert Member(cgroup, fork_until_refused).wait() == 2
    stats = cgroup.stats().pids
    assert stats is not None
    assert (stats.current, stats.limit) == (2, 3)
    cgroup.kill()


def test_out_of_memory_is_counted(prepare: Callable[..., Cgroup]) -> None:
    need("memory")
    cgroup = prepare(memory={"limit": 24 * MEGABYTE, "swap": 24 * MEGABYTE})
    assert cgroup.oom_kills() == 0
    assert Member(cgroup, lambda: eat_and_wait(200 * MEGABYTE)).wait() == -signal.SIGKILL
    assert cgroup.oom_kills() == 1


def test_a_quota_holds_and_is_counted(prepare: Callable[..., Cgroup]) -> None:
    need("cpu")
    cgroup = prepare(cpu={"quota": 5000, "period": 100000})
    before = time.monotonic()
    assert Member(cgroup, lambda: _spin_for(0.1)).wait() == 0
    assert time.monotonic() - before > 1, "a twentieth of 2 s is 0.1 s"
    cpu = _cpu(cgroup)
    assert cpu.total >= 0.1e9
    assert cpu.throttled_periods > 3
    assert cpu.throttled > 0


def _spin_for(seconds: float) -> None:
    """Of processor time."""
    while time.process_time() < seconds:
        pass


def _cpu(cgroup: Cgroup) -> CpuStats:
    found = cgroup.stats().cpu
    assert found is not None
    return found


def test_statistics(prepare: Callable[..., Cgroup]) -> None:
    cgroup = prepare()

    def work() -> None:
        _spin_for(time.process_time() + 0.2)
        idle()

    member = Member(cgroup, work)
    have = controllers()
    if "cpuacct" in have or any(h.unified for h in discover()):
        wait_until(lambda: _cpu(cgroup).total > 0.15e9)
        assert _cpu(cgroup).user > 0
    stats = cgroup.stats()
    member.end()
    if "memory" in have:
        assert stats.memory is not None
        assert 0 < stats.memory.usage <= (stats.memory.maximum or 1 << 62)
    if "pids" in have:
        assert stats.pids is not None
        assert (stats.pids.current, stats.pids.limit) == (1, None)
    assert (stats.blkio is not None) == ("blkio" in have)
    assert repr(stats).startswith("Stats(blkio=")


def test_statistics_of_input_and_output(prepare: Callable[..., Cgroup], tmp_path: object) -> None:
    need("blkio")
    if os.major(os.stat(str(tmp_path)).st_dev) == 0:
        pytest.skip("the temporary directory is not on a block device")
    major, minor = _disk_of(str(tmp_path))
    # Newer kernels count nothing for the first version until the device has had a limit.
    plenty = {"major": major, "minor": minor, "rate": 1 << 40}
    cgroup = prepare(blockIO={"throttleWriteBpsDevice": [plenty]})

    def write() -> None:
        # Directly: the first version charges the root for what the page cache writes back.
        data = mmap.mmap(-1, MEGABYTE)
        handle = os.open(f"{tmp_path}/data", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
        os.write(handle, data)
        os.close(handle)

    assert Member(cgroup, write).wait() == 0
    devices = cgroup.stats().blkio
    assert devices
    assert sum(device.write_bytes for device in devices) >= MEGABYTE
    assert sum(device.writes for device in devices) > 0


def _disk_of(path: str) -> tuple[int, int]:
    """The numbers of the whole device that a file is on: limits are not for a partition."""
    number = os.stat(path).st_dev
    place = os.path.realpath(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if os.path.exists(f"{place}/partition"):
        place = os.path.dirname(place)
    with open(f"{place}/dev") as file:
        major, minor = file.read().split(":")
    return int(major), int(minor)
