"""Put the whole test session into namespaces of its own.

``enter`` forks, once, before pytest collects anything:

    pytest as it was started     waits, and exits with the status of the session
      init (PID 1)               reaps what the containers' double forks leave, as any PID 1 must
        pytest (the session)     new mount, PID, network, IPC and cgroup namespaces; lo is up

So no mount, link, System V object or process of a test can reach the host: when PID 1 leaves, the kernel
kills every process that is left, and with the last one the namespaces go. Control groups are the exception,
the kernel keeps them until someone removes them: see ``support.session_cgroup``.

Out of scope: deciding which tests need it (``conftest``). ctypes is used here and not ``mydocker.linux``,
because a test harness that stands on the code under test proves little.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct

from support import session_cgroup

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MNT_DETACH = 2
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
CAP_SYS_ADMIN = 21

MARK = "MYDOCKER_TESTS_ISOLATED"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def refusal() -> str | None:
    """Why this process cannot have namespaces of its own, or None when it can."""
    if os.geteuid() != 0:
        return "needs root: the suite makes namespaces, mounts and control groups"
    with open("/proc/self/status") as lines:
        effective = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    if not effective & (1 << CAP_SYS_ADMIN):
        return "needs CAP_SYS_ADMIN: the suite makes namespaces, mounts and control groups"
    return None


def enter() -> None:
    """Return in the isolated session; the caller's own process stays outside and never returns."""
    outer = os.getpid()
    # A shell that starts the suite in the background has it ignore these, and so whatever the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    _check(
        _libc.unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET),
        "unshare(NEWNS | NEWIPC | NEWPID | NEWNET)",
    )
    groups = session_cgroup.make(f"mydocker-tests-{outer}")
    first = os.fork()
    if first:
        _stand_outside(first, groups)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != 0 or os.getpid() != 1:
        raise RuntimeError(f"expected to be the first process of a namespace below {outer}")
    _check(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount --make-rprivate /")
    session_cgroup.enter(
        groups,
        unshare=lambda: _check(_libc.unshare(CLONE_NEWCGROUP), "unshare(NEWCGROUP)"),
        mount=_mount_anew,
    )
    _check(_libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID_NODEV_NOEXEC, None), "mount -t proc proc /proc")
    # Peers write their sockets and plugin directories to /run, whatever directories they are told to use.
    _check(_libc.mount(b"tmpfs", b"/run", b"tmpfs", 0x6, b"mode=755"), "mount -t tmpfs tmpfs /run")
    _bring_loopback_up()
    session = os.fork()
    if session:
        _reap_until(session)
    os.environ[MARK] = os.readlink("/proc/self/ns/pid")


def entered() -> bool:
    return os.environ.get(MARK) == os.readlink("/proc/self/ns/pid")


def _stand_outside(first: int, groups: list[session_cgroup.Group]) -> None:
    """Wait for PID 1 of the session. Ctrl-C reaches the session by the terminal: not ours to take."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(first, signal.SIGKILL))
    _, status = os.waitpid(first, 0)
    session_cgroup.remove(groups)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _reap_until(session: int) -> None:
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pid, status = os.wait()
        if pid == session:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _mount_anew(kind: str, options: str, place: str) -> None:
    """Nothing stays below, so a test that unmounts it does not come upon the machine's own."""
    _check(_libc.umount2(place.encode(), MNT_DETACH), f"umount {place}")
    data = options.encode() or None
    _check(
        _libc.mount(kind.encode(), place.encode(), kind.encode(), MS_NOSUID_NODEV_NOEXEC, data),
        f"mount -t {kind} -o {options} {place}",
    )


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))
