"""What two readings of a cgroup say, and Docker's document of them."""

from __future__ import annotations

import os

import pytest

from mydocker.container.config import Config, HostConfig
from mydocker.container.record import Record
from mydocker.container.state import State
from mydocker.container.stats import NOTHING, Reading, cpu_percent, document, memory_percent, read
from mydocker.runtime.cgroup_stats import CpuStats, DeviceStats, MemoryStats, PidsStats, Stats

SECOND = 1_000_000_000
RECORD = Record(
    id="ab" * 32,
    created="2024-01-01T00:00:00Z",
    path="true",
    args=[],
    name="web",
    config=Config(),
    host_config=HostConfig(),
)


def reading(
    taken: int, cpu: int, *, usage: int = 1000, limit: int | None = 4000, inactive: int = 200
) -> Reading:
    stats = Stats()
    stats.cpu = CpuStats(cpu, cpu // 2, cpu // 2, {"nr_throttled": 3})
    stats.memory = MemoryStats(usage, 1500, limit, None, None, 0, 0, {"inactive_file": inactive})
    stats.pids = PidsStats(7, None)
    disk = DeviceStats(8, 0)
    disk.read_bytes, disk.write_bytes = 10, 20
    stats.blkio = [disk, disk]
    return Reading(taken, stats, {"eth0": (1, 2, 3, 4, 5, 6, 7, 8), "eth1": (10, 0, 0, 0, 50, 0, 0, 0)})


@pytest.mark.parametrize(
    ("before", "now", "percent"),
    [
        (reading(0, 0), reading(SECOND, SECOND // 2), 50.0),
        (reading(0, SECOND), reading(2 * SECOND, 5 * SECOND), 200.0),
        (reading(5, 7), reading(5, 7), 0.0),
        (reading(0, 50), reading(SECOND, 0), 0.0),  # it has been started again in between
        (NOTHING, reading(SECOND, SECOND), 0.0),
        (reading(0, 0), NOTHING, 0.0),
    ],
)
def test_processor_time(before: Reading, now: Reading, percent: float) -> None:
    assert cpu_percent(before, now) == percent


def test_memory_without_what_can_go_at_once() -> None:
    assert (reading(0, 0).memory, memory_percent(reading(0, 0))) == (800, 20.0)
    assert reading(0, 0, usage=100, inactive=200).memory == 100
    assert memory_percent(NOTHING) == 0.0


def test_without_a_limit_it_is_the_machines() -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert reading(0, 0, limit=None).memory_limit == total
    assert reading(0, 0, limit=1 << 62).memory_limit == total


def test_sums() -> None:
    found = reading(0, 0)
    assert (found.network, found.block, found.pids) == ((11, 55), (20, 40), 7)
    assert (NOTHING.network, NOTHING.block, NOTHING.pids) == ((0, 0), (0, 0), 0)


def test_the_document() -> None:
    shown = document(RECORD, reading(0, 0), reading(SECOND, SECOND))
    assert (shown["id"], shown["name"]) == (RECORD.id, "/web")
    assert shown["pids_stats"] == {"current": 7, "limit": (1 << 64) - 1}
    assert shown["memory_stats"]["max_usage"] == 1500
    assert shown["networks"]["eth0"] == {
        "rx_bytes": 1, "rx_packets": 2, "rx_errors": 3, "rx_dropped": 4,
        "tx_bytes": 5, "tx_packets": 6, "tx_errors": 7, "tx_dropped": 8,
    }  # fmt: skip
    assert shown["blkio_stats"]["io_service_bytes_recursive"][:2] == [
        {"major": 8, "minor": 0, "op": "read", "value": 10},
        {"major": 8, "minor": 0, "op": "write", "value": 20},
    ]
    cpu, before = shown["cpu_stats"], shown["precpu_stats"]
    used = cpu["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    of = cpu["system_cpu_usage"] - before["system_cpu_usage"]
    assert used / of * cpu["online_cpus"] * 100 == 100.0  # as Docker's clients reckon


def test_one_that_does_not_run_uses_nothing() -> None:
    assert read(RECORD, State()) is NOTHING
    assert document(RECORD, NOTHING, NOTHING)["memory_stats"] == {}
