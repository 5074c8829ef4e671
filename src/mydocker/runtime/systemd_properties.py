"""What systemd is told of a container: the properties of its scope, from ``linux.resources`` and annotations.

systemd sets what it knows of a unit again whenever it sees fit (``daemon-reload``, ``set-property``). So it
has to know the limits that it has words for, and they have to be those that the cgroup files get afterwards
(``runtime/cgroup_v1.py``, ``cgroup_v2.py``), which also say what it has no words for. The choice is runc's.
systemd.resource-control(5), org.freedesktop.systemd1(5).

Annotations ``org.systemd.property.NAME`` are properties too, their values GVariant text:

    org.systemd.property.TimeoutStopUSec   uint64 123456789
    org.systemd.property.TimeoutStopSec    123                  the same in seconds
    org.systemd.property.CollectMode       'inactive-or-failed'
    org.systemd.property.After             ['network.target']

Out of scope: talking to systemd (``linux/systemd.py``).
"""

from __future__ import annotations

from mydocker.errors import InvalidArgument, NotSupported
from mydocker.runtime import cgroup_device, cgroup_v1, cgroup_v2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from mydocker.oci import runtime as oci

    Property = tuple[str, tuple[str, Any]]

INFINITY = (1 << 64) - 1
ANNOTATION = "org.systemd.property."
_SECOND = 1_000_000
_QUOTA_STEP = 10_000
"""systemd keeps a quota in whole percents of a processor: rounded up, so that cgroups below may have it."""

_NEEDS = {"CPUQuotaPeriodUSec": 242, "AllowedCPUs": 244, "AllowedMemoryNodes": 244}
"""The release that a property came with; an older systemd is not told, the cgroup files get the limit."""

_MEMORY_FILES = {
    "memory.max": "MemoryMax",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}


def of_resources(
    resources: oci.Resources, *, unified: bool, version: Callable[[], int], fresh: bool
) -> list[Property]:
    """The properties for what ``resources`` say, on a host with cgroup v2 alone (``unified``) or with v1.

    ``version`` is asked for systemd's release if that matters. Without devices a ``fresh`` scope gets the
    default ones.
    """
    found: dict[str, tuple[str, Any]] = {}
    if fresh or resources.get("devices"):
        found.update(_devices(cgroup_device.Policy.of(resources.get("devices") or ())))
    memory, cpu = resources.get("memory") or {}, resources.get("cpu") or {}
    if unified:
        _memory_v2(found, memory)
    elif limit := memory.get("limit"):
        found["MemoryLimit"] = ("t", _number(limit))
    _cpu(found, cpu, unified)
    if (limit := (resources.get("pids") or {}).get("limit")) is not None:
        found["TasksMax"] = ("t", _number(cgroup_v1.at_least_init(limit)))
    weight = (resources.get("blockIO") or {}).get("weight")
    if weight and not unified:
        found["BlockIOWeight"] = ("t", cgroup_v2.check_weight(weight))
    for file, value in (resources.get("unified") or {}).items():
        _unified_file(found, file, value.strip())
    late = [name for name in found if name in _NEEDS]
    if late:
        running = version()
        for name in late:
            if running < _NEEDS[name]:
                del found[name]
    return list(found.items())


def _memory_v2(found: dict[str, tuple[str, Any]], memory: Any) -> None:
    limit = memory.get("limit") or None
    swap = cgroup_v2.swap_max(limit, memory.get("swap"))
    if limit is not None:
        found["MemoryMax"] = ("t", _number(limit))
    if reservation := memory.get("reservation"):
        found["MemoryLow"] = ("t", _number(reservation))
    if swap is not None:
        found["MemorySwapMax"] = ("t", INFINITY if swap == "max" else int(swap))


def _cpu(found: dict[str, tuple[str, Any]], cpu: Any, unified: bool) -> None:
    if shares := cpu.get("shares"):
        found["CPUWeight" if unified else "CPUShares"] = (
            "t",
            cgroup_v2.cpu_weight(shares) if unified else shares,
        )
    if cpu.get("quota") or cpu.get("period"):
        _quota(found, cpu.get("quota") or 0, cpu.get("period") or 0)
    for member, name in (("cpus", "AllowedCPUs"), ("mems", "AllowedMemoryNodes")):
        if text := cpu.get(member):
            found[name] = ("ay", _bits(text, f"linux.resources.cpu.{member}"))


def _quota(found: dict[str, tuple[str, Any]], quota: int, period: int) -> None:
    if period:
        found["CPUQuotaPeriodUSec"] = ("t", period)
    share = INFINITY
    if quota > 0:
        share = quota * _SECOND // (period or cgroup_v2.PERIOD)
        share += -share % _QUOTA_STEP
    found["CPUQuotaPerSecUSec"] = ("t", share)


def _unified_file(found: dict[str, tuple[str, Any]], file: str, value: str) -> None:
    """What systemd has a property for, if the value is a plain one; the kernel takes others as well."""
    name = _MEMORY_FILES.get(file)
    if name and (value == "max" or value.isdigit()):
        found[name] = ("t", INFINITY if value == "max" else int(value))
    elif file == "cpu.weight" and value.isdigit():
        found["CPUWeight"] = ("t", int(value))
    elif file == "cpu.max":
        quota, _, period = value.partition(" ")
        if (quota == "max" or quota.isdigit()) and (not period or period.isdigit()):
            _quota(found, -1 if quota == "max" else int(quota), int(period or cgroup_v2.PERIOD))
    elif file in ("cpuset.cpus", "cpuset.mems"):
        name = "AllowedCPUs" if file == "cpuset.cpus" else "AllowedMemoryNodes"
        found[name] = ("ay", _bits(value, f"linux.resources.unified.{file}"))


def _devices(policy: cgroup_device.Policy) -> dict[str, tuple[str, Any]]:
    """A list of what is allowed, which is all that systemd knows. Where the rules cannot be said that way it
    allows everything, and the container's own rules, which the kernel asks as well, decide alone."""
    free: dict[str, tuple[str, Any]] = {"DevicePolicy": ("s", "auto"), "DeviceAllow": ("a(ss)", [])}
    if policy.default:
        return free
    allowed = []
    try:
        exceptions = policy.exceptions()
    except NotSupported:
        return free
    for (kind, major, minor), access in exceptions.items():
        long = {"b": "block", "c": "char"}[kind]
        if major is not None and minor is not None:
            allowed.append((f"/dev/{long}/{major}:{minor}", access))
        elif minor is None:
            allowed.append((f"{long}-{'*' if major is None else major}", access))
        else:
            return free
    return {"DevicePolicy": ("s", "strict"), "DeviceAllow": ("a(ss)", allowed)}


def _number(limit: int) -> int:
    return limit if limit > 0 else INFINITY


def _bits(text: str, field: str) -> bytes:
    """``0-1,8`` as a mask of one bit for each, from the first byte's lowest on."""
    from mydocker.runtime.steps.limits import parse_list

    try:
        numbers = parse_list(text)
    except ValueError:
        raise InvalidArgument(f"{field}: a list such as 0-1,3 is wanted, not {text!r}") from None
    mask = bytearray(max(numbers, default=0) // 8 + 1)
    for number in numbers:
        mask[number // 8] |= 1 << number % 8
    return bytes(mask)


def of_annotations(annotations: Mapping[str, str]) -> list[Property]:
    """The properties that annotations ask for; ``InvalidArgument`` names the annotation that is wrong."""
    found = []
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        from mydocker.runtime import gvariant

        name = key.removeprefix(ANNOTATION)
        if len(name) < 3 or not (name.isascii() and name.isalpha()):
            raise InvalidArgument(f"annotation {key}: {name!r} is not the name of a property of systemd")
        try:
            value = gvariant.parse(text)
        except ValueError as error:
            raise InvalidArgument(f"annotation {key}={text}: {error}") from None
        if name.endswith("Sec") and name[-4].islower():
            if value[0] not in "nqiuxtd" or value[1] < 0:
                raise InvalidArgument(f"annotation {key}={text}: a number of seconds is wanted")
            name, value = f"{name[:-3]}USec", ("t", int(value[1] * _SECOND))
        found.append((name, value))
    return found
