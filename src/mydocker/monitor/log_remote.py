"""Log drivers that send lines to another program: syslog(3)'s protocol, and journald's.

Messages of both are one datagram or one line each:

    syslog     <30>May  7 09:30:00 TAG[PID]: text         or with the host's name (RFC 3164), or RFC 5424
    journald   MESSAGE=text\\nPRIORITY=6\\nCONTAINER_ID=…    systemd.journal-fields(7); a value with newlines
                                                          has its length, 8 bytes, in place of "="

They are used by the process of ``log_pump.py``, which may wait for the other program. A line that cannot be
sent is tried once more over a new connection, and is lost after that. Where nobody listens, so is what comes
within the next second.
"""

import os
import socket
import time

from .log_file import Lines
from .plan import LogRemote

_TIMEOUT = 10.0
_PAUSE = 1.0
_PRIORITIES = {"stdout": 6, "stderr": 3}
"""LOG_INFO and LOG_ERR"""


class Remote:
    """A sink (``streams.py``) for one container's lines."""

    def __init__(self, remote: LogRemote) -> None:
        self._remote = remote
        self._lines = Lines()
        self._socket: socket.socket | None = None
        self._not_before = 0.0

    def write(self, stream: str, data: bytes) -> None:
        for line in self._lines.split(stream, data):
            self._send(stream, line)

    def finish(self) -> None:
        for stream, rest in self._lines.rest():
            self._send(stream, rest)

    def _send(self, stream: str, line: bytes) -> None:
        priority = _PRIORITIES[stream]
        message = journal(self._remote, priority, line) if self._remote.journal else syslog(
            self._remote, priority, line, time.time()
        )  # fmt: skip
        for _ in range(2):
            try:
                if self._socket is None:
                    if time.monotonic() < self._not_before:
                        return
                    self._not_before = time.monotonic() + _PAUSE
                    self._socket = connect(self._remote)
                    self._not_before = 0.0
                self._socket.sendall(message)
                return
            except OSError:
                if self._socket is not None:
                    self._socket.close()
                self._socket = None


def connect(remote: LogRemote) -> socket.socket:
    """A connection; ``OSError`` if nobody is there."""
    family = socket.AF_UNIX
    address: str | tuple[str, int] = remote.address
    if remote.port:
        family, _, _, _, where = socket.getaddrinfo(
            remote.address, remote.port, type=socket.SOCK_STREAM if remote.stream else socket.SOCK_DGRAM
        )[0]
        address = (str(where[0]), int(where[1]))
    kinds = [socket.SOCK_STREAM] if remote.stream else [socket.SOCK_DGRAM]
    if remote.either:
        kinds = [socket.SOCK_DGRAM, socket.SOCK_STREAM]
    failure: OSError | None = None
    for kind in kinds:
        connection = socket.socket(family, kind)
        connection.settimeout(_TIMEOUT)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    assert failure is not None
    raise failure


def syslog(remote: LogRemote, priority: int, line: bytes, now: float) -> bytes:
    """One message, in the format that was asked for (docker's log driver ``syslog``)."""
    number = remote.facility * 8 + priority
    instant = time.localtime(now)
    tag, pid, host = remote.tag, os.getpid(), os.uname().nodename
    if remote.format.startswith("rfc5424"):
        zone = time.strftime("%z", instant)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", instant)
        if remote.format == "rfc5424micro":
            stamp += f".{int(now % 1 * 1e6):06d}"
        stamp += f"{zone[:3]}:{zone[3:]}" if zone not in ("", "+0000") else "Z"
        head = f"<{number}>1 {stamp} {host} {tag} {pid} {tag} - "
    else:
        stamp = f"{time.strftime('%b', instant)} {instant.tm_mday:2d} {time.strftime('%H:%M:%S', instant)}"
        where = f"{host} " if remote.format == "rfc3164" else ""
        head = f"<{number}>{stamp} {where}{tag}[{pid}]: "
    return head.encode() + line.removesuffix(b"\n") + b"\n"


def journal(remote: LogRemote, priority: int, line: bytes) -> bytes:
    """One entry of journald's native protocol."""
    fields = [*remote.fields.items(), ("PRIORITY", str(priority))]
    if not line.endswith(b"\n"):
        fields.append(("CONTAINER_PARTIAL_MESSAGE", "true"))
    out = _field("MESSAGE", line.removesuffix(b"\n"))
    for name, value in fields:
        out += _field(name, value.encode())
    return out


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
