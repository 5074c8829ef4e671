"""The small init of ``--init``: process 1 of a container, which passes signals on and buries the dead.

It is no program of its own. The process that has become the container, and would now execute the command,
forks: the child goes on to execute it, and the parent stays as this loop until the child ends, with whose
status it ends (128+n for signal n). What it does is what tini does (https://github.com/krallin/tini):

- Process 1 has no default actions for signals, so a command that handles none could not be stopped. Under an
  init it
  is an ordinary process.
- Orphans are reaped; most programs do not expect children that they have not started.
- The child leads a process group of its own, which is put in the foreground if there is a terminal, so that a
  shell's
  job control works, and Ctrl-C reaches the command once (from the terminal) and not twice.
- Every signal that can be blocked is passed to the child itself, not to its group.

By the time of the fork the process has the identity, the capabilities and the seccomp filter of the
container, so to take it over gains nothing. It is not dumpable, so nobody without CAP_SYS_PTRACE can trace it
or read its memory, in which there is still an interpreter; its arguments and environment are gone, and it
holds no descriptor. /proc/1/exe is the sealed interpreter, which cannot be written to (CVE-2019-5736).
"""

from __future__ import annotations

import errno
import os

from mydocker.linux import prctl, title

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # what "signal" adds is enumerations, and 8 ms to a cold start

NAME = "mydocker-init"

# Those that a fault of this process itself raises cannot wait, and the two that the terminal sends to a
# background process that uses it are ignored: the child is in the foreground.
_FAULTS = "SIGFPE SIGILL SIGSEGV SIGBUS SIGABRT SIGTRAP SIGSYS"
_NOT_FOR_THE_CHILD = frozenset(getattr(signal, name) for name in f"{_FAULTS} SIGTTIN SIGTTOU".split())
_NO_TERMINAL = (errno.ENOTTY, errno.ENXIO, errno.EBADF)
"""standard input is no terminal, or is not there"""


def become_init(arguments: list[str]) -> None:
    """Fork; return in the child, which is to execute ``arguments``. The parent stays here, and never returns.

    The caller has done everything but execve: signals are blocked in the child and SIGTTOU is ignored until
    it resets them, as it does before any execve. Raises ``OSError`` in the caller if the fork fails, and in
    the child if the filter forbids a process group or its terminal.
    """
    forwarded = signal.valid_signals() - _NOT_FOR_THE_CHILD
    signal.pthread_sigmask(signal.SIG_SETMASK, forwarded)
    for number in (signal.SIGTTIN, signal.SIGTTOU):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, children would vanish without a status
    # Orphans come here also where this is not process 1, as with --pid host.
    prctl.prctl(prctl.PR_SET_CHILD_SUBREAPER, 1)
    # Before there is a child that could look; execve gives that its own.
    title.set_name(NAME)
    _disguise(arguments)
    child = os.fork()
    if child == 0:
        _lead_a_group()
        return
    status = 1
    try:
        # Standard streams too: the other end of a pipe is to see when the command closes it.
        os.closerange(0, 1 << 20)  # the kernel's nr_open; the limit of this process may have been lowered
        status = _serve(child, forwarded)
    finally:
        os._exit(status)


def _lead_a_group() -> None:
    """Done by the child, so that it cannot run before it is in the foreground."""
    os.setpgid(0, 0)
    try:
        os.tcsetpgrp(0, os.getpid())
    except OSError as error:
        if error.errno not in _NO_TERMINAL:
            raise


def _disguise(arguments: list[str]) -> None:
    prctl.set_dumpable(False)
    try:
        title.set_arguments([os.fsencode(word) for word in (NAME, "--", *arguments)])
    except OSError:
        pass  # no /proc in this container: then nobody can look there either


def _serve(child: int, forwarded: set[signal.Signals] | set[int]) -> int:
    """Pass on ``forwarded`` and reap, until ``child`` has ended; returns the exit status."""
    while True:
        number = signal.sigwaitinfo(forwarded).si_signo
        if number != signal.SIGCHLD:
            try:
                os.kill(child, number)
            except PermissionError:
                pass  # it has become another user's, out of reach
            continue
        # One SIGCHLD may stand for many children. The child is not reaped before here, so its number is its
        # own.
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
