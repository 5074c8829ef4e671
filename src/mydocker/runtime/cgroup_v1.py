"""Limits of ``linux.resources`` as files of cgroup v1: one function for each controller.

Each function takes the container's cgroup in the hierarchy of that controller and its section of the
document, and writes only what the section says, so that the same function serves creation and update. The
order of the writes follows the kernel's own conditions (memory <= memsw, quota/period within the parent's),
and is explained where it matters. Sources: runtime-spec config-linux.md; Documentation/admin-guide/cgroup-v1/
of the kernel.
"""

import errno

from ..errors import Conflict, InvalidArgument, NotSupported
from .cgroup_limit import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..oci import runtime as oci

LEAST_SHARES, MOST_SHARES = 2, 262144
"""What the kernel cuts cpu.shares to, in silence: MIN_SHARES and MAX_SHARES in kernel/sched/sched.h."""


def memory(group: Group, section: "oci.Memory") -> None:
    limit, swap = section.get("limit"), section.get("swap")
    if limit == -1 and not swap and group.has("memory.memsw.limit_in_bytes"):
        swap = -1  # memory+swap may not be less than memory, so no limit on one is none on the other
    if section.get("checkBeforeUpdate") and limit is not None and limit > 0:
        check_usage(limit, int(group.read("memory.usage_in_bytes")), group.path)
    if section.get("useHierarchy") is not None:
        wanted = str(int(section["useHierarchy"]))
        if group.read("memory.use_hierarchy") != wanted:
            group.set("memory.use_hierarchy", wanted)
    _limit_and_swap(group, limit or None, swap or None)
    if reservation := section.get("reservation"):
        group.set("memory.soft_limit_in_bytes", str(reservation))
    _limit_kernel(group, "memory.kmem", "kernel", section.get("kernel") or -1)
    _limit_kernel(group, "memory.kmem.tcp", "kernelTCP", section.get("kernelTCP") or -1)
    if section.get("disableOOMKiller") is not None:
        group.set("memory.oom_control", str(int(section["disableOOMKiller"])))
    swappiness = section.get("swappiness")
    if swappiness is not None and swappiness != -1:
        if not 0 <= swappiness <= 100:
            raise InvalidArgument(f"linux.resources.memory.swappiness {swappiness} is not between 0 and 100")
        group.set("memory.swappiness", str(swappiness))


def _limit_and_swap(group: Group, limit: int | None, swap: int | None) -> None:
    """memory.limit_in_bytes may at no moment be above memory.memsw.limit_in_bytes."""
    memory_first = True
    if swap is not None:
        if limit is not None and 0 < swap < limit:
            raise InvalidArgument(f"memory+swap limit {swap} is below the memory limit {limit}")
        if not group.has("memory.memsw.limit_in_bytes"):
            # Without swap accounting "no limit" needs no file. Anything else does, and set() says that it is
            # missing.
            if swap == -1:
                swap = None
        elif limit is not None:
            before = group.number("memory.memsw.limit_in_bytes")
            raising = swap == -1 or (before is not None and swap > before)
            memory_first = not raising
    files = [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", swap)]
    for file, value in files if memory_first else reversed(files):
        if value is not None:
            group.set(file, str(value))


def _limit_kernel(group: Group, prefix: str, field: str, limit: int) -> None:
    """Kernels from 5.16 on have no limit for their own memory, and newer ones pass over what is written."""
    file = f"{prefix}.limit_in_bytes"
    if limit < 0 and (not group.has(file) or group.number(file) is None):
        return
    group.set(file, str(limit))
    if limit > 0 and group.number(file) is None:
        raise NotSupported(f"this kernel does not limit such memory apart (linux.resources.memory.{field})")


def check_usage(limit: int, usage: int, path: str) -> None:
    """``checkBeforeUpdate``: the kernel would reclaim and then kill where the limit is below the usage."""
    if limit <= usage:
        raise Conflict(f"memory limit {limit} is not above what the cgroup {path} uses now, {usage} bytes")


def check_shares(shares: int) -> int:
    """``InvalidArgument`` in runc's words."""
    if shares < LEAST_SHARES:
        raise InvalidArgument(f"the minimum allowed cpu-shares is {LEAST_SHARES}")
    if shares > MOST_SHARES:
        raise InvalidArgument(f"the maximum allowed cpu-shares is {MOST_SHARES}")
    return shares


def cpu(group: Group, section: "oci.Cpu") -> None:
    idle = section.get("idle")
    if idle == 0:
        group.set("cpu.idle", "0")  # first: an idle group takes no shares
    if shares := section.get("shares"):
        group.set("cpu.shares", str(check_shares(shares)))
    if realtime_period := section.get("realtimePeriod"):
        group.set("cpu.rt_period_us", str(realtime_period))
    if realtime_runtime := section.get("realtimeRuntime"):
        group.set("cpu.rt_runtime_us", str(realtime_runtime))
    _bandwidth(group, section)
    if idle:
        group.set("cpu.idle", str(idle))


def _bandwidth(group: Group, section: "oci.Cpu") -> None:
    """Period and burst are checked against the quota that holds at that moment: if refused, quota first."""
    quota = section.get("quota")
    wanted = [("cpu.cfs_period_us", section.get("period")), ("cpu.cfs_burst_us", section.get("burst"))]
    later = []
    for file, value in wanted:
        # A burst of 0 is a value, a period of 0 is "not said".
        if value is None or (value == 0 and file == "cpu.cfs_period_us"):
            continue
        if not quota:
            group.set(file, str(value))
        elif not group.try_set(file, str(value), errno.EINVAL):
            later.append((file, value))
    if quota:
        group.set("cpu.cfs_quota_us", str(quota))
    for file, value in later:
        group.set(file, str(value))


def cpuset(group: Group, section: "oci.Cpu") -> None:
    for file, value in (("cpuset.cpus", section.get("cpus")), ("cpuset.mems", section.get("mems"))):
        if value:
            group.set(file, value)


def inherit_cpuset(group: Group) -> None:
    """Give a new cgroup the processors and memory nodes of its parent: v1 starts it with none, and with none
    no process can join it (man 7 cpuset)."""
    parent = Group(group.parent())
    for file in ("cpuset.cpus", "cpuset.mems"):
        if group.read(file):
            continue
        inherited = parent.read(file)
        if not inherited and not parent.is_top():
            inherit_cpuset(parent)
            inherited = parent.read(file)
        group.write(file, inherited)


def at_least_init(limit: int) -> int:
    """A limit of no process at all is one of the first alone, which is in the cgroup from the beginning."""
    return limit or 1


def pids(group: Group, section: "oci.Pids") -> None:
    limit = section.get("limit")
    if limit is not None:
        group.set("pids.max", "max" if limit < 0 else str(at_least_init(limit)))


def block_io(group: Group, section: "oci.BlockIo") -> None:
    """Weights are of the BFQ scheduler, which has no leaf weights (CFQ had, before 5.0: then the kernel says
    ENOENT)."""
    if weight := section.get("weight"):
        group.set("blkio.bfq.weight", str(weight))
    if leaf_weight := section.get("leafWeight"):
        group.set("blkio.leaf_weight", str(leaf_weight))
    for device in section.get("weightDevice") or ():
        number = f"{device['major']}:{device['minor']}"
        if weight := device.get("weight"):
            group.set("blkio.bfq.weight_device", f"{number} {weight}")
        if leaf_weight := device.get("leafWeight"):
            group.set("blkio.leaf_weight_device", f"{number} {leaf_weight}")
    throttles = (
        ("blkio.throttle.read_bps_device", section.get("throttleReadBpsDevice")),
        ("blkio.throttle.write_bps_device", section.get("throttleWriteBpsDevice")),
        ("blkio.throttle.read_iops_device", section.get("throttleReadIOPSDevice")),
        ("blkio.throttle.write_iops_device", section.get("throttleWriteIOPSDevice")),
    )
    for file, devices in throttles:
        if devices:
            group.set(file, *(f"{device['major']}:{device['minor']} {device['rate']}" for device in devices))


def hugetlb(group: Group, section: "list[oci.HugepageLimit]") -> None:
    for entry in section:
        size, limit = entry["pageSize"], str(entry["limit"])
        group.set(f"hugetlb.{size}.limit_in_bytes", limit)
        # Reservations are limited apart since 5.7; before, the one limit was all there is.
        if group.has(f"hugetlb.{size}.rsvd.limit_in_bytes"):
            group.set(f"hugetlb.{size}.rsvd.limit_in_bytes", limit)


def network_class(group: Group, section: "oci.Network") -> None:
    if class_id := section.get("classID"):
        group.set("net_cls.classid", str(class_id))


def network_priorities(group: Group, section: "oci.Network") -> None:
    for entry in section.get("priorities") or ():
        group.set("net_prio.ifpriomap", f"{entry['name']} {entry['priority']}")


def rdma(group: Group, section: "dict[str, dict[str, int]]") -> None:
    """The same file in both versions."""
    for device, limits in section.items():
        named = (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
        words = [f"{file}={limits[key]}" for key, file in named if limits.get(key) is not None]
        group.set("rdma.max", " ".join([device, *words]))
