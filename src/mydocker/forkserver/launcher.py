"""The process that the user's shell starts: hands the command to the forkserver and waits for its status.

It is loaded by itself (not as part of the package: that saves the search for it in site-packages) by an
interpreter without ``site``, and every import counts: ``os`` and ``sys`` are there already, ``_signal``
and ``marshal`` are built in, ``_socket`` is the one module that is read from disk.

What passes between launcher, server and worker, over a stream socket:

    launcher -> worker   length (4 bytes), marshal of a Request; with its first byte SCM_RIGHTS: the open
                         descriptors. The rest the worker finds in /proc/<pid> of the launcher, as it was
                         executed: arguments, environment, working directory, umask, ignored signals
    worker -> launcher   b"R" 0        refused: the worker cannot become what the launcher is; nothing was run
                         b"A" pid      accepted, with SCM_RIGHTS: a pidfd of the worker, and the end of a pipe
                                       that is kept open until the launcher ends
                         b"E" status   the command has ended with this exit status
    server -> launcher   b"S" signal   the worker was killed by this signal
                         b"E" status   the worker ended without a word, with this exit status

``marshal`` is safe here: both ends belong to the same user, which each makes sure of (SO_PEERCRED), and to
the same interpreter, which the identity contains.

Where there is Perl, ``launcher.pl`` does all of this up to a request that is refused, in a quarter of the
time, and comes here only when there is no server to be had. The two have to agree.

A request is at risk of running twice only if the launcher falls back although the worker has begun. It
falls back on end-of-file before b"A", and a worker runs nothing before b"A" has been sent.

The identity is everything about a process that its children inherit and that the worker could not, or not
cheaply, set for itself. It is hashed into the socket's name, so a caller with another mount namespace,
fewer capabilities, another cgroup or other limits simply reaches another server, or none.

Known differences from a command that runs in its own process, none of which a command of ours depends on:
the worker is in a session without a controlling terminal, so that ``/dev/tty`` cannot be opened, and a
command moved to the background after it was started may still read the terminal (one that is *started* in
the background runs without the forkserver, and is stopped by SIGTTIN as usual); the I/O priority
(``ionice``) and the session keyring are the server's.
"""

from __future__ import annotations

import _socket
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from types import FrameType
    from typing import NoReturn

    # identity, number of arguments before ENTRY ARGV0 ..., descriptor numbers, sigset_t of blocked signals
    Request = tuple[bytes, int, list[int], bytes]
else:
    import _signal

MAX_DESCRIPTORS = 253  # SCM_MAX_FD of unix(7)
REPLY_SIZE = 5
START_LOCK = 3  # the descriptor by which a server inherits the lock under which it starts
PYTHON_OPTIONS = ("-I", "-S", "-X", "utf8")
# What the interpreter runs to get into the package: the first argument is the directory that contains it.
BOOTSTRAP = "import sys;sys.path.insert(0,sys.argv.pop(1));from mydocker.forkserver.cold import main;main()"

_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")
_STATUS = (
    b"Uid",
    b"Gid",
    b"Groups",
    b"Cap",
    b"NoNewPrivs",
    b"Seccomp",
    b"Cpus_allowed:",
    b"Mems_allowed:",
)
_SOCKET_ERRORS = (OSError, EOFError)
# Never forwarded: what cannot be caught, what is about this very process, and what the terminal's own
# job control means for whoever reads it.
NOT_FORWARDED = frozenset(
    (
        _signal.SIGKILL,
        _signal.SIGSTOP,
        _signal.SIGCHLD,
        _signal.SIGPIPE,
        _signal.SIGSEGV,
        _signal.SIGBUS,
        _signal.SIGFPE,
        _signal.SIGILL,
        _signal.SIGTRAP,
        _signal.SIGABRT,
        _signal.SIGSYS,
        _signal.SIGURG,
        _signal.SIGTTIN,
        _signal.SIGTTOU,
        _signal.SIGXFSZ,
        32,  # glibc keeps the first two real-time signals for its threads
        33,
    )
)


def main() -> NoReturn:
    """``sys.argv[1:]``: ``ENTRY ARGV0 ...``. Run ``module:function`` with that ``argv``, exit as it does."""
    _, entry, *argv = sys.argv
    package_parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    setting = os.environ.get("MYDOCKER_FORKSERVER", "")
    if setting != "0":
        directory = setting if setting.startswith("/") else run_directory()
        if directory is not None:
            _ask(package_parent, directory, len(sys.orig_argv) - len(argv) - 1)
    os.execv(sys.executable, interpreter(package_parent, "command", entry, *argv))


def interpreter(package_parent: str, *arguments: str) -> list[str]:
    """The argument list of an interpreter that runs ``cold.main`` with ``arguments``."""
    return [sys.executable, *PYTHON_OPTIONS, "-c", BOOTSTRAP, package_parent, *arguments]


def run_directory() -> str | None:
    """Where the socket is: a directory that only this user can write to, or None if there is none."""
    if os.geteuid() == 0:
        return "/run/mydocker"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{runtime}/mydocker" if runtime.startswith("/") else None


def identity(package_parent: str) -> bytes:
    """What makes this process and another one interchangeable to the command that is run."""
    parts = [line for line in _read("/proc/self/status").split(b"\n") if line.startswith(_STATUS)]
    parts.extend(_read(f"/proc/self/{name}") for name in ("limits", "cgroup", "oom_score_adj"))
    try:
        parts.append(_read("/proc/self/attr/current"))
    except OSError:  # no security module, so no label
        parts.append(b"")
    parts.extend(os.readlink(f"/proc/self/ns/{name}").encode() for name in _NAMESPACES)
    scheduling = (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))
    package = f"{package_parent}/mydocker"
    # pip touches the directory that holds the packages whenever it installs or removes one.
    for path in ("/", sys.executable, package_parent, package, f"{package}/__init__.py"):
        found = os.stat(path)
        parts.append(f"{path} {found.st_dev} {found.st_ino} {found.st_mtime_ns}".encode())
    parts.append(b"%d %d" % scheduling)
    if not package_parent.endswith("-packages"):
        parts.append(_newest_source(package))
    return b"\n".join(parts)


def socket_path(directory: str, identity: bytes) -> str:
    """By the sum of its words, as that is what Perl has (``launcher.pl``); a worker compares all of it."""
    words = memoryview(identity + bytes(-len(identity) % 8)).cast("Q")
    return f"{directory}/forkserver-{sum(words) % 2**64:016x}.sock"


def _newest_source(package: str) -> bytes:
    """The newest change in a working copy of the package, where files are edited in place."""
    newest = 0
    for directory, _, names in os.walk(package):
        for name in names:
            if name.endswith(".py"):
                newest = max(newest, os.stat(f"{directory}/{name}").st_mtime_ns)
    return b"%d" % newest


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
    return data


def _ask(package_parent: str, directory: str, skipped: int) -> None:
    """Have the forkserver run the command and exit with its status; return if it has to be run here."""
    descriptors = _inherited()
    if descriptors is None or _in_background():
        return
    try:
        own_identity = identity(package_parent)
    except OSError:  # no /proc
        return
    path = socket_path(directory, own_identity)
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        _start_server(package_parent, directory, path)
        return
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    if int.from_bytes(credentials[4:8], sys.byteorder) != os.geteuid():
        connection.close()
        return
    signals = _Forwarder()
    try:
        signals.install()
        _send_request(connection, own_identity, skipped, descriptors)
        kind, number, pidfd = _receive(connection)
    except _SOCKET_ERRORS:
        kind, number, pidfd = b"R", 0, -1
    if kind != b"A":
        connection.close()
        signals.remove()
        return
    signals.attach(number, pidfd)
    try:
        kind, number, _ = _receive(connection)
    except _SOCKET_ERRORS:
        # Server and worker are both gone: only SIGKILL does that.
        kind, number = b"S", int(_signal.SIGKILL)
    if kind == b"S":
        _die_by(number)
    os._exit(number)


def _inherited() -> list[int] | None:
    """The descriptors that came with execve(2); None if a standard one is not there, or they are too many."""
    descriptors = []
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            if os.get_inheritable(descriptor):
                descriptors.append(descriptor)
        except OSError:  # the one through which the directory was read
            continue
    if len(descriptors) > MAX_DESCRIPTORS or not {0, 1, 2}.issubset(descriptors):
        return None
    return descriptors


def _in_background() -> bool:
    """Whether reading the terminal has to stop this process: the kernel does that in its own session only."""
    try:
        return os.tcgetpgrp(0) != os.getpgrp()
    except OSError:  # not a terminal, or not ours
        return False


def _send_request(
    connection: _socket.socket, own_identity: bytes, skipped: int, descriptors: list[int]
) -> None:
    blocked = sum(1 << number - 1 for number in _signal.pthread_sigmask(_signal.SIG_BLOCK, ()))
    request: Request = (own_identity, skipped, descriptors, blocked.to_bytes(8, sys.byteorder))
    body = marshal.dumps(request)
    data = len(body).to_bytes(4, "little") + body
    passed = b"".join([number.to_bytes(4, sys.byteorder) for number in descriptors])
    sent = connection.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, passed)])
    if sent < len(data):
        connection.sendall(data[sent:])


def _receive(connection: _socket.socket) -> tuple[bytes, int, int]:
    """One reply: its kind, its number, and the first descriptor that came with it or -1."""
    data, ancillary, _, _ = connection.recvmsg(REPLY_SIZE, _socket.CMSG_SPACE(8), _socket.MSG_CMSG_CLOEXEC)
    descriptor = -1
    for _, kind, content in ancillary:
        if kind == _socket.SCM_RIGHTS:
            descriptor = int.from_bytes(content[:4], sys.byteorder)
    while len(data) < REPLY_SIZE:
        more = connection.recv(REPLY_SIZE - len(data))
        if not more:
            raise EOFError
        data += more
    return data[:1], int.from_bytes(data[1:], "little"), descriptor


class _Forwarder:
    """Passes on every signal that reaches the launcher, from before the request is sent."""

    def __init__(self) -> None:
        self._pending: list[int] = []
        self._caught: list[int] = []
        self._pid = 0
        self._pidfd = -1

    def install(self) -> None:
        for number in range(1, 65):
            if number not in NOT_FORWARDED and _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, self._handle)
                self._caught.append(number)

    def attach(self, pid: int, pidfd: int) -> None:
        """From now on the signals go to this process, first those that came too early."""
        self._pid, self._pidfd = pid, pidfd
        while self._pending:
            self._send(self._pending.pop(0))

    def remove(self) -> None:
        """Put everything back, and let happen what was held up."""
        for number in self._caught:
            _signal.signal(number, _signal.SIG_DFL)
        for number in self._pending:
            os.kill(os.getpid(), number)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._pidfd < 0:
            self._pending.append(number)
        else:
            self._send(number)

    def _send(self, number: int) -> None:
        try:
            _signal.pidfd_send_signal(self._pidfd, number)
        except ProcessLookupError:  # it has ended, and its status is on the way
            return
        if number == _signal.SIGTSTP and self._has_stopped():
            _signal.signal(number, _signal.SIG_DFL)
            os.kill(os.getpid(), number)
            # Continued again, or never stopped: the kernel does not stop an orphaned process group.
            _signal.signal(number, self._handle)
            self._send(_signal.SIGCONT)

    def _has_stopped(self) -> bool:
        """Whether the worker stops on SIGTSTP, as it does unless it handles it."""
        import time

        for _ in range(100):
            try:
                state = _read(f"/proc/{self._pid}/stat").rpartition(b") ")[2][:1]
            except OSError:
                return False
            if state == b"T":
                return True
            time.sleep(0.002)
        return False


def _die_by(number: int) -> NoReturn:
    """End as the worker ended, so that whoever waits for this process sees the signal too."""
    import resource

    # The core, if there is one, has been written by the process that it is about.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in (_signal.SIGKILL, _signal.SIGSTOP):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, (number,))
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _start_server(package_parent: str, directory: str, path: str) -> None:
    """Start a forkserver for the next command, unless somebody is doing so; never an error."""
    import fcntl

    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(f"{directory}/forkserver.lock", flags, 0o600)
    except OSError:  # a read-only or full file system: every command is run in its own process
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child = os.fork()
    except OSError:  # a server is just starting, or there are too many processes
        os.close(lock)
        return
    if child == 0:
        try:
            os.setsid()
            if os.fork() == 0:
                _become_server(package_parent, path, lock)
        finally:
            os._exit(0)
    os.close(lock)
    os.waitpid(child, 0)


def _become_server(package_parent: str, path: str, lock: int) -> NoReturn:
    """Let go of everything that belongs to the caller, except what a worker shares with it."""
    os.chdir("/")
    os.umask(0o077)
    for number in range(1, 65):
        if number not in (_signal.SIGKILL, _signal.SIGSTOP, 32, 33):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.dup2(lock, START_LOCK)
    os.set_inheritable(START_LOCK, True)
    os.closerange(START_LOCK + 1, os.sysconf("SC_OPEN_MAX"))
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    os.execve(sys.executable, interpreter(package_parent, "server", path), environment)
