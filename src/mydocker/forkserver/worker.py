"""The child that the forkserver forks for one command: becomes what its launcher is, then runs the command.

Whatever a launcher has passed is put in place first; if something cannot be, the request is refused and
the launcher runs the command itself. The acceptance gives the launcher the only writing end of a pipe, whose
reading end here raises SIGHUP when that is closed: nothing is ever written, so it is the launcher's end,
whenever that is, and nothing else. (The connection would not do: what the launcher has sent may be announced
after it was read, however late.) The exit status is sent *after* every other descriptor was closed: whoever
waits for the launcher finds pipes closed and locks free, without the time that the kernel needs to take
down the memory.
"""

from __future__ import annotations

import atexit
import fcntl
import marshal
import os
import select
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from ..linux.process import close_all_but, set_name
from . import cold
from .launcher import NOT_FORWARDED

if TYPE_CHECKING:
    from .launcher import Request

_F_SETSIG = 10  # fcntl(2): the signal in place of SIGIO
_COURTESY_SECONDS = 0.002
_LOCALE = b"PERL_SKIP_LOCALE_INIT"
_NAME_MAX = 15  # TASK_COMM_LEN without its end


KIND = "worker"
"""of work, for ``linux/memory.py``"""

origin: tuple[str, bytes] | None = None
"""The server that this process came from: the path of its socket, and its identity."""


class _Refused(Exception):
    """The worker cannot become what the launcher is."""


def run(connection: socket.socket, path: str, own_identity: bytes) -> NoReturn:
    """Read the request, run it, report its exit status; ends the process."""
    global origin
    origin = (path, own_identity)
    try:
        (wanted, skipped, numbers, blocked), descriptors = read_request(connection)
    except EOFError:
        os._exit(1)
    try:
        if wanted != own_identity:
            raise _Refused("another process hashes to the same name")
        caller = Caller(connection)
        connection = _place(connection, descriptors, numbers)
        entry, *argv = caller.arguments[skipped:]
        _restore(caller, argv, blocked)
    except (_Refused, OSError):
        connection.sendall(reply(b"R", 0))
        os._exit(1)
    # A process group with a parent in the same session: an orphaned one ignores SIGTSTP (setpgid(2)).
    os.setpgid(0, 0)
    held_by_launcher = _watch(connection)
    pidfd = os.pidfd_open(os.getpid())
    try:
        socket.send_fds(connection, [reply(b"A", os.getpid())], [pidfd, held_by_launcher])
    except OSError:
        os._exit(1)
    os.close(pidfd)
    os.close(held_by_launcher)
    status = _call(entry)
    _finish(connection, status)


def hear(connection: socket.socket, own_identity: bytes, offer: str) -> tuple[bytes, list[int]]:
    """What ``spawn.py`` asks for, which is given an ``offer`` first. ``EOFError`` if it comes to nothing: the
    caller is gone, or sees the end of its connection, and does without us."""
    try:
        with connection:
            connection.sendall(message(offer))
            (wanted, argument), descriptors = read_request(connection)
            if wanted != own_identity:  # another server hashes to the same name
                raise EOFError
            connection.sendall(reply(b"A", os.getpid()))
    except OSError as error:
        raise EOFError from error
    return argument, descriptors


class Caller:
    """What the launcher at the other end is, and what its children would inherit, as its /proc says. This
    process is in its working directory then.

    ``_Refused`` if it is gone: then that was nobody's, or somebody else's by now.
    """

    __slots__ = ("arguments", "environment", "ignored", "umask")

    def __init__(self, connection: socket.socket) -> None:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        place = f"/proc/{int.from_bytes(credentials[:4], sys.byteorder)}"
        self.arguments = [os.fsdecode(each) for each in _read(f"{place}/cmdline").split(b"\0")[:-1]]
        self.environment: dict[bytes, bytes] = {}
        for name, _, value in [each.partition(b"=") for each in _read(f"{place}/environ").split(b"\0")]:
            if name:
                self.environment.setdefault(name, value)
        if self.environment.get(_LOCALE) == b"mydocker":  # set by the script that has executed the launcher
            del self.environment[_LOCALE]
        status = dict(line.partition(b":\t")[::2] for line in _read(f"{place}/status").splitlines())
        self.umask = int(status[b"Umask"], 8)
        self.ignored = set(_numbers(int(status[b"SigIgn"], 16))) - NOT_FORWARDED
        os.chdir(f"{place}/cwd")
        poll = select.poll()
        poll.register(connection, 0)
        if poll.poll(0):
            raise _Refused("the launcher is gone")


def _numbers(mask: int) -> list[int]:
    """The signals of a mask as /proc has it: the lowest bit stands for signal 1."""
    return [number for number in range(1, 65) if mask >> number - 1 & 1]


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def rehearse() -> None:
    """What ``run`` does before the command, for a process that only wants to know what it touches."""
    numbers = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    open_ones = [number for number in numbers if os.path.exists(f"/proc/self/fd/{number}")]
    made: Request = (b"", 0, open_ones, bytes(8))
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [message(made)], open_ones)
    (_, _, numbers, blocked), descriptors = read_request(theirs)
    caller = Caller(theirs)
    connection = _place(theirs, descriptors, numbers)
    ours.detach()
    _restore(caller, [*sys.argv], blocked)
    _watch(connection)


def rehearse_hearing() -> None:
    """What ``hear`` does first, for a process that has time now."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(ours, [message((b"", b""))], [0, 1, 2])
        _, descriptors = read_request(theirs)
    for descriptor in descriptors:
        os.close(descriptor)


def reply(kind: bytes, number: int) -> bytes:
    return kind + number.to_bytes(4, "little")


def message(content: Any) -> bytes:
    """What ``read_request`` reads."""
    body = marshal.dumps(content)
    return len(body).to_bytes(4, "little") + body


def read_request(connection: socket.socket) -> tuple[Any, list[int]]:
    """A ``Request`` of a launcher, or what ``spawn.py`` sends or hears; and the descriptors with it."""
    header, descriptors, flags, _ = socket.recv_fds(connection, 4, 253)
    if flags & socket.MSG_CTRUNC:
        raise EOFError
    while len(header) < 4:
        header += _some(connection, 4 - len(header))
    body = bytearray()
    length = int.from_bytes(header, "little")
    while len(body) < length:
        body += _some(connection, length - len(body))
    return marshal.loads(body), descriptors


def _some(connection: socket.socket, length: int) -> bytes:
    data = connection.recv(length)
    if not data:
        raise EOFError
    return data


def _restore(caller: Caller, argv: list[str], blocked: bytes) -> None:
    """Take over what the caller has, apart from descriptors."""
    os.umask(caller.umask)
    for number in caller.ignored:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, _numbers(int.from_bytes(blocked, sys.byteorder)))
    _set_environment(caller.environment)
    sys.argv[:] = argv
    _open_standard_streams()
    set_name(os.fsencode(os.path.basename(argv[0]))[:_NAME_MAX])


def _place(connection: socket.socket, descriptors: list[int], numbers: list[int]) -> socket.socket:
    """Give the received descriptors the numbers that they have in the launcher, and close all others."""
    above = max(numbers) + 1
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in descriptors]
    kept = fcntl.fcntl(connection, fcntl.F_DUPFD_CLOEXEC, above)
    connection.detach()
    for descriptor, number in zip(moved, numbers, strict=True):
        os.dup2(descriptor, number)
    close_all_but({*numbers, kept})
    return socket.socket(fileno=kept)


def _set_environment(environment: dict[bytes, bytes]) -> None:
    os.environb.clear()
    os.environb.update(environment)
    time.tzset()


def _open_standard_streams() -> None:
    """``sys.stdin`` and so on as the interpreter makes them at its start, in UTF-8 mode."""
    for descriptor, name, errors in (
        (0, "stdin", "surrogateescape"),
        (1, "stdout", "surrogateescape"),
        (2, "stderr", "backslashreplace"),
    ):
        stream = open(  # noqa: SIM115 - it lives as long as the process
            descriptor,
            "w" if descriptor else "r",
            buffering=1 if descriptor == 2 or os.isatty(descriptor) else -1,
            encoding="utf-8",
            errors=errors,
            closefd=False,
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _watch(connection: socket.socket) -> int:
    """Have the kernel send SIGHUP to this process when the descriptor returned is closed everywhere.

    The other end of its pipe stays, with a number above all that the launcher has passed.
    """
    reading, writing = os.pipe()
    kept = fcntl.fcntl(reading, fcntl.F_DUPFD_CLOEXEC, connection.fileno())
    os.close(reading)
    fcntl.fcntl(kept, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(kept, _F_SETSIG, signal.SIGHUP)
    fcntl.fcntl(kept, fcntl.F_SETFL, os.O_ASYNC)
    return writing


def _call(entry: str) -> int:
    """Call the function as the interpreter runs a program, and return the exit status that it would have."""
    try:
        return _status(cold.load(entry)())
    except SystemExit as stop:
        return _status(stop.code)
    except BaseException as error:  # noqa: BLE001 - this is the end of the process
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            _flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        return 1


def _status(code: object) -> int:
    """What ``sys.exit(code)`` makes of ``code``."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _finish(connection: socket.socket, status: int) -> NoReturn:
    """What the interpreter does at its end, then the report."""
    if not clear_up():
        status = 120  # as Python does when its standard output cannot be written
    close_all_but({connection.fileno()})
    with suppress(OSError):  # the launcher is gone
        connection.sendall(reply(b"E", status))
    exit_later(status)


def clear_up() -> bool:
    """What the interpreter does at its end; whether standard output could be written."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    return _flush()


def exit_later(status: int) -> NoReturn:
    """Who has just been told something is to run first: the kernel puts it on this processor, for the sender
    of a message is taken to wait next, and to take down a process's memory takes a millisecond or two."""
    time.sleep(_COURTESY_SECONDS)
    os._exit(status)


def _flush() -> bool:
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        print(f"Exception ignored in: {sys.stdout!r}\n{type(error).__name__}: {error}", file=sys.stderr)
        return False
    return True
