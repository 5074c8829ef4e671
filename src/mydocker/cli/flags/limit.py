"""Limits: ``--ulimit``, ``--blkio-weight-device``, ``--device-read-bps`` and its kin, ``--sysctl``."""

from __future__ import annotations

from mydocker.cli.flags import go
from mydocker.cli.flags.size import parse_size
from mydocker.container.config import ThrottleDevice, Ulimit, WeightDevice

# man 2 getrlimit
ULIMITS = frozenset(
    ("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss",
     "rtprio", "rttime", "sigpending", "stack")
)  # fmt: skip
# Per IPC namespace (man 7 ipc_namespaces) or per network namespace (man 7 network_namespaces).
_SYSCTLS = frozenset(
    ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
     "kernel.shmmni", "kernel.shm_rmid_forced")
)  # fmt: skip
_SYSCTL_PREFIXES = ("net.", "fs.mqueue.")


def parse_ulimit(text: str) -> Ulimit:
    """``nofile=1024:2048``: soft and hard; one number is both, -1 is no limit."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {text}")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    numbers = limits.split(":")
    if len(numbers) > 2:
        raise ValueError(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    soft = go.parse_int(numbers[0], base=10)
    hard = go.parse_int(numbers[1], base=10) if len(numbers) == 2 else soft
    if hard != -1:
        if soft == -1:
            raise ValueError(
                "ulimit soft limit must be less than or equal to hard limit: "
                f"soft: -1 (unlimited), hard: {hard}"
            )
        if soft > hard:
            raise ValueError(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


def parse_sysctl(text: str) -> str:
    """``name=value`` of a variable that belongs to a namespace, so that the host's is not changed."""
    name, equals, _ = text.partition("=")
    if not equals or not (name in _SYSCTLS or name.startswith(_SYSCTL_PREFIXES)):
        raise ValueError(f"sysctl '{text}' is not allowed")
    return text


def parse_weight_device(text: str) -> WeightDevice:
    path, weight = _device_and_number(text)
    try:
        number = go.parse_uint(weight, bits=16)
    except ValueError as error:
        raise ValueError(f"invalid weight for device: {text}") from error
    if number and not 10 <= number <= 1000:
        raise ValueError(f"invalid weight for device: {text}")
    return WeightDevice(path=path, weight=number)


def parse_throttle_bps(text: str) -> ThrottleDevice:
    path, rate = _device_and_number(text)
    try:
        return ThrottleDevice(path=path, rate=parse_size(rate))
    except ValueError as error:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. "
            "Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        ) from error


def parse_throttle_iops(text: str) -> ThrottleDevice:
    path, rate = _device_and_number(text)
    try:
        return ThrottleDevice(path=path, rate=go.parse_uint(rate))
    except ValueError as error:
        raise ValueError(
            f"invalid rate for device: {text}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        ) from error


def _device_and_number(text: str) -> tuple[str, str]:
    path, colon, number = text.partition(":")
    if not colon or not number:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, number
