"""Resource limits: setrlimit(2) by the names that the runtime document uses."""

from __future__ import annotations

import resource

KINDS: dict[str, int] = {
    name: getattr(resource, name)
    for name in (
        "RLIMIT_AS",
        "RLIMIT_CORE",
        "RLIMIT_CPU",
        "RLIMIT_DATA",
        "RLIMIT_FSIZE",
        "RLIMIT_MEMLOCK",
        "RLIMIT_MSGQUEUE",
        "RLIMIT_NICE",
        "RLIMIT_NOFILE",
        "RLIMIT_NPROC",
        "RLIMIT_RSS",
        "RLIMIT_RTPRIO",
        "RLIMIT_SIGPENDING",
        "RLIMIT_STACK",
    )
}
KINDS["RLIMIT_LOCKS"] = 10
KINDS["RLIMIT_RTTIME"] = 15

_INFINITY = 2**64 - 1


def getrlimit(kind: str) -> tuple[int, int]:
    """Return (soft, hard); "unlimited" is 2^64-1, as in the kernel."""
    soft, hard = resource.getrlimit(KINDS[kind])
    return soft & _INFINITY, hard & _INFINITY


def setrlimit(kind: str, soft: int, hard: int) -> None:
    """Set both limits. Raising the hard one needs CAP_SYS_RESOURCE, else ``PermissionError``."""
    try:
        resource.setrlimit(KINDS[kind], (_signed(soft), _signed(hard)))
    except ValueError as error:  # what the module makes of EPERM and EINVAL
        if "not allowed to raise" in str(error):
            raise PermissionError(1, "Operation not permitted", kind) from None
        raise OSError(22, str(error), kind) from None


def _signed(limit: int) -> int:
    return limit - 2**64 if limit >= 2**63 else limit
