"""A process in the foreground of ``mydocker-runtime``: wait for it, pass signals on, serve its terminal.

The terminal of the caller is in raw mode while the container's is connected to it, and is put back in every
way out. Signals arrive by descriptor (``linux/signalfd.py``), so that nothing interrupts anything.
"""

from __future__ import annotations

import os
import select
import sys

from mydocker.linux import pty
from mydocker.linux.pidfd import pidfd_send_signal, reap
from mydocker.linux.signalfd import SignalFd

_SIGKILL, _SIGCHLD, _SIGCONT, _SIGSTOP, _SIGWINCH = 9, 17, 18, 19, 28
_SIGTSTP, _SIGTTIN, _SIGTTOU, _SIGURG, _SIGPIPE = 20, 21, 22, 23, 13
_FAULTS = (4, 5, 7, 8, 11, 31)
_NOT_FORWARDED = frozenset((_SIGKILL, _SIGSTOP, _SIGCHLD, _SIGURG, _SIGPIPE, _SIGTTIN, _SIGTTOU, *_FAULTS))


def terminal_size() -> tuple[int, int] | None:
    """(rows, columns) of the terminal on standard input, if it is one."""
    return pty.get_size(0) if os.isatty(0) else None


def signals() -> SignalFd:
    """What is to be passed on. To be entered before the process starts: from its first word on, somebody may
    answer with a signal, and that is not for this process."""
    return SignalFd(n for n in range(1, 65) if n not in _NOT_FORWARDED and n not in (32, 33))


def wait(pidfd: int, console: int | None, signals: SignalFd) -> int:
    """Wait for the child ``pidfd`` to end; return its exit code (128+n for signal n). Closes ``console``."""
    if console is None:
        return _wait(pidfd, signals)
    from mydocker.linux.rawmode import RawMode

    try:
        with RawMode(0):
            return _relay(pidfd, console, signals)
    finally:
        os.close(console)


def _wait(pidfd: int, signals: SignalFd) -> int:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.register(signals.fileno(), select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == pidfd:
                return reap(pidfd)
            _forward(pidfd, signals, None)


def _relay(pidfd: int, console: int, signals: SignalFd) -> int:
    """Copy between the caller's terminal and the container's until the process ends and all is read."""
    poll = select.poll()
    for descriptor in (pidfd, signals.fileno(), console, 0):
        poll.register(descriptor, select.POLLIN)
    while True:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if console in ready and not _copy(console, sys.stdout.fileno()):
            poll.unregister(console)
        if 0 in ready and not _copy(0, console):
            poll.unregister(0)
        if signals.fileno() in ready:
            _forward(pidfd, signals, console)
        if pidfd in ready:
            os.set_blocking(console, False)
            while _copy(console, sys.stdout.fileno()):
                pass
            return reap(pidfd)


def _copy(source: int, target: int) -> bool:
    """Copy what is there; False at the end of ``source`` (EIO on a master without slaves)."""
    try:
        data = os.read(source, 65536)
    except OSError:
        return False
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return bool(data)


def _forward(pidfd: int, signals: SignalFd, console: int | None) -> None:
    for received in signals.read():
        if received.number == _SIGWINCH and console is not None:
            size = terminal_size()
            if size is not None:
                pty.set_size(console, *size)
        elif received.number not in (_SIGCONT, _SIGTSTP):
            try:
                pidfd_send_signal(pidfd, received.number)
            except ProcessLookupError:
                return  # it has just ended
