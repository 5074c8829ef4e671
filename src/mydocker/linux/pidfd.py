"""Processes held by descriptor: pidfd_open(2), pidfd_send_signal(2), waitid(2) with P_PIDFD.

A pidfd names one process for good: a number that the kernel gave to somebody else in the meantime is never
signalled.
"""

from __future__ import annotations

import errno
import os
import select

from .syscall import syscall

PF_EXITING = 0x4
_P_PIDFD = 3


def pidfd_open(pid: int) -> int:
    """Return a close-on-exec descriptor of the process ``pid``."""
    return os.pidfd_open(pid)


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """Send ``signal``; ``ProcessLookupError`` once the process has ended and was waited for."""
    syscall("pidfd_send_signal", pidfd, signal, None, 0)


def has_exited(pidfd: int) -> bool:
    """Whether the process has ended (it may still be a zombie)."""
    return wait_exit(pidfd, 0)


def is_exiting(pid: int, pidfd: int) -> bool:
    """Whether the process has ended, or is about to: the init of a PID namespace ends after all others in it.

    That is the flag PF_EXITING of the kernel (linux/sched.h) in /proc/<pid>/stat (man 5 proc).
    """
    if has_exited(pidfd):
        return True
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return bool(int(fields[6]) & PF_EXITING)


def wait_exit(pidfd: int, timeout: float | None) -> bool:
    """Wait until the process has ended, at most ``timeout`` seconds; whether it has. It is not reaped."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(None if timeout is None else timeout * 1000))


def reap(pidfd: int) -> int:
    """Wait for this child to end and return its exit code: 0..255, or 128+n where signal n ended it."""
    code = _waited(pidfd, os.WEXITED)
    if code is None:  # only with WNOHANG
        raise OSError(errno.ECHILD, os.strerror(errno.ECHILD))
    return code


def reaped(pidfd: int, patience: float = 0.0) -> int | None:
    """The same, but wait for at most ``patience`` seconds: None if it has not ended then, or is traced by one
    that has not heard of it yet (ptrace(2), "Death under ptrace")."""
    wait_exit(pidfd, patience)
    return _waited(pidfd, os.WEXITED | os.WNOHANG)


def _waited(pidfd: int, options: int) -> int | None:
    result = os.waitid(_P_PIDFD, pidfd, options)
    if result is None:
        return None
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def pidfd_getfd(pidfd: int, descriptor: int) -> int:
    """Return a copy of a ``descriptor`` of another process, close-on-exec (pidfd_getfd(2))."""
    return syscall("pidfd_getfd", pidfd, descriptor, 0)
