"""What containers use: one reading of a cgroup and of its network interfaces, and what two readings say.

The document is that of ``GET /containers/{id}/stats`` of the Engine API. Out of scope: where the numbers are
in each version of cgroups (``runtime/cgroup_stats.py``), and tables (``cli/``).
"""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

from ..errors import NotFound
from ..monitor.timestamp import NEVER, rfc3339
from ..runtime import cgroup
from ..runtime.cgroup_stats import Stats
from .record import Record
from .spec import cgroup_path
from .state import ALIVE, State


class Reading(NamedTuple):
    """Bytes and nanoseconds at one moment; of a container that does not run everything is nothing."""

    taken: int
    """nanoseconds since the epoch"""
    cgroup: Stats | None
    networks: dict[str, tuple[int, int, int, int, int, int, int, int]]
    """interface -> bytes, packets, errors, dropped received, and the same sent"""

    @property
    def cpu(self) -> int:
        return self.cgroup.cpu.total if self.cgroup is not None and self.cgroup.cpu is not None else 0

    @property
    def memory(self) -> int:
        """Without page cache that can go at once, as Docker's client shows it."""
        memory = self.cgroup.memory if self.cgroup is not None else None
        if memory is None:
            return 0
        return memory.usage - memory.inactive_file if memory.inactive_file < memory.usage else memory.usage

    @property
    def memory_limit(self) -> int:
        """That of the container, or else all that this machine has."""
        if self.cgroup is None:
            return 0
        limit = self.cgroup.memory.limit if self.cgroup.memory is not None else None
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total if limit is None else min(limit, total)

    @property
    def pids(self) -> int:
        return self.cgroup.pids.current if self.cgroup is not None and self.cgroup.pids is not None else 0

    @property
    def network(self) -> tuple[int, int]:
        """Bytes received and sent, over all interfaces."""
        return sum(one[0] for one in self.networks.values()), sum(one[4] for one in self.networks.values())

    @property
    def block(self) -> tuple[int, int]:
        """Bytes read and written, over all devices."""
        devices = (self.cgroup.blkio if self.cgroup is not None else None) or []
        return sum(each.read_bytes for each in devices), sum(each.write_bytes for each in devices)


NOTHING = Reading(0, None, {})


def read(record: Record, state: State) -> Reading:
    """Of a container that has just ended, nothing."""
    if state.status not in ALIVE:
        return NOTHING
    try:
        found = cgroup.open(cgroup_path(record)).stats()
    except NotFound:
        return NOTHING
    shared = record.host_config.network_mode == "host"
    return Reading(time.time_ns(), found, {} if shared else _networks(state.pid))


def cpu_percent(before: Reading, now: Reading) -> float:
    """Of one processor, so that two busy ones are 200."""
    elapsed = now.taken - before.taken
    if elapsed <= 0 or before.cgroup is None or now.cpu < before.cpu:
        return 0.0
    return (now.cpu - before.cpu) / elapsed * 100.0


def memory_percent(now: Reading) -> float:
    return now.memory / now.memory_limit * 100.0 if now.memory_limit else 0.0


def document(record: Record, before: Reading, now: Reading) -> dict[str, Any]:
    """``before`` becomes ``precpu_stats``; clients make percentages of the two."""
    shown: dict[str, Any] = {
        "id": record.id,
        "name": f"/{record.name}",
        "read": rfc3339(now.taken) if now.taken else NEVER,
        "preread": rfc3339(before.taken) if before.taken else NEVER,
        "num_procs": 0,
        "pids_stats": {},
        "blkio_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _cpu(before),
        "memory_stats": {},
        "storage_stats": {},
    }
    stats = now.cgroup
    if stats is None:
        return shown
    if stats.pids is not None:
        limit = stats.pids.limit
        shown["pids_stats"] = {
            "current": stats.pids.current,
            "limit": (1 << 64) - 1 if limit is None else limit,
        }
    if stats.memory is not None:
        memory = {"usage": stats.memory.usage, "stats": stats.memory.stat, "limit": now.memory_limit}
        if stats.memory.maximum is not None:
            memory["max_usage"] = stats.memory.maximum
        shown["memory_stats"] = memory
    shown["blkio_stats"] = {
        "io_service_bytes_recursive": [
            {"major": each.major, "minor": each.minor, "op": op, "value": value}
            for each in stats.blkio or ()
            for op, value in (("read", each.read_bytes), ("write", each.write_bytes))
        ]
    }
    names = ("bytes", "packets", "errors", "dropped")
    shown["networks"] = {
        interface: {
            **{f"rx_{name}": value for name, value in zip(names, numbers[:4], strict=True)},
            **{f"tx_{name}": value for name, value in zip(names, numbers[4:], strict=True)},
        }
        for interface, numbers in now.networks.items()
    }
    return shown


def _cpu(reading: Reading) -> dict[str, Any]:
    cpu = reading.cgroup.cpu if reading.cgroup is not None else None
    processors = os.cpu_count() or 1
    if cpu is None:
        return {"cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0}}
    return {
        "cpu_usage": {
            "total_usage": cpu.total,
            "usage_in_kernelmode": cpu.system,
            "usage_in_usermode": cpu.user,
        },
        # of all processors together, idle time included
        "system_cpu_usage": reading.taken * processors,
        "online_cpus": processors,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled,
        },
    }


def _networks(pid: int) -> dict[str, tuple[int, int, int, int, int, int, int, int]]:
    """/proc/<pid>/net/dev (man 5 proc), without the loopback device."""
    try:
        with open(f"/proc/{pid}/net/dev") as file:
            lines = file.readlines()[2:]
    except (FileNotFoundError, ProcessLookupError):
        return {}  # it has just ended
    found = {}
    for line in lines:
        interface, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if interface.strip() != "lo":
            found[interface.strip()] = (*numbers[0:4], *numbers[8:12])
    return found  # type: ignore[return-value]
