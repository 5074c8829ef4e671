"""What a container uses, read from the files of either cgroup version into one shape.

Numbers are bytes, nanoseconds and counts. A limit of None is no limit; a part of None is not counted on this
host. Sources: memory.rst, cpuacct.rst, blkio-controller.rst, pids.rst and hugetlb.rst in
admin-guide/cgroup-v1/, and cgroup-v2.rst. Out of scope: Docker's JSON for it (``engine/``), and rates, which
need two readings.
"""

import os

from ..linux.cgroup.directory import parse_nested

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .cgroup_limit import Group

    Finder = Callable[[str], Group | None]


class _Plain:
    """Attributes by keyword, printed as such."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({values})"


class CpuStats(_Plain):
    __slots__ = ("periods", "system", "throttled", "throttled_periods", "total", "user")

    def __init__(self, total: int, user: int, system: int, throttling: dict[str, int]):
        self.total = total
        self.user = user
        self.system = system
        self.periods = throttling.get("nr_periods", 0)
        self.throttled_periods = throttling.get("nr_throttled", 0)
        # v1 counts in nanoseconds, v2 in microseconds
        self.throttled = throttling.get("throttled_time", throttling.get("throttled_usec", 0) * 1000)


class MemoryStats(_Plain):
    """``cache`` is what of ``usage`` is page cache; ``inactive_file`` the part that can go at once."""

    __slots__ = (
        "cache",
        "failures",
        "inactive_file",
        "limit",
        "maximum",
        "oom_kills",
        "stat",
        "swap",
        "swap_limit",
        "usage",
    )

    def __init__(
        self,
        usage: int,
        maximum: int | None,
        limit: int | None,
        swap: int | None,
        swap_limit: int | None,
        failures: int,
        oom_kills: int,
        stat: dict[str, int],
    ):
        self.usage = usage
        self.maximum = maximum
        self.limit = limit
        self.swap = swap
        self.swap_limit = swap_limit
        self.failures = failures
        self.oom_kills = oom_kills
        self.cache = stat.get("cache", stat.get("file", 0))
        self.inactive_file = stat.get("total_inactive_file", stat.get("inactive_file", 0))
        self.stat = stat


class PidsStats(_Plain):
    __slots__ = ("current", "limit")

    def __init__(self, current: int, limit: int | None):
        self.current = current
        self.limit = limit


class DeviceStats(_Plain):
    """Bytes and requests of one block device."""

    __slots__ = ("major", "minor", "read_bytes", "reads", "write_bytes", "writes")

    def __init__(self, major: int, minor: int):
        self.major = major
        self.minor = minor
        self.read_bytes = self.write_bytes = self.reads = self.writes = 0


class HugetlbStats(_Plain):
    __slots__ = ("failures", "limit", "maximum", "usage")

    def __init__(self, usage: int, maximum: int | None, limit: int | None, failures: int):
        self.usage = usage
        self.maximum = maximum
        self.limit = limit
        self.failures = failures


class Pressure(_Plain):
    """One line of a pressure file: per cent of the last 10, 60 and 300 seconds, and microseconds in all."""

    __slots__ = ("avg10", "avg60", "avg300", "total")

    def __init__(self, values: dict[str, str]):
        self.avg10 = float(values["avg10"])
        self.avg60 = float(values["avg60"])
        self.avg300 = float(values["avg300"])
        self.total = int(values["total"])


class Stats(_Plain):
    __slots__ = ("blkio", "cpu", "hugetlb", "memory", "pids", "pressure")

    def __init__(self) -> None:
        self.cpu: CpuStats | None = None
        self.memory: MemoryStats | None = None
        self.pids: PidsStats | None = None
        self.blkio: list[DeviceStats] | None = None
        self.hugetlb: dict[str, HugetlbStats] = {}
        self.pressure: dict[str, dict[str, Pressure]] = {}
        """``pressure["memory"]["some"]``; v2 only, and empty where the kernel counts none."""


def read(find: "Finder") -> Stats:
    """Everything that can be counted. ``find`` gives the cgroup that has a controller, by its v1 name."""
    stats = Stats()
    stats.cpu = _cpu(find)
    if group := find("memory"):
        stats.memory = _memory_v2(group) if group.unified else _memory_v1(group)
    if group := find("pids"):
        stats.pids = PidsStats(int(group.read("pids.current")), group.number("pids.max"))
    if group := find("blkio"):
        stats.blkio = _io_v2(group) if group.unified else _blkio_v1(group)
    if group := find("hugetlb"):
        stats.hugetlb = _hugetlb(group)
    if group := find("unified"):
        stats.pressure = _pressure(group)
    return stats


def _cpu(find: "Finder") -> CpuStats | None:
    group = find("cpuacct")
    if group is not None:
        cpu = find("cpu")
        throttling = cpu.flat("cpu.stat") if cpu is not None else {}
        total, user, system = (int(group.read(f"cpuacct.usage{part}")) for part in ("", "_user", "_sys"))
        return CpuStats(total, user, system, throttling)
    group = find("unified")  # cpu.stat is there without the controller, which adds the throttling
    if group is None:
        return None
    stat = group.flat("cpu.stat")
    return CpuStats(stat["usage_usec"] * 1000, stat["user_usec"] * 1000, stat["system_usec"] * 1000, stat)


def _memory_v1(group: "Group") -> MemoryStats:
    swap = swap_limit = None
    usage = int(group.read("memory.usage_in_bytes"))
    if group.has("memory.memsw.usage_in_bytes"):
        swap = max(0, int(group.read("memory.memsw.usage_in_bytes")) - usage)
        swap_limit = group.number("memory.memsw.limit_in_bytes")
    return MemoryStats(
        usage,
        int(group.read("memory.max_usage_in_bytes")),
        group.number("memory.limit_in_bytes"),
        swap,
        swap_limit,
        int(group.read("memory.failcnt")),
        group.flat("memory.oom_control").get("oom_kill", 0),
        group.flat("memory.stat"),
    )


def _memory_v2(group: "Group") -> MemoryStats:
    limit = group.number("memory.max")
    swap = swap_limit = maximum = None
    if group.has("memory.peak"):  # 5.19
        maximum = int(group.read("memory.peak"))
    if group.has("memory.swap.current"):
        swap = int(group.read("memory.swap.current"))
        swap_only = group.number("memory.swap.max")
        swap_limit = None if limit is None or swap_only is None else limit + swap_only
    events = group.flat("memory.events")
    return MemoryStats(
        int(group.read("memory.current")),
        maximum,
        limit,
        swap,
        swap_limit,
        events.get("max", 0),
        events.get("oom_kill", 0),
        group.flat("memory.stat"),
    )


def _blkio_v1(group: "Group") -> list[DeviceStats]:
    """The counters of the BFQ scheduler where it is in use, else those of throttling, which sees every
    request."""
    found: dict[tuple[int, int], DeviceStats] = {}
    for prefix in ("blkio.bfq.", "blkio.throttle."):
        for file, names in _BLKIO_FILES:
            if not group.has(prefix + file):
                continue
            for line in group.read(prefix + file).splitlines():
                words = line.split()  # 8:0 Read 4096
                if len(words) == 3 and words[1] in names:
                    setattr(_device(found, words[0]), names[words[1]], int(words[2]))
        if any(entry.reads or entry.writes for entry in found.values()):
            break
    return list(found.values())


_BLKIO_FILES = (
    ("io_service_bytes_recursive", {"Read": "read_bytes", "Write": "write_bytes"}),
    ("io_serviced_recursive", {"Read": "reads", "Write": "writes"}),
)


def _io_v2(group: "Group") -> list[DeviceStats]:
    found: dict[tuple[int, int], DeviceStats] = {}
    words = {"rbytes": "read_bytes", "wbytes": "write_bytes", "rios": "reads", "wios": "writes"}
    for number, values in parse_nested(group.read("io.stat")).items():
        entry = _device(found, number)
        for word, value in values.items():
            if word in words:
                setattr(entry, words[word], int(value))
    return list(found.values())


def _device(found: dict[tuple[int, int], DeviceStats], number: str) -> DeviceStats:
    major, _, minor = number.partition(":")
    key = (int(major), int(minor))
    return found.setdefault(key, DeviceStats(*key))


def _hugetlb(group: "Group") -> dict[str, HugetlbStats]:
    found = {}
    for name in os.listdir("/sys/kernel/mm/hugepages"):  # hugepages-2048kB
        size = _page_size(int(name.removeprefix("hugepages-").removesuffix("kB")))
        if group.unified:
            events = group.flat(f"hugetlb.{size}.events")
            current = int(group.read(f"hugetlb.{size}.current"))
            found[size] = HugetlbStats(
                current, None, group.number(f"hugetlb.{size}.max"), events.get("max", 0)
            )
        else:
            usage, maximum, failures = (
                int(group.read(f"hugetlb.{size}.{file}"))
                for file in ("usage_in_bytes", "max_usage_in_bytes", "failcnt")
            )
            found[size] = HugetlbStats(
                usage, maximum, group.number(f"hugetlb.{size}.limit_in_bytes"), failures
            )
    return found


def _page_size(kilobytes: int) -> str:
    """``2MB``, ``1GB``, ``64KB``: hugetlb_fmt_size() in mm/hugetlb_cgroup.c."""
    if kilobytes >= 1 << 20:
        return f"{kilobytes >> 20}GB"
    return f"{kilobytes >> 10}MB" if kilobytes >= 1 << 10 else f"{kilobytes}KB"


def _pressure(group: "Group") -> dict[str, dict[str, Pressure]]:
    found = {}
    for resource in ("cpu", "io", "memory"):
        try:
            text = group.read(f"{resource}.pressure")
        except OSError:
            continue  # not compiled in, or switched off at boot (psi=0), which says EOPNOTSUPP on reading
        found[resource] = {key: Pressure(values) for key, values in parse_nested(text).items()}
    return found
