"""Becoming a monitor: a process of its own, that keeps nothing of the one it was forked from.

The caller may be a short-lived worker or somebody's Python program, so the monitor is no child of it (a
program that waits for its own children must not meet ours), is in no session or process group of it, holds
none of its descriptors, and does not sit in its working directory.
"""

import gc
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NoReturn

from ..linux import process
from ..linux.process import fork

if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # without enumerations, each of which would be touched and so copied

NAME = b"mydocker-mon"
"""what ps and /proc/<pid>/comm show; the kernel keeps 15 characters"""
_LEAST = 19
"""added to the nice value: the least there is (setpriority(2))"""


def spawn(run: Callable[[], None]) -> None:
    """Run ``run`` in a process that is nobody's child, and in a session of its own. Returns at once."""
    sys.stdout.flush()
    sys.stderr.flush()
    first = os.fork()
    if first:
        os.waitpid(first, 0)
        return
    status = 1
    try:
        os.setsid()
        if os.fork():
            status = 0
            return
        run()
        status = 0
    finally:
        os._exit(status)


def forked(work: Callable[[socket.socket], None], crash_log: str) -> tuple[int, socket.socket]:
    """Fork a child that does ``work`` and ends; its number, and a connection to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        pid = fork()
    except OSError:
        ours.close()
        theirs.close()
        raise
    if pid:
        theirs.close()
        return pid, ours
    try:
        ours.close()
        guarded(lambda: work(theirs), crash_log)
    finally:
        leave(theirs)


def leave(connection: socket.socket) -> NoReturn:
    """End, and have let go of everything when ``connection`` hangs up, which is before the memory is gone.

    To take that down is nothing that anybody waits for, so it gives way to whoever has something to do.
    """
    process.close_all_but([connection.fileno()])
    connection.close()
    os.nice(_LEAST)
    os._exit(0)


def guarded(work: Callable[[], None], crash_log: str) -> None:
    """The top of a process: what comes out of ``work`` is a mistake of ours, and is appended to a file."""
    try:
        work()
    except BaseException:  # noqa: BLE001 - nobody is there to catch it
        fd = os.open(crash_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.write(fd, traceback.format_exc().encode())
        os.close(fd)


def detach(keep: Iterable[int]) -> None:
    """Let go of everything that a caller has, but for the descriptors ``keep``."""
    os.chdir("/")
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    signal.set_wakeup_fd(-1)
    for number in range(1, signal.NSIG):
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    settle()
    process.close_all_but((0, 1, 2, *keep))
    process.set_name(NAME)


def settle() -> None:
    """What every monitor is like; a process that only forks monitors is it already, for them to inherit."""
    # Nothing here makes cycles, and a collection would touch, and so copy, what came with the fork.
    gc.disable()
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
