"""The one door to system calls that Python does not wrap.

In scope: the libc handle, the table of system call numbers, and ``check``, which turns a failed call into
an ``OSError`` with the path that it was about. Out of scope: what any call means; each kernel facility has
a file of its own beside this one.

``ctypes.PyDLL`` keeps the interpreter lock during the call, which is what a single-threaded process about
to ``clone`` wants: the child must never wake up with the lock in another thread's hands. Calls that may
block for long (there are few) say so and use ``os`` or ``select`` instead.
"""

from __future__ import annotations

import errno
import os

from . import native as ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

libc = ctypes.PyDLL(None, use_errno=True)


def _taking(count: int) -> Callable[..., int]:
    """libc's syscall(2) with that many arguments for the kernel, whose types ctypes knows: to find them out
    at each call takes as long again."""
    function = ctypes.PyDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    function.argtypes = (ctypes.c_long, *[ctypes.c_void_p] * count)
    return function


_syscalls = [_taking(count) for count in range(7)]

# asm-generic/unistd.h gives every call added since 2019 one number on all architectures; the older ones
# differ. man 2 syscalls.
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "pivot_root": 155,
        "rt_sigaction": 13,
        "mknodat": 259,
        "keyctl": 250,
        "add_key": 248,
        "ioprio_set": 251,
        "sched_setattr": 314,
        "seccomp": 317,
        "bpf": 321,
        "execveat": 322,
        "capget": 125,
        "capset": 126,
        "set_mempolicy": 238,
        "personality": 135,
        "pidfd_getfd": 438,
        "renameat2": 316,
    },
    "aarch64": {
        "pivot_root": 41,
        "rt_sigaction": 134,
        "mknodat": 33,
        "keyctl": 219,
        "add_key": 217,
        "ioprio_set": 30,
        "sched_setattr": 274,
        "seccomp": 277,
        "bpf": 280,
        "execveat": 281,
        "capget": 90,
        "capset": 91,
        "set_mempolicy": 237,
        "personality": 92,
        "pidfd_getfd": 438,
        "renameat2": 276,
    },
}
_COMMON = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "process_madvise": 440,
    "mount_setattr": 442,
}

_machine = os.uname().machine
NR: dict[str, int] = {**_COMMON, **_NUMBERS.get(_machine, {})}


def syscall(name: str, *arguments: object) -> int:
    """Make the system call ``name`` and return its (non-negative) result.

    Integers, ``bytes``, None, and ctypes objects that stand for an address are passed in a register. Raises
    ``OSError`` with the kernel's errno, and ENOSYS for a call that has no number on this architecture.
    """
    number = NR.get(name)
    if number is None:
        raise OSError(errno.ENOSYS, f"{name} has no number on {_machine}")
    result = _syscalls[len(arguments)](number, *arguments)
    return result if result >= 0 else check(result)


def check(result: int, *paths: str | bytes | os.PathLike[str] | None) -> int:
    """Return ``result`` of a libc call, or raise the ``OSError`` that ``errno`` stands for.

    ``paths`` (one, or source and target) go into the error, which then prints like Python's own.
    """
    if result >= 0:
        return result
    code = ctypes.get_errno()
    named = [os.fsdecode(p) for p in paths if p is not None]
    if len(named) > 1:
        raise OSError(code, os.strerror(code), named[0], None, named[1])
    raise OSError(code, os.strerror(code), *named)
