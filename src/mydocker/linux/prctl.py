"""prctl(2): the few operations that a runtime needs."""

from __future__ import annotations

from . import native as ctypes
from .syscall import check, libc

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_IS_SET = 1
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4


def prctl(option: int, argument: int = 0, argument3: int = 0) -> int:
    """Make the call with what it does not use set to zero, which newer options insist on."""
    long = ctypes.c_ulong
    result: int = check(libc.prctl(option, long(argument), long(argument3), long(0), long(0)))
    return result


def set_dumpable(value: bool) -> None:
    """Whether others of the same user may trace this process and open its /proc files."""
    prctl(PR_SET_DUMPABLE, int(value))


def set_no_new_privs() -> None:
    """Promise that execve(2) never grants anything, set-user-ID bits and file capabilities included."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_pdeathsig(number: int) -> None:
    """Have the kernel send signal ``number`` to this process when the thread that forked it ends."""
    prctl(PR_SET_PDEATHSIG, number)
