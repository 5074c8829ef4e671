"""What ``create``, ``run``, ``exec`` and ``restore`` have in common on the side of their caller.

The socket that takes the terminal, the file that takes the process id, the descriptors that go through.
"""

from __future__ import annotations

import _socket
import os
import sys

from mydocker.errors import InvalidArgument, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.runtime.arguments import Options

_FIRST = 3  # descriptors before it are the standard streams


def connect(path: str, terminal: bool, *, needed: bool) -> _socket.socket | None:
    """Connect to --console-socket; ``InvalidArgument`` where it does not fit to the process's terminal."""
    if not path:
        if terminal and needed:
            raise InvalidArgument("a terminal needs --console-socket, or a container in the foreground")
        return None
    if not terminal:
        raise InvalidArgument("--console-socket is given, but process.terminal is false")
    socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        socket.connect(path)
    except OSError as error:
        socket.close()
        raise NotFound(f"cannot connect to the console socket {path}: {error.strerror}") from None
    return socket


def hand_over(console: int | None, socket: _socket.socket | None, warnings: list[str]) -> None:
    """Send the terminal's master to the console socket, and warnings to standard error."""
    warn(warnings)
    if socket is None or console is None:
        return
    import struct

    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", console))
    socket.sendmsg([b"/dev/ptmx"], [rights])
    socket.close()
    os.close(console)


def warn(warnings: list[str]) -> None:
    for warning in warnings:
        print(f"mydocker-runtime: warning: {warning}", file=sys.stderr)


def write_pid(path: str, pid: int) -> None:
    """Write the number so that a reader sees all of it or no file."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.new")
    with open(temporary, "w") as file:
        file.write(str(pid))
    os.rename(temporary, path)


def preserved(options: Options) -> tuple[list[int], list[str]]:
    """The descriptors that the process inherits, and what its environment says about them.

    Those of ``--preserve-fds``, and those that a service manager has passed to this process
    (sd_listen_fds(3)). Only what is open now is meant: nothing of ours may take such a number later.
    """
    count = _count(options.value("preserve-fds", "0"))
    environment: list[str] = []
    listening = os.environ.get("LISTEN_FDS", "")
    if listening.isdigit() and os.environ.get("LISTEN_PID", str(os.getpid())) == str(os.getpid()):
        count += int(listening)
        environment = [f"LISTEN_FDS={listening}", "LISTEN_PID=1"]
        if names := os.environ.get("LISTEN_FDNAMES"):
            environment.append(f"LISTEN_FDNAMES={names}")
    if not count:
        return [], []
    open_now = []
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        try:
            if _FIRST <= descriptor < _FIRST + count and os.get_inheritable(descriptor):
                open_now.append(descriptor)
        except OSError:
            continue  # the listing's own
    return open_now, environment


def _count(text: str) -> int:
    if not text.isdigit():
        raise InvalidArgument(f"--preserve-fds is a number, not {text!r}")
    return int(text)
