"""What is said over a monitor's socket: one packet, one message.

The socket is ``SOCK_SEQPACKET``, so packets keep their bounds and nothing is framed here. A packet is one
byte, its ``Kind``, and a body. The first packet of a client says what the connection is for:

    client                                  monitor
    ATTACH  AttachRequest                   STARTED, then output …, EXIT
    EXEC    ExecRequest                     STARTED or ERROR, then output …, EXIT
    CONTROL ControlRequest                  DONE or ERROR, and so on for each further CONTROL
    RESOLVE, two descriptors                DONE: the sockets (UDP, TCP) at which it resolves names
    PORT    PortRequest, maybe a descriptor DONE: one more port that it holds, or one less
    LIST                                    LISTED, with a file: an ``Added`` for each that EXEC has added

An attached client may send STDIN and STDIN_EOF. Signals and sizes go over a connection of their own, because
input that the container does not read holds up everything behind it. The starter has no first packet: its
connection is made by the fork, and it hears EVENT (``--explain``) …, then STARTED or ERROR.

Bodies that are documents are JSON; STDOUT, STDERR and STDIN are bytes as they are; EXIT is a decimal number.
"""

from enum import IntEnum

import msgspec

from .. import errors

CHUNK = 32 * 1024
"""the most output or input in one packet; half of a pipe"""

PACKET = CHUNK + 1
"""enough to receive any packet whole but for EXEC and what is made of it, which may be ``LONG_PACKET``"""

LONG_PACKET = 200 * 1024
"""what the kernel's default send buffer lets through in one piece (net.core.wmem_default, 208 KiB)"""


class Kind(IntEnum):
    # from the client
    ATTACH = 1
    EXEC = 2
    CONTROL = 3
    STDIN = 4
    STDIN_EOF = 5
    LIST = 6
    RESOLVE = 7
    PORT = 8
    # from the monitor
    STARTED = 16
    EVENT = 17
    ERROR = 18
    DONE = 19
    STDOUT = 20
    STDERR = 21
    EXIT = 22
    LISTED = 23
    # from a builder, in place of STARTED
    QUIET = 24
    # made by the client's side of a session, never sent
    DETACHED = 32


class AttachRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


class ExecRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    id: str = ""
    """64 hexadecimal digits, chosen by the caller"""
    about: msgspec.Raw = msgspec.Raw(b"null")
    """a document about it, which LISTED gives back as it is"""
    process: dict[str, object]
    """the OCI runtime document's ``process``"""
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach: bool = False
    rows: int = 0
    columns: int = 0


class ControlRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A signal or a size, for the process that STARTED gave this number; 0 is the container's init.

    ``paused`` and ``keep`` are about the container: what its state is to say, now that the caller has frozen
    it or is about to thaw it; and that it is not to remove itself this time, as it will be started again.
    ``clear`` empties its log.
    """

    process: int = 0
    signal: int = 0
    rows: int = 0
    columns: int = 0
    paused: bool | None = None
    keep: bool = False
    clear: bool = False


class PortRequest(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A port of the host. ``held``: with the socket that holds it; else it is the one to let go of.

    With ``address`` and ``port`` of the container what arrives at the socket is passed on by a proxy.
    """

    held: bool = False
    protocol: str
    host: str
    host_port: int
    address: str = ""
    port: int = 0


class Added(msgspec.Struct, kw_only=True, frozen=True):
    """A process that EXEC has added, running or (with an exit code) ended a while ago."""

    id: str
    pid: int
    about: msgspec.Raw
    exit_code: int | None = None


class Started(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    process: int = 0
    pid: int = 0


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One step of the runtime, and what the kernel shows of it after it was taken."""

    step: str
    shown: str


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """An exception on its way to another process: the name of its class in ``errors``, and its message."""

    name: str
    message: str

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        if isinstance(error, errors.Error):
            return cls(type(error).__name__, str(error))
        if isinstance(error, OSError):
            return cls("StartFailed", str(error))
        return cls("Error", f"{type(error).__name__}: {error}")

    def exception(self) -> errors.Error:
        known = getattr(errors, self.name, errors.Error)
        if isinstance(known, type) and issubclass(known, errors.Error):
            return known(self.message)
        return errors.Error(self.message)


ADDED = "added"
"""a file beside the monitor's socket, once a process was added: there is nothing to LIST before"""
DESCRIPTORS = 16
"""at most, in one of a builder's messages; more only where it says so"""

encode = msgspec.json.encode
attach_request = msgspec.json.Decoder(AttachRequest)
exec_request = msgspec.json.Decoder(ExecRequest)
port_request = msgspec.json.Decoder(PortRequest)
control_request = msgspec.json.Decoder(ControlRequest)
started = msgspec.json.Decoder(Started)
added = msgspec.json.Decoder(list[Added])
event = msgspec.json.Decoder(Event)
failure = msgspec.json.Decoder(Failure)


def packet(kind: Kind, body: bytes = b"") -> bytes:
    return _HEADS[kind] + body


_HEADS = {kind: bytes((kind,)) for kind in Kind}
