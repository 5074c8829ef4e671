"""Making processes: fork(2), clone3(2), and leaving nothing open for what they execute.

``clone3`` here is fork with more to say: which new namespaces, which cgroup, a pidfd back. The caller had
better be single-threaded, as for any fork that goes on running Python: of ``clone3``, libc's own locks are
not seen to. Where it is, the child is whole as it stands, and what ``os.fork`` has the interpreter and the
library do there is left out: the handlers that the modules threading and random register write to 150 pages,
each of which the kernel then has to copy, and a monitor keeps for its life.
"""

from __future__ import annotations

import _thread
import errno
import os

from . import native as ctypes
from .syscall import check, libc, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

CLONE_VM = 0x100
CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_INTO_CGROUP = 0x200000000

CLOSE_RANGE_CLOEXEC = 4
# signal.h; the module signal makes enumerations of them
SIGKILL, SIGCHLD, SIGSTOP, SIGTTIN, SIGTTOU = 9, 17, 19, 21, 22


class _CloneArguments(ctypes.Structure):
    """``struct clone_args``."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            "flags",
            "pidfd",
            "child_tid",
            "parent_tid",
            "exit_signal",
            "stack",
            "stack_size",
            "tls",
            "set_tid",
            "set_tid_size",
            "cgroup",
        )
    )


# What os.fork does around the call, so that the interpreter in the child is whole.
_before = ctypes.pythonapi.PyOS_BeforeFork
_after_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
_after_child = ctypes.pythonapi.PyOS_AfterFork_Child
for _function in (_before, _after_parent, _after_child):
    _function.restype = None
    _function.argtypes = ()


def clone3(flags: int = 0, *, cgroup: int | None = None) -> tuple[int, int]:
    """Fork with ``flags`` (CLONE_NEW*); return (0, -1) in the child, and (pid, pidfd) in the parent.

    ``cgroup`` is a descriptor of a cgroup v2 directory for the child to start in. With ``CLONE_PARENT`` the
    child is a sibling, which reports its end to the caller's parent. Raises ``OSError``.
    """
    pidfd = ctypes.c_int(-1)
    arguments = _CloneArguments(flags=flags | CLONE_PIDFD, pidfd=ctypes.addressof(pidfd))
    if not flags & CLONE_PARENT:
        arguments.exit_signal = SIGCHLD
    if cgroup is not None:
        arguments.flags |= CLONE_INTO_CGROUP
        arguments.cgroup = cgroup
    reference, size = ctypes.byref(arguments), ctypes.sizeof(arguments)
    alone = _is_alone()
    if not alone:
        _before()
    try:
        pid = syscall("clone3", reference, size)
    except OSError:
        if not alone:
            _after_parent()
        raise
    if pid == 0:
        if not alone:
            _after_child()
        return 0, -1
    if not alone:
        _after_parent()
    return pid, pidfd.value


def fork() -> int:
    """``os.fork`` for a child that uses neither threads nor ``random``; see above. Raises ``OSError``."""
    return check(libc.fork()) if _is_alone() else os.fork()


def _is_alone() -> bool:
    """Whether this process has one thread that runs Python."""
    return _thread._count() == 0


def children() -> list[int]:
    """The caller's children, zombies too (proc_tid_children(5); a kernel may be built without that list)."""
    try:
        with open("/proc/thread-self/children") as file:
            return [int(number) for number in file.read().split()]
    except FileNotFoundError:
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(name) == os.getpid()]


def _parent(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def set_name(text: bytes) -> None:
    """Have ps(1) call this process so, instead of by the interpreter; 15 bytes count (proc_pid_comm(5))."""
    file = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text)
    finally:
        os.close(file)


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor below this process's limit, except ``kept``."""
    first = 0
    for number in sorted(kept):
        if first < number:  # os.closerange(0, 0) closes everything
            os.closerange(first, number)
        first = number + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def cloexec_from(first: int) -> None:
    """Mark every descriptor from ``first`` on close-on-exec, those nobody told us about included."""
    try:
        syscall("close_range", first, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL):
            raise
        for name in os.listdir("/proc/self/fd"):  # before 5.11
            if int(name) >= first:
                libc.fcntl(int(name), 2, 1)  # F_SETFD, FD_CLOEXEC; EBADF: listdir's own


def default_signals(numbers: Iterable[int]) -> None:
    """Set these signals to their default, and block none.

    By the system call: libc refuses 32 and 33, which it has its own use for, but a caller may have ignored.
    """
    default = bytes(32)  # struct sigaction of the kernel: SIG_DFL, no flags, no restorer, the empty mask
    for number in numbers:
        syscall("rt_sigaction", number, default, None, 8)
    libc.sigprocmask(2, bytes(128), None)  # SIG_SETMASK, the empty set


def ignored_signals() -> list[int]:
    """What execve(2) would leave as it is: Python ignores SIGPIPE, the caller maybe more.

    As the caller's /proc says (proc_pid_status(5)), so not for a process that is in a container; every signal
    where there is no /proc.
    """
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:
            mask = int(file.read().partition(b"\nSigIgn:")[2].split(None, 1)[0], 16)
    except OSError:
        mask = ~(1 << (SIGKILL - 1) | 1 << (SIGSTOP - 1))
    return [number for number in range(1, 65) if mask >> (number - 1) & 1]
