"""The command ``events``: statistics of a container as JSON, one object a line, in runc's shape.

    {"type": "stats", "id": "x", "data": {"cpu": …, "memory": …, "pids": …, "blkio": …, "hugetlb": …}}
    {"type": "oom", "id": "x"}

Statistics come at an interval until the container ends, or once with ``--stats``; between them each time that
the kernel has killed a process for want of memory. cgroup v1 tells that by an eventfd, v2 by the file
memory.events, which is polled for a change.
"""

from __future__ import annotations

import os
import select
import sys

from mydocker.errors import Conflict, InvalidArgument, NotFound
from mydocker.linux.cgroup.directory import parse_flat
from mydocker.oci.json import dumps
from mydocker.runtime import store
from mydocker.runtime.verbs import cgroup_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.cgroup_stats import DeviceStats, Stats
    from mydocker.runtime.main import Call

_INTERVAL = "5s"
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_NO_LIMIT = (1 << 64) - 1


def events(call: Call) -> int:
    """Print until the container ends."""
    entry = store.find(call.root, call.only_id())
    interval = _milliseconds(call.options.value("interval", _INTERVAL))
    if entry.status() == "stopped":
        raise Conflict(f"container {entry.id} is not running")
    cgroup = cgroup_of(entry)
    _print("stats", entry.id, _data(cgroup.stats()))
    if call.options.flag("stats"):
        return 0
    pidfd = entry.pidfd()
    watch = _Watch(cgroup)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if watch.descriptor >= 0:
            poll.register(watch.descriptor, watch.event)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(interval)}
            if watch.descriptor in ready and watch.read():
                _print("oom", entry.id, None)
            if pidfd in ready:
                return 0
            if not ready:
                try:
                    stats = cgroup.stats()
                except NotFound:  # the container has ended just now
                    return 0
                _print("stats", entry.id, _data(stats))
    finally:
        os.close(pidfd)
        watch.close()


class _Watch:
    """A descriptor that becomes ready when the OOM killer was there; -1 where nothing tells."""

    __slots__ = ("_control", "_kills", "descriptor", "event")

    def __init__(self, cgroup: Cgroup) -> None:
        self.descriptor = self._control = -1
        self._kills = 0
        self.event = select.POLLIN
        paths = cgroup.paths()
        for name, path in paths.items():
            if "memory" in name.split(","):
                self.descriptor = os.eventfd(0, os.EFD_CLOEXEC)
                self._control = os.open(f"{path}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
                with open(f"{path}/cgroup.event_control", "wb", buffering=0) as file:
                    file.write(b"%d %d" % (self.descriptor, self._control))
                return
        try:
            self.descriptor = os.open(f"{paths.get('unified')}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # the memory controller is not enabled here
        self.event = select.POLLPRI
        self.read()

    def read(self) -> bool:
        """Take the notice, so that the next one is seen; whether it was about the OOM killer."""
        if self._control >= 0:
            count = int.from_bytes(os.read(self.descriptor, 8), "little")
            try:
                os.pread(self._control, 4096, 0)
            except OSError:  # ENODEV: the cgroup has been removed, and that is one of the notices
                count -= 1
            return count > 0
        before = self._kills
        try:
            text = os.pread(self.descriptor, 4096, 0).decode()
        except OSError:  # ENODEV: the cgroup has been removed
            return False
        self._kills = parse_flat(text).get("oom_kill", 0)
        return self._kills > before

    def close(self) -> None:
        for descriptor in (self.descriptor, self._control):
            if descriptor >= 0:
                os.close(descriptor)


def _milliseconds(text: str) -> int:
    """A duration such as ``500ms``, ``1.5s`` or ``2m``, as milliseconds."""
    number = text.rstrip("hms")
    unit = _UNITS.get(text[len(number) :])
    try:
        result = int(float(number) * unit) if unit else 0
    except ValueError:
        result = 0
    if result <= 0:
        raise InvalidArgument(f"--interval is a duration such as 500ms or 5s, not {text!r}")
    return result


def _print(kind: str, id: str, data: Any) -> None:
    event = {"type": kind, "id": id}
    if data is not None:
        event["data"] = data
    sys.stdout.write(dumps(event) + "\n")
    sys.stdout.flush()


def _data(stats: Stats) -> dict[str, Any]:
    data: dict[str, Any] = {}
    if cpu := stats.cpu:
        data["cpu"] = {
            "usage": {"total": cpu.total, "kernel": cpu.system, "user": cpu.user},
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled,
            },
        }
    if memory := stats.memory:
        data["memory"] = {
            "cache": memory.cache,
            "usage": {
                "limit": _NO_LIMIT if memory.limit is None else memory.limit,
                "usage": memory.usage,
                "max": memory.maximum or 0,
                "failcnt": memory.failures,
            },
            "raw": memory.stat,
        }
        if memory.swap is not None:
            limit = _NO_LIMIT if memory.swap_limit is None else memory.swap_limit
            data["memory"]["swap"] = {"limit": limit, "usage": memory.usage + memory.swap}
    if pids := stats.pids:
        data["pids"] = {"current": pids.current} | ({"limit": pids.limit} if pids.limit else {})
    if stats.blkio:
        data["blkio"] = {
            "ioServiceBytesRecursive": _operations(stats.blkio, "read_bytes", "write_bytes"),
            "ioServicedRecursive": _operations(stats.blkio, "reads", "writes"),
        }
    data["hugetlb"] = {
        size: {"usage": pages.usage, "max": pages.maximum or 0, "failcnt": pages.failures}
        for size, pages in stats.hugetlb.items()
    }
    return data


def _operations(devices: list[DeviceStats], read: str, write: str) -> list[dict[str, object]]:
    return [
        {"major": device.major, "minor": device.minor, "op": operation, "value": getattr(device, name)}
        for device in devices
        for operation, name in (("Read", read), ("Write", write))
    ]
