"""What the ``mydocker-runtime`` command remembers between its calls: one directory per container.

    <root>/<id>/            the directory is the claim on the id (mkdir)
        state.json          what was asked for, and which process it became; replaced by rename
        start.sock          init listens here for ``start``; its absence means that the container was started

The file system and the kernel keep the truth: whether a container runs is asked of its init, by number and
start time (so a number that went to another process is not taken for it), and of its cgroup.
"""

from __future__ import annotations

import _socket
import os

from mydocker.errors import Conflict, CorruptData, InvalidArgument, NotFound
from mydocker.linux.pidfd import pidfd_open
from mydocker.oci.json import dumps, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mydocker.oci.runtime import Spec

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def default_root() -> str:
    """Where the state is kept when ``--root`` does not say."""
    if os.geteuid() == 0:
        return "/run/mydocker-runtime"
    return os.path.join(
        os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/mydocker-{os.geteuid()}", "mydocker-runtime"
    )


class Entry:
    """One container: its directory and what its ``state.json`` says."""

    __slots__ = (
        "bundle",
        "cgroups",
        "created",
        "creator",
        "creator_started",
        "directory",
        "id",
        "pid",
        "spec",
        "started",
        "uid",
        "unit",
    )

    def __init__(self, directory: str, id: str) -> None:
        self.directory = directory
        self.id = id
        self.bundle = ""
        self.creator = os.getpid()  # who makes the container, as long as there is no init
        self.creator_started = 0
        self.pid = 0
        self.started = 0  # init's start time, in clock ticks since boot: proc_pid_stat(5), field 22
        self.created = ""
        self.uid = os.geteuid()
        self.cgroups: dict[str, str] = {}
        self.unit = ""  # systemd's, if that made the cgroup
        self.spec: Spec = {"ociVersion": ""}

    @property
    def socket(self) -> str:
        return f"{self.directory}/start.sock"

    def save(self) -> None:
        document = {name: getattr(self, name) for name in self.__slots__ if name != "directory"}
        temporary = f"{self.directory}/state.json.new"
        with open(temporary, "wb", buffering=0) as file:
            file.write(dumps(document).encode(errors="surrogateescape"))
        os.rename(temporary, f"{self.directory}/state.json")

    def status(self) -> str:
        """One of the states of the runtime specification."""
        if self.pid == 0 and self.creator_started and start_time(self.creator) == self.creator_started:
            return "creating"
        if not self.pid or start_time(self.pid) != self.started:
            return "stopped"
        if os.path.exists(self.socket):
            return "created"
        return "paused" if self._frozen() else "running"

    def _frozen(self) -> bool:
        unified = self.cgroups.get("unified")
        try:
            if unified is not None:
                with open(f"{unified}/cgroup.freeze") as file:
                    return file.read().strip() == "1"
            if "freezer" in self.cgroups:
                with open(f"{self.cgroups['freezer']}/freezer.state") as file:
                    return file.read().strip() != "THAWED"
        except FileNotFoundError:
            return False
        return False

    def pidfd(self) -> int:
        """A descriptor of init; ``Conflict`` if the container does not run."""
        try:
            descriptor = pidfd_open(self.pid) if self.pid else -1
        except ProcessLookupError:
            descriptor = -1
        # The number may have been reused before it was opened, but not since.
        if descriptor < 0 or start_time(self.pid) != self.started:
            if descriptor >= 0:
                os.close(descriptor)
            raise Conflict(f"container {self.id} is not running")
        return descriptor

    def listen(self) -> _socket.socket:
        """The socket that init is to wait on. Its path may be too long for an address."""
        return self._at_socket(_bind)

    def connect(self) -> _socket.socket:
        return self._at_socket(lambda socket, address: socket.connect(address))

    def _at_socket(self, use: Callable[[_socket.socket, str], None]) -> _socket.socket:
        socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        directory = os.open(self.directory, _PATH)
        try:
            use(socket, f"/proc/self/fd/{directory}/start.sock")
        except BaseException:
            socket.close()
            raise
        finally:
            os.close(directory)
        return socket

    def remove(self) -> None:
        for name in ("start.sock", "state.json", "state.json.new"):
            try:
                os.unlink(f"{self.directory}/{name}")
            except FileNotFoundError:
                pass
        try:
            os.rmdir(self.directory)
        except FileNotFoundError:
            pass


def claim(root: str, id: str) -> Entry:
    """Make the directory of a new container; ``Conflict`` if there is one."""
    directory = _directory(root, id)
    os.makedirs(root, 0o711, exist_ok=True)
    try:
        os.mkdir(directory, 0o711)
    except FileExistsError:
        raise Conflict(
            f"container with id {id} exists already in {root} (delete it, or use another id)"
        ) from None
    return Entry(directory, id)


def find(root: str, id: str) -> Entry:
    """Return the container ``id``, or raise ``NotFound``. One that was never completed has no process."""
    entry = Entry(_directory(root, id), id)
    try:
        document = load(f"{entry.directory}/state.json")
    except FileNotFoundError:
        if os.path.isdir(entry.directory):
            return entry
        raise NotFound(f"container {id} does not exist in {root}") from None
    try:
        for name in Entry.__slots__:
            if name != "directory":
                setattr(entry, name, document[name])
    except (KeyError, TypeError) as error:
        raise CorruptData(f"{entry.directory}/state.json lacks {error}") from None
    return entry


def all_entries(root: str) -> list[Entry]:
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    entries = []
    for name in names:
        if name.startswith("."):
            continue
        try:
            entries.append(find(root, name))
        except (NotFound, InvalidArgument):
            continue  # deleted in the meantime, or not ours
    return entries


def start_time(pid: int) -> int:
    """When the process ``pid`` started, or 0 if it is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            fields = file.read(4096).rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if not fields or fields[0] in b"ZX" else int(fields[19])


def _bind(socket: _socket.socket, address: str) -> None:
    socket.bind(address)
    socket.listen(1)


def _directory(root: str, id: str) -> str:
    if not id or id[0] == "." or len(id) > 1024 or not _ALLOWED.issuperset(id):
        raise InvalidArgument(
            f"invalid character in the container ID {id!r}: letters, digits and _+-. are allowed, "
            "but no dot at the beginning"
        )
    return f"{root}/{id}"
