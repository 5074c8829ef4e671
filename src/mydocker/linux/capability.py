"""Capabilities: the five sets of capabilities(7), capset(2), and their names.

Sets are integers with bit n standing for capability n, as /proc/<pid>/status shows them.
"""

from __future__ import annotations

import errno

from mydocker.oci.capabilities import CAPABILITIES

from . import native as ctypes
from .prctl import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    prctl,
)
from .syscall import syscall

CAP_SYS_ADMIN = CAPABILITIES.index("CAP_SYS_ADMIN")
CAP_SYS_RESOURCE = CAPABILITIES.index("CAP_SYS_RESOURCE")

_LINUX_CAPABILITY_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def mask(names: list[str] | tuple[str, ...]) -> int:
    """Return the set of ``names``; ``KeyError`` with the name of one that there is not."""
    result = 0
    for name in names:
        if name not in CAPABILITIES:
            raise KeyError(name)
        result |= 1 << CAPABILITIES.index(name)
    return result


def names(mask: int) -> list[str]:
    """Return the names in the set ``mask``; one newer than our list is called CAP_<number>."""
    found = [number for number in range(64) if mask >> number & 1]
    return [CAPABILITIES[number] if number < len(CAPABILITIES) else f"CAP_{number}" for number in found]


_last: int | None = None


def last() -> int:
    """Return the number of the kernel's last capability, by asking for each: there may be no /proc."""
    global _last
    if _last is None:
        _last = _ask_for_last()
    return _last


def _ask_for_last() -> int:
    for number in range(64):
        try:
            prctl(PR_CAPBSET_READ, number)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return number - 1
    return 63


def capget() -> tuple[int, int, int]:
    """Return this thread's (effective, permitted, inheritable) sets."""
    header = _Header(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)()
    syscall("capget", ctypes.byref(header), data)
    low, high = data
    return (
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """Set this thread's three sets; EPERM for what is not in its permitted set."""
    header = _Header(_LINUX_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)()
    for index, shift in enumerate((0, 32)):
        data[index].effective = effective >> shift & 0xFFFFFFFF
        data[index].permitted = permitted >> shift & 0xFFFFFFFF
        data[index].inheritable = inheritable >> shift & 0xFFFFFFFF
    syscall("capset", ctypes.byref(header), data)


def limit_bounding(keep: int, last: int) -> None:
    """Drop all of the bounding set up to capability ``last`` that is not in ``keep`` (needs CAP_SETPCAP)."""
    for number in range(last + 1):
        if not keep >> number & 1:
            prctl(PR_CAPBSET_DROP, number)


def set_ambient(mask: int) -> None:
    """Replace the ambient set; each needs to be permitted and inheritable by now."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(64):
        if mask >> number & 1:
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def status(pid: int | str = "self") -> dict[str, int]:
    """Return the five sets of a process by their names in /proc/<pid>/status (CapInh, CapPrm, …)."""
    with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
        lines = file.read(16384).decode().splitlines()
    pairs = (line.split(":\t") for line in lines if line.startswith("Cap"))
    return {name: int(value, 16) for name, value in pairs}
