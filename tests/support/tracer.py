"""Run a command and kill one of its processes at one step, from outside: ptrace(2). Works on x86-64.

    python tracer.py POINT before|after all|first PROGRAM [ARGUMENT...]

Steps are the system calls of ``STEPS`` that change something which outlasts the process, made by the command
and all its descendants as long as they are Python or nft: what runs in a container is not counted. They are
numbered from 1 in the order in which they begin; at number POINT (0: none) the process that makes it is
killed, just before the kernel takes the step, or just after. ``first``: it ends with the command, and
whatever is left goes on without it; ``all``: it ends when no process is left.

The last line of standard error is ``points N: NAME``: how many steps there were, and which was the one.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

STEPS = {
    1: "write", 18: "pwrite64", 20: "writev", 40: "sendfile", 42: "connect", 44: "sendto", 46: "sendmsg",
    49: "bind", 50: "listen", 56: "clone", 57: "fork", 58: "vfork", 59: "execve", 62: "kill", 73: "flock",
    74: "fsync", 75: "fdatasync", 76: "truncate", 77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir",
    85: "creat", 86: "link", 87: "unlink", 88: "symlink", 90: "chmod", 91: "fchmod", 92: "chown",
    93: "fchown", 94: "lchown", 132: "utime", 133: "mknod", 155: "pivot_root", 162: "sync", 165: "mount",
    166: "umount2", 170: "sethostname", 171: "setdomainname", 188: "setxattr", 189: "lsetxattr",
    190: "fsetxattr", 197: "removexattr", 198: "lremovexattr", 199: "fremovexattr", 200: "tkill",
    234: "tgkill", 235: "utimes", 248: "add_key", 250: "keyctl", 258: "mkdirat", 259: "mknodat",
    260: "fchownat", 261: "futimesat", 263: "unlinkat", 264: "renameat", 265: "linkat", 266: "symlinkat",
    268: "fchmodat", 272: "unshare", 275: "splice", 276: "tee", 277: "sync_file_range", 278: "vmsplice",
    280: "utimensat", 285: "fallocate", 296: "pwritev", 306: "syncfs", 307: "sendmmsg", 308: "setns",
    316: "renameat2", 321: "bpf", 322: "execveat", 326: "copy_file_range", 328: "pwritev2",
    424: "pidfd_send_signal", 428: "open_tree", 429: "move_mount", 430: "fsopen", 431: "fsconfig",
    432: "fsmount", 433: "fspick", 435: "clone3", 442: "mount_setattr", 452: "fchmodat2",
    463: "setxattrat", 466: "removexattrat",
}  # fmt: skip
"""Numbers of x86-64, of asm/unistd_64.h."""
CREATING = os.O_CREAT | os.O_TRUNC
OPENING = {2: ("open", 1), 257: ("openat", 2)}
"""steps if their flags, in that argument, say that something is created or cut off"""
OPENAT2 = 437
IOCTL = 16
REQUESTS = {
    0x40086602: "FS_IOC_SETFLAGS", 0x40049409: "FICLONE", 0x4020940D: "FICLONERANGE", 0x8914: "SIOCSIFFLAGS",
    0x5414: "TIOCSWINSZ", 0x40045431: "TIOCSPTLCK",
}  # fmt: skip
PATIENCE = 30.0

_SEIZE, _SETOPTIONS, _LISTEN, _SYSCALL, _CONT, _GET_SYSCALL_INFO = 0x4206, 0x4200, 0x4208, 24, 7, 0x420E
_SYSGOOD, _FORK, _VFORK, _CLONE, _EXEC = 1, 2, 4, 8, 16
_EVENT_EXEC, _EVENT_STOP = 4, 128
_BIRTHS = (1, 2, 3)
_ENTRY = 1
_WALL = 0x40000000  # __WALL: children of any kind

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class _Info(ctypes.Structure):
    """struct ptrace_syscall_info, as far as an entry has it."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 6),
    )


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> bool:
    """False if the process is gone."""
    return int(_libc.ptrace(request, pid, address, data)) >= 0


class Tracer:
    def __init__(self, point: int, *, after: bool) -> None:
        self.point = point
        self.after = after
        self.points = 0
        self.name = "none"
        self.counted: dict[int, bool] = {}
        self.dying = 0

    def start(self, argv: list[str]) -> int:
        pid = os.fork()
        if pid == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execv(argv[0], argv)
        os.waitpid(pid, os.WUNTRACED)
        if not _ptrace(_SEIZE, pid, 0, _SYSGOOD | _FORK | _VFORK | _CLONE | _EXEC):
            raise OSError(ctypes.get_errno(), "ptrace")
        os.kill(pid, signal.SIGCONT)
        self.counted[pid] = False
        return pid

    def stopped(self, pid: int, status: int) -> None:
        """One stop of one process; it goes on, or is killed."""
        number, event = os.WSTOPSIG(status), status >> 16
        deliver = 0
        if number == signal.SIGTRAP | 0x80:
            self._system_call(pid)
        elif event in _BIRTHS:
            child = ctypes.c_ulong()
            _libc.ptrace(0x4201, pid, 0, ctypes.addressof(child))  # PTRACE_GETEVENTMSG
            self.counted.setdefault(child.value, self.counted.get(pid, False))
            self.counted[child.value] = self.counted.get(pid, False)
        elif event == _EVENT_EXEC:
            self.counted[pid] = _is_counted(_executable(pid))
        elif event == _EVENT_STOP:
            if number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
                _ptrace(_LISTEN, pid)
                return
            self.counted.setdefault(pid, True)
        else:
            deliver = number
        _ptrace(_SYSCALL, pid, 0, deliver)

    def _system_call(self, pid: int) -> None:
        if pid == self.dying:
            os.kill(pid, signal.SIGKILL)  # the step is taken
            self.dying = 0
            return
        if not self.counted.get(pid, True):
            return
        info = _Info()
        if not _ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info)):
            return
        if info.op != _ENTRY:
            return
        name = _step(pid, info)
        if name is None:
            return
        self.points += 1
        if self.points == self.point:
            self.name = f"{name} of {_command(pid)}"
            if self.after:
                self.dying = pid
            else:
                os.kill(pid, signal.SIGKILL)


def _step(pid: int, info: _Info) -> str | None:
    """Its name, if this system call is one."""
    if info.number in OPENING:
        name, place = OPENING[info.number]
        return name if info.arguments[place] & CREATING else None
    if info.number == OPENAT2:
        return "openat2" if _word(pid, info.arguments[2]) & CREATING else None
    if info.number == IOCTL:
        return REQUESTS.get(info.arguments[1] & 0xFFFFFFFF)
    return STEPS.get(info.number)


def _word(pid: int, address: int) -> int:
    """The first member of a struct open_how, its flags, in the memory of the process."""
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return int.from_bytes(memory.read(8), sys.byteorder)
    except OSError:  # it was killed, or gives an address of nothing
        return 0


def _executable(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def _is_counted(executable: str) -> bool:
    """``/`` is an executable of a detached mount."""
    return executable == "/" or "python" in executable or executable.endswith("/nft")


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return "?"


def main() -> int:
    point, when, until, *argv = sys.argv[1:]
    tracer = Tracer(int(point), after=when == "after")
    first = tracer.start(argv)
    code = 0
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            pid, status = os.waitpid(-1, _WALL)
        except ChildProcessError:
            break
        if os.WIFSTOPPED(status):
            tracer.stopped(pid, status)
            continue
        tracer.counted.pop(pid, None)
        if pid == first:
            code = os.waitstatus_to_exitcode(status)
            if until == "first":
                break
    print(f"points {tracer.points}: {tracer.name}", file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(int(PATIENCE) + 5)
    sys.exit(main())
