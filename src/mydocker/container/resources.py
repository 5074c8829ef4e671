"""Limits and devices: from Docker's units and names to ``linux.resources`` and ``linux.devices``.

In scope: conversions (NanoCpus to quota and period, swap that is not said), looking up device nodes of the
host by path, and the rules for them. Out of scope: whether values are allowed (``validate.py``), and how a
limit becomes a file of some cgroup version (``runtime/cgroup.py``).
"""

import os
import stat
from collections.abc import Iterator

from ..errors import InvalidArgument, NotFound
from ..oci import defaults
from ..oci.runtime import BlockIo, Cpu, Device, DeviceRule, Memory, Resources
from ..oci.runtime import ThrottleDevice as Throttle
from .config import HostConfig, ThrottleDevice, WeightDevice

CPU_PERIOD = 100_000
"""microseconds; what ``--cpus`` is expressed in (kernel default, cgroup-v2.rst, cpu.max)"""

# Not a container's, though they are in every /dev: made anew in each (moby, daemon/pkg/oci/devices_linux.go).
_NOT_PASSED_ON = frozenset(("pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"))


def resources(host: HostConfig, devices: list[DeviceRule]) -> Resources:
    result: Resources = {"devices": devices}
    if memory := _memory(host):
        result["memory"] = memory
    if cpu := _cpu(host):
        result["cpu"] = cpu
    if block := _block_io(host):
        result["blockIO"] = block
    if host.pids_limit is not None and host.pids_limit > 0:
        result["pids"] = {"limit": host.pids_limit}
    return result


def _memory(host: HostConfig) -> Memory:
    result: Memory = {}
    if host.memory > 0:
        result["limit"] = host.memory
    if host.memory_reservation > 0:
        result["reservation"] = host.memory_reservation
    if host.memory_swap:
        result["swap"] = host.memory_swap
    if host.memory_swappiness is not None and host.memory_swappiness >= 0:
        result["swappiness"] = host.memory_swappiness
    if host.oom_kill_disable:
        result["disableOOMKiller"] = True
    return result


def _cpu(host: HostConfig) -> Cpu:
    result: Cpu = {}
    if host.cpu_shares:
        result["shares"] = host.cpu_shares
    if host.nano_cpus > 0:
        result["period"] = CPU_PERIOD
        result["quota"] = host.nano_cpus * CPU_PERIOD // 1_000_000_000
    if host.cpu_period:
        result["period"] = host.cpu_period
    if host.cpu_quota:
        result["quota"] = host.cpu_quota
    if host.cpuset_cpus:
        result["cpus"] = host.cpuset_cpus
    if host.cpuset_mems:
        result["mems"] = host.cpuset_mems
    return result


def _block_io(host: HostConfig) -> BlockIo:
    result: BlockIo = {}
    if host.blkio_weight:
        result["weight"] = host.blkio_weight
    if host.blkio_weight_device:
        result["weightDevice"] = [
            {"major": major, "minor": minor, "weight": each.weight}
            for each in host.blkio_weight_device
            for major, minor in (_numbers(each),)
        ]
    if host.blkio_device_read_bps:
        result["throttleReadBpsDevice"] = _throttles(host.blkio_device_read_bps)
    if host.blkio_device_write_bps:
        result["throttleWriteBpsDevice"] = _throttles(host.blkio_device_write_bps)
    if host.blkio_device_read_iops:
        result["throttleReadIOPSDevice"] = _throttles(host.blkio_device_read_iops)
    if host.blkio_device_write_iops:
        result["throttleWriteIOPSDevice"] = _throttles(host.blkio_device_write_iops)
    return result


def _throttles(devices: list[ThrottleDevice]) -> list[Throttle]:
    return [
        {"major": major, "minor": minor, "rate": each.rate}
        for each in devices
        for major, minor in (_numbers(each),)
    ]


def _numbers(device: WeightDevice | ThrottleDevice) -> tuple[int, int]:
    try:
        status = os.stat(device.path)
    except FileNotFoundError:
        raise NotFound(f"no such block device: {device.path}") from None
    if not stat.S_ISBLK(status.st_mode):
        raise InvalidArgument(f"not a block device: {device.path}")
    return os.major(status.st_rdev), os.minor(status.st_rdev)


# -- device nodes


def devices(host: HostConfig) -> tuple[list[Device], list[DeviceRule]]:
    """The nodes to make in the container's /dev beyond the usual ones, and the whole list of rules."""
    rules = defaults.device_rules(privileged=host.privileged)
    nodes: list[Device] = []
    if host.privileged:
        nodes += _walk("/dev", "/dev")
    for mapping in host.devices or ():
        inside = mapping.path_in_container or mapping.path_on_host
        found = list(_found(mapping.path_on_host, inside))
        nodes = [node for node in nodes if node["path"] not in {each["path"] for each in found}] + found
        if not host.privileged:
            rules += [
                {
                    "allow": True,
                    "type": node["type"],
                    "major": node["major"],
                    "minor": node["minor"],
                    "access": mapping.cgroup_permissions or "rwm",
                }
                for node in found
            ]
    return nodes, rules + [device_rule(text) for text in host.device_cgroup_rules or ()]


def device_rule(text: str) -> DeviceRule:
    """``c 1:3 rwm``, a number may be ``*`` (``docker run --device-cgroup-rule``)."""
    kind, _, rest = text.partition(" ")
    numbers, _, access = rest.partition(" ")
    major, colon, minor = numbers.partition(":")
    if (
        kind not in ("a", "b", "c")
        or not colon
        or not all(number == "*" or (number.isascii() and number.isdigit()) for number in (major, minor))
        or not 0 < len(access) <= 3
        or set(access) - set("rwm")
    ):
        raise InvalidArgument(f"invalid device cgroup rule format: '{text}'")
    rule: DeviceRule = {"allow": True, "type": kind, "access": access}
    if major != "*":
        rule["major"] = int(major)
    if minor != "*":
        rule["minor"] = int(minor)
    return rule


def _found(path: str, inside: str) -> Iterator[Device]:
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError as error:
        raise NotFound(
            f'error gathering device information while adding custom device "{path}": '
            f"{(error.strerror or str(error)).lower()}"
        ) from None
    if stat.S_ISDIR(status.st_mode):
        yield from _walk(real, inside)
    elif (device := _device(inside, status)) is not None:
        yield device
    else:
        raise InvalidArgument(
            f'error gathering device information while adding custom device "{path}": not a device node'
        )


def _walk(directory: str, inside: str) -> Iterator[Device]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _NOT_PASSED_ON:
                yield from _walk(entry.path, f"{inside}/{entry.name}")
        elif entry.name != "console" and not entry.is_symlink():
            try:
                device = _device(f"{inside}/{entry.name}", entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue  # unplugged between the two calls
            if device is not None:
                yield device


def _device(inside: str, status: os.stat_result) -> Device | None:
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    return {
        "path": inside,
        "type": kind,
        "major": os.major(status.st_rdev),
        "minor": os.minor(status.st_rdev),
        "fileMode": stat.S_IMODE(status.st_mode),
        "uid": status.st_uid,
        "gid": status.st_gid,
    }
