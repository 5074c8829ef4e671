"""criu, which writes processes to disk and makes them again: its RPC over ``criu swrk``.

criu is started with one end of a SOCK_SEQPACKET pair. One request goes to it, an answer comes back, and in
between it tells how far it is ("notify"), and waits until each of these is answered:

    runtime -> criu   criu_req    type, opts            dump or restore, with its options
    criu -> runtime   criu_resp   NOTIFY, script, pid   "setup-namespaces", "post-restore" and others
    runtime -> criu   criu_req    NOTIFY, success
    criu -> runtime   criu_resp   type, success

Messages are protocol buffers (criu's images/rpc.proto; the encoding is that of
https://protobuf.dev/programming-guides/encoding/), of which numbers and texts are all that is used. Out of
scope: what is asked for (``checkpoint``, ``restore``).
"""

from __future__ import annotations

import _socket
import os

from mydocker.errors import NotSupported, StartFailed
from mydocker.linux.pidfd import pidfd_send_signal, reap
from mydocker.linux.process import SIGKILL, cloexec_from, clone3, default_signals, ignored_signals
from mydocker.runtime.channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Option = tuple[int, int | str | bytes]
    Notified = Callable[[str, int, int | None], None]
    """What is told of a notification: its name, the process that it is about, and a descriptor."""

DUMP, RESTORE, PRE_DUMP, NOTIFY = 1, 2, 4, 6  # criu_req_type

# criu_opts
IMAGES_DIR_FD, PID, LEAVE_RUNNING, EXT_UNIX_SK, TCP_ESTABLISHED, EVASIVE_DEVICES, SHELL_JOB = range(1, 8)
FILE_LOCKS, LOG_LEVEL, LOG_FILE, NOTIFY_SCRIPTS, ROOT, PARENT_IMG, TRACK_MEM = 8, 9, 10, 12, 13, 14, 15
AUTO_DEDUP, WORK_DIR_FD, LINK_REMAP, EXT_MNT, CG_ROOT, RST_SIBLING, INHERIT_FD = 16, 17, 18, 23, 25, 26, 27
MANAGE_CGROUPS_MODE, EXTERNAL, EMPTY_NS, JOIN_NS, FREEZE_CGROUP, TCP_SKIP_IN_FLIGHT = 34, 37, 38, 39, 44, 46
ORPHAN_PTS_MASTER, CONFIG_FILE, LSM_PROFILE, LSM_MOUNT_CONTEXT, MANAGE_CGROUPS = 50, 51, 53, 63, 24

CGROUP_MODES = {"": 6, "ignore": 0, "soft": 3, "full": 4, "strict": 5}
CONFIGURATION = "/etc/criu/runc.conf"
"""Options of the administrator for all that containers ask of criu; where runc looks, too."""
ANNOTATION = "org.criu.config"
"""names another file for one container"""

_LIMIT = 1 << 16
_SOCKET = 3
FIRST = 6  # descriptors before it are the standard streams, the socket, and the two directories
_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5  # kinds of fields


def program() -> str:
    """The path of criu; ``NotSupported`` where it is not installed."""
    for directory in (*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"):
        path = os.path.join(directory, "criu")
        if directory and os.access(path, os.X_OK):
            return path
    raise NotSupported("criu is not installed, which writes containers to disk (install the package criu)")


def encode(fields: Sequence[Option]) -> bytes:
    """A message: numbers (true is 1), texts, and messages in it, each with the number of its field."""
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += _varint(number << 3 | _VARINT) + _varint(value)
        else:
            raw = value.encode(errors="surrogateescape") if isinstance(value, str) else value
            data += _varint(number << 3 | _BYTES) + _varint(len(raw)) + raw
    return data


def decode(data: bytes) -> dict[int, int | bytes]:
    """The fields of a message; the last of a number wins. ``ValueError`` if it is none."""
    found: dict[int, int | bytes] = {}
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        kind = key & 7
        value: int | bytes
        if kind == _VARINT:
            value, place = _read_varint(data, place)
        else:
            length = {_I64: 8, _I32: 4}.get(kind)
            if kind == _BYTES:
                length, place = _read_varint(data, place)
            if length is None or place + length > len(data):
                raise ValueError("not a message of criu")
            value = data[place : place + length]
            place += length
        found[key >> 3] = value
    return found


def run(
    kind: int,
    options: Sequence[Option],
    images: str,
    work: str,
    log: str,
    *,
    notified: Notified | None = None,
    enter: Callable[[], None] | None = None,
    inherited: Sequence[int] = (),
    cgroup: int | None = None,
) -> None:
    """Have criu do it with the directories ``images`` and ``work``; ``StartFailed`` quotes its ``log``.

    ``enter`` is called in its process, which starts in ``cgroup``. ``inherited`` are its descriptors from
    FIRST on, for what INHERIT_FD names.
    """
    path = program()
    ours, theirs = Channel.pair()
    with ours, theirs:
        pid, pidfd = clone3(cgroup=cgroup)
        if pid == 0:
            _execute(path, theirs, (images, work), inherited, enter)
        theirs.close()
        done = False
        try:
            said, fields, descriptors = ours.receive()
            if not descriptors:
                raise StartFailed(f"cannot execute criu: {' '.join(fields) or said or 'it was killed'}")
            socket = _socket.socket(fileno=descriptors[0])
            try:
                directories = ((IMAGES_DIR_FD, FIRST - 2), (WORK_DIR_FD, FIRST - 1))
                socket.send(encode([(1, kind), (2, encode([*directories, *options]))]))
                _follow(socket, kind, log, notified)
            finally:
                socket.close()
            done = True
        finally:
            if not done:
                pidfd_send_signal(pidfd, SIGKILL)
            code = reap(pidfd)
            os.close(pidfd)
    # After a pre-dump it waits for the next one, and is not content that nobody asks.
    if code != 0 and kind != PRE_DUMP:
        raise StartFailed(_failure(f"criu ended with status {code}", log))


def _execute(
    path: str,
    channel: Channel,
    directories: tuple[str, ...],
    inherited: Sequence[int],
    enter: Callable[[], None] | None,
) -> None:
    """In criu's process: never returns.

    criu takes directories as descriptors of the process that has made its socket, and mounts in them; so
    both have to be made here, in what may be a mount namespace of its own.
    """
    try:
        if enter is not None:
            enter()
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC, 0)
        opened = [os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for place in directories]
        wanted = [theirs.fileno(), *opened, *inherited]
        # Copies above all that is wanted first, so that none overwrites another.
        high = [_above(descriptor, _SOCKET + len(wanted)) for descriptor in wanted]
        channel.send("criu", descriptors=[ours.fileno()])
        for number, descriptor in enumerate(high, _SOCKET):
            os.dup2(descriptor, number, inheritable=True)
        cloexec_from(_SOCKET + len(wanted))
        default_signals(ignored_signals())
        os.execve(path, [path, "swrk", str(_SOCKET)], dict(os.environ))
    except BaseException as error:  # noqa: BLE001 - a forked process must not run its parent's code
        os.write(2, f"mydocker-runtime: cannot execute criu: {error}\n".encode(errors="replace"))
    finally:
        os._exit(127)


def _above(descriptor: int, least: int) -> int:
    import fcntl

    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)


def _follow(socket: _socket.socket, kind: int, log: str, notified: Notified | None) -> None:
    """Answer notifications until the request itself is answered."""
    import struct

    while True:
        data, ancillary, _, _ = socket.recvmsg(_LIMIT, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise StartFailed(_failure("criu ended without an answer", log))
        answer = decode(data)
        if not answer.get(2):
            raise StartFailed(_failure(f"criu failed: errno {answer.get(7, 0)!r}", log))
        if answer.get(1) != NOTIFY:
            if answer.get(1) != kind:
                raise StartFailed(f"criu gave an answer that was not asked for: {answer.get(1)!r}")
            return
        notice = decode(_bytes(answer.get(5)))
        descriptor = None
        for level, number, rights in ancillary:
            if level == _socket.SOL_SOCKET and number == _socket.SCM_RIGHTS:
                descriptor = struct.unpack("i", rights[:4])[0]
        pid = notice.get(2, 0)
        if notified is not None:
            notified(_bytes(notice.get(1)).decode(), pid if isinstance(pid, int) else 0, descriptor)
        elif descriptor is not None:
            os.close(descriptor)
        socket.send(encode([(1, NOTIFY), (3, True)]))


def _bytes(value: int | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _failure(what: str, log: str) -> str:
    """``what``, with the first error in criu's log: those after it tell what did not happen because of it."""
    try:
        with open(log, errors="replace") as file:
            for line in file:
                _, error, text = line.partition("Error (")
                if error:
                    return f"{what}: {text.partition('): ')[2].strip()} (see {log})"
    except FileNotFoundError:
        return what
    return f"{what} (see {log})"


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
    raise ValueError("not a message of criu")
