"""The few names and attributes of a process's surroundings that have a system call each.

sethostname(2), setdomainname(2), personality(2), ioprio_set(2), sched_setattr(2), and
bringing a network interface up (netdevice(7)). Out of scope: anything that netlink is needed for.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import struct

from .syscall import check, libc, syscall

PER_LINUX = 0x0000
PER_LINUX32 = 0x0008
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IOPRIO_WHO_PROCESS = 1
IOPRIO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}

# linux/sched.h
SCHED_POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}


def sethostname(name: str) -> None:
    encoded = os.fsencode(name)
    check(libc.sethostname(encoded, len(encoded)), name)


def setdomainname(name: str) -> None:
    encoded = os.fsencode(name)
    check(libc.setdomainname(encoded, len(encoded)), name)


def personality(persona: int) -> None:
    syscall("personality", persona)


def ioprio_set(name: str, priority: int) -> None:
    """Set this process's I/O scheduling class (a name of the runtime specification) and priority 0..7."""
    syscall("ioprio_set", _IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASSES[name] << 13 | priority)


def sched_setattr(
    policy: int,
    *,
    flags: int = 0,
    nice: int = 0,
    priority: int = 0,
    runtime: int = 0,
    deadline: int = 0,
    period: int = 0,
) -> None:
    """Set this thread's scheduling policy and attributes; times in nanoseconds."""
    attributes = struct.pack("IIQiIQQQ", 48, policy, flags, nice, priority, runtime, deadline, period)
    syscall("sched_setattr", 0, attributes, 0)


def interface_up(name: str) -> None:
    """Bring the network interface ``name`` of this network namespace up."""
    handle = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        request = struct.pack("16sH22x", name.encode(), 0)
        request = fcntl.ioctl(handle.fileno(), _SIOCGIFFLAGS, request)
        flags: int = struct.unpack_from("H", request, 16)[0]
        request = struct.pack("16sH22x", name.encode(), flags | _IFF_UP)
        fcntl.ioctl(handle.fileno(), _SIOCSIFFLAGS, request)
    finally:
        handle.close()
