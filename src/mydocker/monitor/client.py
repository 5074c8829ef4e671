"""The caller's side of a monitor's socket: an attached session, and single requests.

In scope: connecting, the packets of ``protocol.py`` as methods, and the detach keys, which are recognised
here because only input from this side can hold them. Out of scope: terminals (raw mode, window changes),
which are the command line's.
"""

import errno
import os
import select
import socket
from contextlib import suppress

import msgspec

from .. import errors
from ..linux.pidfd import pidfd_open
from . import protocol
from .protocol import Added, AttachRequest, ControlRequest, ExecRequest, Kind, PortRequest, packet

SOCKET_NAME = "monitor.sock"
_SUN_PATH = 107  # man 7 unix: 108 bytes with the terminating zero

DEFAULT_DETACH_KEYS = b"\x10\x11"
"""Ctrl-P Ctrl-Q"""


class AttachOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Which streams a client wants, and the keys (empty: none) that let go of the container."""

    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    detach_keys: bytes = DEFAULT_DETACH_KEYS


def connect(directory: str) -> socket.socket:
    """A connection to the monitor whose socket is in ``directory``; ``Unavailable`` if none listens there."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path = f"{directory}/{SOCKET_NAME}"
        if len(os.fsencode(path)) <= _SUN_PATH:
            connection.connect(path)
            return connection
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(f"/proc/self/fd/{fd}/{SOCKET_NAME}")
        finally:
            os.close(fd)
    except OSError as error:
        connection.close()
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            raise errors.Unavailable(f"no monitor listens in {directory}") from error
        raise
    return connection


def listen(directory: str) -> socket.socket:
    """The monitor's own end: bound, listening, not blocking."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        path = f"{directory}/{SOCKET_NAME}"
        if len(os.fsencode(path)) <= _SUN_PATH:
            listener.bind(path)
        else:
            fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                listener.bind(f"/proc/self/fd/{fd}/{SOCKET_NAME}")
            finally:
                os.close(fd)
        listener.listen(64)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class Session:
    """An attached client. ``receive`` until ``Kind.EXIT``, which sets ``exit_code``, or ``Kind.DETACHED``.

    The file descriptor is readable when ``receive`` would not wait. The end of the connection without an
    EXIT means that the monitor is gone: ``Unavailable``, and the next command puts the container right.
    """

    __slots__ = (
        "_control",
        "_directory",
        "_keys",
        "_matched",
        "_process",
        "_socket",
        "detached",
        "exec_id",
        "exit_code",
    )

    def __init__(
        self, connection: socket.socket, directory: str, process: int = 0, detach_keys: bytes = b""
    ) -> None:
        self._socket = connection
        self._directory = directory
        self._process = process
        self._keys = detach_keys
        self._matched = 0
        self._control: socket.socket | None = None
        self.exec_id = ""
        self.exit_code: int | None = None
        self.detached = False

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> tuple[Kind, bytes]:
        if self.detached:
            return Kind.DETACHED, b""
        kind, body = receive(self._socket)
        if kind is Kind.EXIT:
            self.exit_code = int(body)
        elif kind is Kind.ERROR:
            raise protocol.failure.decode(body).exception()
        return kind, body

    def send(self, data: bytes) -> None:
        """Input for the container. After the detach keys ``detached`` is true and nothing more is sent."""
        data = self._without_keys(data)
        for start in range(0, len(data), protocol.CHUNK):
            self._send(packet(Kind.STDIN, data[start : start + protocol.CHUNK]))

    def close_stdin(self) -> None:
        self._send(packet(Kind.STDIN_EOF))

    def resize(self, rows: int, columns: int) -> None:
        self._request(ControlRequest(process=self._process, rows=rows, columns=columns))

    def signal(self, number: int) -> None:
        self._request(ControlRequest(process=self._process, signal=number))

    def close(self) -> None:
        self._socket.close()
        if self._control is not None:
            self._control.close()

    def _send(self, message: bytes) -> None:
        with suppress(
            BrokenPipeError, ConnectionResetError
        ):  # the container has ended: what receive() still holds says how
            self._socket.send(message)

    def _request(self, request: ControlRequest) -> None:
        try:
            if self._control is None:
                self._control = connect(self._directory)
            control(self._control, request)
        except errors.Unavailable:
            pass  # as above: there is nothing left to signal or to resize, and EXIT is on its way

    def _without_keys(self, data: bytes) -> bytes:
        """The input that is no part of the detach keys; a beginning of them is held back until decided."""
        if not self._keys or self.detached:
            return b"" if self.detached else data
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    self.detached = True
                    break
                continue
            if self._matched:
                passed += self._keys[: self._matched]
                self._matched = 0
                if byte == self._keys[0]:
                    self._matched = 1
                    continue
            passed.append(byte)
        return bytes(passed)


def receive(connection: socket.socket) -> tuple[Kind, bytes]:
    try:
        message = connection.recv(protocol.PACKET)
    except ConnectionResetError:  # it left something of ours unread; this comes before what it said itself
        message = connection.recv(protocol.PACKET)
    if not message:
        raise errors.Unavailable("the container's monitor is gone")
    return Kind(message[0]), message[1:]


def attach(directory: str, options: AttachOptions, *, terminal: bool) -> Session:
    """Detach keys are looked for only with a ``terminal``: elsewhere bytes that look like them are data."""
    connection = connect(directory)
    try:
        request = AttachRequest(stdin=options.stdin, stdout=options.stdout, stderr=options.stderr)
        process = _begin(connection, packet(Kind.ATTACH, protocol.encode(request)))
    except BaseException:
        connection.close()
        raise
    keys = options.detach_keys if options.stdin and terminal else b""
    return Session(connection, directory, process, keys)


def execute(directory: str, request: ExecRequest, detach_keys: bytes) -> Session:
    connection = connect(directory)
    try:
        process = _begin(connection, packet(Kind.EXEC, protocol.encode(request)))
    except BaseException:
        connection.close()
        raise
    keys = detach_keys if request.stdin and request.process.get("terminal") else b""
    session = Session(connection, directory, process, keys)
    session.exec_id = request.id
    return session


def resolve(directory: str, pid: int, sockets: list[int]) -> None:
    """Hand over the sockets at which the container's resolver is to listen, those for UDP and TCP.

    ``pid`` is its init, as for ``port``.
    """
    with connect(directory) as connection:
        _hand_over(connection, pid, packet(Kind.RESOLVE), sockets)


def port(directory: str, pid: int, request: PortRequest, handle: socket.socket | None = None) -> None:
    """Have a monitor hold one more port of the host, whose socket it gets, or let go of one.

    ``Unavailable`` once ``pid``, its init, has ended: who changes a record keeps the monitor of a container
    that has ended from removing it, so neither may wait for the other.
    """
    with connect(directory) as connection:
        sockets = [handle.fileno()] if handle is not None else []
        _hand_over(connection, pid, packet(Kind.PORT, protocol.encode(request)), sockets)


def _hand_over(connection: socket.socket, pid: int, message: bytes, descriptors: list[int]) -> None:
    try:
        init = pidfd_open(pid)
    except ProcessLookupError:
        raise errors.Unavailable("the container has just ended") from None
    try:
        socket.send_fds(connection, [message], descriptors)
        poll = select.poll()
        for each in (connection.fileno(), init):
            poll.register(each, select.POLLIN)
        if connection.fileno() not in dict(poll.poll()):
            raise errors.Unavailable("the container has just ended")
        kind, body = receive(connection)
    except (BrokenPipeError, ConnectionResetError):
        raise errors.Unavailable("the container's monitor is gone") from None
    finally:
        os.close(init)
    if kind is Kind.ERROR:
        raise protocol.failure.decode(body).exception()


def control(connection: socket.socket, request: ControlRequest) -> None:
    """One signal or size; raises what the monitor answered, ``Unavailable`` if it is gone."""
    try:
        connection.send(packet(Kind.CONTROL, protocol.encode(request)))
    except (BrokenPipeError, ConnectionResetError):
        raise errors.Unavailable("the container's monitor is gone") from None
    kind, body = receive(connection)
    if kind is Kind.ERROR:
        raise protocol.failure.decode(body).exception()


def added(directory: str) -> list[Added]:
    """The processes that were added to the container; ``Unavailable`` if no monitor listens.

    Where there were none, the monitor is not asked: it may be dormant (``dormant.py``).
    """
    if not os.path.exists(f"{directory}/{protocol.ADDED}"):
        return []
    with connect(directory) as connection:
        try:
            connection.send(packet(Kind.LIST))
            _, descriptors, _, _ = socket.recv_fds(connection, protocol.PACKET, 1, socket.MSG_CMSG_CLOEXEC)
        except (BrokenPipeError, ConnectionResetError):
            descriptors = []
    if not descriptors:
        raise errors.Unavailable("the container's monitor is gone")
    with open(descriptors[0], "rb") as file:
        file.seek(0)
        return protocol.added.decode(file.read())


def _begin(connection: socket.socket, message: bytes) -> int:
    if len(message) > protocol.LONG_PACKET:
        raise errors.InvalidArgument(
            f"the request is too long: {len(message)} of {protocol.LONG_PACKET} bytes"
        )
    try:
        connection.send(message)
    except (BrokenPipeError, ConnectionResetError):
        raise errors.Unavailable("the container's monitor is gone") from None
    kind, body = receive(connection)
    if kind is Kind.ERROR:
        raise protocol.failure.decode(body).exception()
    return protocol.started.decode(body).process
