"""Capability names, and what ``--cap-add`` and ``--cap-drop`` make of them.

The rules are Docker's (daemon/pkg/oci/caps): names in either case, with or without ``CAP_``, and ``ALL``;
``--cap-add ALL`` gives everything but what is dropped; ``--cap-drop ALL`` leaves what is added; otherwise
first drop from the default, then add. "Everything" is what the calling process could pass on: its bounding
set. Out of scope: the sets of a process and the calls that change them (``mydocker.linux.capability``).
"""

from __future__ import annotations

from mydocker.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KNOWN = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
    SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
    PERFMON BPF CHECKPOINT_RESTORE"""
_DEFAULT = """
    CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT
    KILL AUDIT_WRITE"""

CAPABILITIES = tuple(f"CAP_{name}" for name in _KNOWN.split())
"""linux/capability.h: the place in the list is the number of the capability"""
DEFAULT_CAPABILITIES = tuple(f"CAP_{name}" for name in _DEFAULT.split())

ALL = "ALL"


def bounding_set() -> list[str]:
    """The capabilities that this process could give to a child, in the kernel's order.

    proc_pid_status(5), CapBnd. One that is newer than this list is left out: it could not be named either.
    """
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"CapBnd:"):
                mask = int(line.split()[1], 16)
                return [name for number, name in enumerate(CAPABILITIES) if mask >> number & 1]
    raise OSError("/proc/self/status has no CapBnd")


def normalize(names: Iterable[str], available: Sequence[str]) -> list[str]:
    """``net_admin`` and the like as ``CAP_NET_ADMIN``, ``all`` as ``ALL``. Raises ``InvalidArgument``."""
    result = []
    for name in names:
        full = name.upper()
        if full != ALL:
            full = full if full.startswith("CAP_") else f"CAP_{full}"
            if full not in CAPABILITIES:
                raise InvalidArgument(f'unknown capability: "{full}"')
            if full not in available:
                raise InvalidArgument(
                    "capability not supported by your kernel or not available in the current environment: "
                    f'"{full}"'
                )
        result.append(full)
    return result


def effective_capabilities(
    add: Iterable[str] | None,
    drop: Iterable[str] | None,
    privileged: bool = False,
    *,
    available: Sequence[str] | None = None,
) -> list[str]:
    """The capabilities of a container asked for with ``--cap-add``, ``--cap-drop`` and ``--privileged``.

    ``available`` is what the host can give, ``bounding_set()`` if not said. A default capability that the
    host does not have is left out. Raises ``InvalidArgument`` for a name that does not exist, or that the
    host lacks.
    """
    if available is None:
        available = bounding_set()
    added, dropped = normalize(add or (), available), normalize(drop or (), available)
    if privileged:
        return list(available)
    if ALL in added:
        chosen = [name for name in available if name not in dropped]
    elif ALL in dropped:
        chosen = added
    else:
        kept = [name for name in DEFAULT_CAPABILITIES if name in available and name not in dropped]
        chosen = kept + added
    return list(dict.fromkeys(chosen))
