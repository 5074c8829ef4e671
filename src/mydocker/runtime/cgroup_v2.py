"""Limits of ``linux.resources``, whose words are those of cgroup v1, as files of cgroup v2.

One function for each controller, for creation and update alike, as in ``cgroup_v1``; and the conversions
between the two scales. What v2 has no word for (swappiness, realtime budgets, the OOM killer switched off) is
an error, not a limit that silently is not there. Sources: runtime-spec config-linux.md;
Documentation/admin-guide/cgroup-v2.rst.
"""

import errno

from ..errors import InvalidArgument, NotSupported
from . import cgroup_v1
from .cgroup_limit import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..oci import runtime as oci

PERIOD = 100_000
"""The period of cpu.max in microseconds where none is given: the kernel's default."""


def cpu_weight(shares: int) -> int:
    """cpu.weight (1 to 10000, 100 is normal) for cpu.shares (2 to 262144, 1024 is normal).

    A curve through those three points: ``log10(weight)`` is quadratic in ``log2(shares)``. The straight line
    that container engines used before gave a normal container 39, so that it got the least of all groups.
    """
    import math

    power = math.log2(cgroup_v1.check_shares(shares))
    return max(1, min(10_000, math.ceil(round(10 ** ((power * power + 125 * power) / 612 - 7 / 34), 9))))


def io_weight(weight: int) -> int:
    """io.weight (1 to 10000, 100 is normal) for a blkio weight (10 to 1000): a line through the ends."""
    return 1 + (check_weight(weight) - 10) * 9999 // 990


def check_weight(weight: int) -> int:
    if not 10 <= weight <= 1000:
        raise InvalidArgument(f"linux.resources.blockIO weight {weight} is not between 10 and 1000")
    return weight


def swap_max(limit: int | None, swap: int | None) -> str | None:
    """memory.swap.max, which counts swap alone, for a limit on memory+swap; None to leave it as it is."""
    if limit == -1 and not swap:
        return "max"
    if not swap:
        return None
    if swap == -1:
        return "max"
    if limit is None or limit <= 0:
        raise InvalidArgument(f"memory+swap limit {swap} needs a memory limit beside it on cgroup v2")
    if swap < limit:
        raise InvalidArgument(f"memory+swap limit {swap} is below the memory limit {limit}")
    return str(swap - limit)


def memory(group: Group, section: "oci.Memory") -> None:
    if section.get("disableOOMKiller"):
        raise NotSupported(
            "cgroup v2 cannot switch the OOM killer off (linux.resources.memory.disableOOMKiller)"
        )
    if section.get("useHierarchy") is False:
        raise NotSupported("cgroup v2 is always hierarchical (linux.resources.memory.useHierarchy)")
    if section.get("swappiness") not in (None, -1):
        raise NotSupported(
            "cgroup v2 has no swappiness of its own for a cgroup (linux.resources.memory.swappiness)"
        )
    for field in ("kernel", "kernelTCP"):
        if (section.get(field) or -1) > 0:  # type: ignore[operator]
            raise NotSupported(f"cgroup v2 limits no kernel memory apart (linux.resources.memory.{field})")
    limit = section.get("limit") or None
    if section.get("checkBeforeUpdate") and limit is not None and limit > 0:
        cgroup_v1.check_usage(limit, int(group.read("memory.current")), group.path)
    swap = swap_max(limit, section.get("swap"))
    if swap in ("0", "max"):
        # A kernel without swap has no such file, and then neither value has a meaning.
        group.try_set("memory.swap.max", swap, errno.ENOENT)
    elif swap is not None:
        group.set("memory.swap.max", swap)
    if limit is not None:
        group.set("memory.max", _or_max(limit))
    if reservation := section.get("reservation"):
        group.set("memory.low", _or_max(reservation))


def cpu(group: Group, section: "oci.Cpu") -> None:
    if section.get("realtimeRuntime") or section.get("realtimePeriod"):
        raise NotSupported(
            "cgroup v2 has no realtime budgets (linux.resources.cpu.realtimeRuntime, realtimePeriod)"
        )
    idle = section.get("idle")
    if idle == 0:
        group.set("cpu.idle", "0")  # first: an idle group takes no weight
    if shares := section.get("shares"):
        group.set("cpu.weight", str(cpu_weight(shares)))
    _bandwidth(group, section)
    if idle:
        group.set("cpu.idle", str(idle))


def _bandwidth(group: Group, section: "oci.Cpu") -> None:
    quota, period, burst = section.get("quota"), section.get("period"), section.get("burst")
    # A burst above the quota is refused, so the one that is there decides what has to come first.
    burst_first = (
        burst is not None and bool(quota) and group.try_set("cpu.max.burst", str(burst), errno.EINVAL)
    )
    if quota or period:
        before = group.read("cpu.max").split()
        words = [_or_max(quota) if quota else before[0], str(period or before[1])]
        group.set("cpu.max", " ".join(words))
    if burst is not None and not burst_first:
        group.set("cpu.max.burst", str(burst))


def block_io(group: Group, section: "oci.BlockIo") -> None:
    """BFQ takes the v1 scale (1 to 1000) in a file of its own; io.weight is of the iocost controller."""
    if section.get("leafWeight"):
        raise NotSupported("cgroup v2 has no leaf weights (linux.resources.blockIO.leafWeight)")
    bfq = group.has("io.bfq.weight")
    file = "io.bfq.weight" if bfq else "io.weight"
    if weight := section.get("weight"):
        group.set(file, str(check_weight(weight) if bfq else f"default {io_weight(weight)}"))
    for device in section.get("weightDevice") or ():
        if device.get("leafWeight"):
            raise NotSupported(
                "cgroup v2 has no leaf weights (linux.resources.blockIO.weightDevice.leafWeight)"
            )
        if weight := device.get("weight"):
            value = check_weight(weight) if bfq else io_weight(weight)
            group.set(file, f"{device['major']}:{device['minor']} {value}")
    throttles = (
        ("rbps", section.get("throttleReadBpsDevice")),
        ("wbps", section.get("throttleWriteBpsDevice")),
        ("riops", section.get("throttleReadIOPSDevice")),
        ("wiops", section.get("throttleWriteIOPSDevice")),
    )
    for word, devices in throttles:
        for throttle in devices or ():
            rate = throttle["rate"] or "max"  # 0 takes a limit away on v1
            group.set("io.max", f"{throttle['major']}:{throttle['minor']} {word}={rate}")


def hugetlb(group: Group, section: "list[oci.HugepageLimit]") -> None:
    for entry in section:
        size, limit = entry["pageSize"], _or_max(entry["limit"])
        group.set(f"hugetlb.{size}.max", limit)
        if group.has(f"hugetlb.{size}.rsvd.max"):
            group.set(f"hugetlb.{size}.rsvd.max", limit)


def unified(group: Group, files: "dict[str, str]") -> None:
    """Files by name, after everything else, so that they have the last word."""
    for file, text in files.items():
        if "/" in file or file in ("", ".", ".."):
            raise InvalidArgument(f"linux.resources.unified key {file!r} is not the name of a cgroup file")
        group.set(file, *(text.splitlines() or [""]))


def _or_max(number: int) -> str:
    """-1, and with it any negative number, is "no limit"."""
    return "max" if number < 0 else str(number)
