"""Containers on disk: directories, names, locks.

    <root>/container/<id>/            flock on the directory itself: held by whoever edits the record
                                      config.json   the record, replaced as a whole
                                      state.json    replaced as a whole
                                      hostname hosts resolv.conf   bound into the container
                                      init/ rw/     its layers (snapshot/)
                                      log           what it wrote (monitor/log.py)
    <root>/container/by-name/<name>   -> ../<id>    the symlink is the claim on the name
    <state>/container/<id>/           lock          flock: held by whoever creates, runs or removes it
                                      monitor.sock added (monitor/protocol.py)
                                      pause.lock    flock: held by who has frozen it (pause.py)
                                      network.json  what it has of networks (networks.py)

The rules that make every instant safe to be killed at:

- The directory under <state> is made and locked *before* anything under <root>, and is removed *after*
  everything else. So the entries under <state>/container are exactly the containers that somebody works on
  or runs, and an entry whose lock is free belonged to somebody who died: whoever sees it takes the lock and
  puts things right (``reconcile.py``).
- The lock is a flock(2): it goes over to the monitor by fork, and ends with the last process that has it.
- A directory under <root> without ``state.json`` was not finished (or is being created right now: its lock
  is held). It is no container; reconciling removes it.
- A name whose symlink points to no container is free, and so is one that leads to a container of another name
  which nobody renames at this moment.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from ..content.lock import take_within
from ..errors import Conflict, CorruptData, InvalidArgument, NotFound, Unavailable
from ..monitor.protocol import ADDED
from ..network.store import DEFAULT_STATE
from . import record as records
from .record import Record
from .state import Health, State

DEFAULT_ROOT = "/var/lib/mydocker"
PAUSE_LOCK = "pause.lock"
NETWORKS = "network.json"
HEALTH = "health.json"
_BLOCK = 4096
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_state_encoder = msgspec.json.Encoder()
_state_decoder = msgspec.json.Decoder(State)
_health_decoder = msgspec.json.Decoder(Health)


class Lock:
    """The lock of one container, held. ``with`` it, or hand ``fd`` to a forked process and ``close``."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


class Store:
    def __init__(self, root: str = DEFAULT_ROOT, state: str = DEFAULT_STATE) -> None:
        self.root = root
        self.state = state
        self.containers = f"{root}/container"
        self.names = f"{root}/container/by-name"
        self.running = f"{state}/container"

    def make(self) -> None:
        """The directories themselves; called when one of them turns out to be missing."""
        for path in (
            self.root,
            self.containers,
            self.names,
            os.path.dirname(self.aside("")),
            self.state,
            self.running,
        ):
            os.makedirs(path, 0o711 if path in (self.root, self.containers) else 0o700, exist_ok=True)

    def directory(self, identifier: str) -> str:
        return f"{self.containers}/{identifier}"

    def aside(self, identifier: str) -> str:
        """Where the directory of one that removes itself is moved to, so that it is gone at once."""
        return f"{self.root}/removed/{identifier}"

    def removed(self) -> list[str]:
        """Those that are there now."""
        try:
            return os.listdir(f"{self.root}/removed")
        except FileNotFoundError:
            return []

    def run_directory(self, identifier: str) -> str:
        return f"{self.running}/{identifier}"

    # -- locks

    def lock(self, identifier: str) -> Lock | None:
        """The container's lock with its directory under <state>, or ``None`` while somebody else holds it."""
        directory = self.run_directory(identifier)
        while True:
            try:
                os.mkdir(directory, 0o700)
            except FileExistsError:
                pass
            except FileNotFoundError:
                self.make()
                continue
            try:
                fd = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                continue  # its last owner removed the directory between the two calls
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return None
            if os.fstat(fd).st_nlink:
                return Lock(fd)
            os.close(fd)

    def held(self, identifier: str) -> bool:
        """Whether somebody creates, runs or removes the container now."""
        try:
            fd = os.open(f"{self.run_directory(identifier)}/lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # shared, so that two who look at the same time do not see each other
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self, identifier: str, lock: Lock) -> None:
        """Remove the directory under <state>, then the lock on it: in this order nobody locks a dead file."""
        directory = self.run_directory(identifier)
        for name in (
            "monitor.sock",
            ADDED,
            PAUSE_LOCK,
            HEALTH,
            f"{HEALTH}.new",
            NETWORKS,
            f"{NETWORKS}.new",
            "lock",
        ):
            with suppress(FileNotFoundError):
                os.unlink(f"{directory}/{name}")
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # else somebody has come in, whose directory it is now
                raise
        lock.close()

    def worked_on(self) -> list[str]:
        """The containers with a directory under <state>: being created, running, or to be reconciled."""
        try:
            return os.listdir(self.running)
        except FileNotFoundError:
            return []

    # -- names

    def claim(self, name: str, identifier: str) -> None:
        path = f"{self.names}/{name}"
        for _ in range(8):
            try:
                os.symlink(f"../{identifier}", path)
            except FileExistsError:
                owner = self.named(name)
                if owner is not None and self._owns(owner, name):
                    break
                self.disclaim(name, owner)
            else:
                return
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{owner}". You have to '
            "remove (or rename) that container to be able to reuse that name."
        )

    def _owns(self, owner: str, name: str) -> bool:
        try:
            if self.read_record(owner).name == name:
                return True
            with self.editing(owner) as record:  # after whoever may be about to rename it
                return record.name == name
        except (NotFound, CorruptData):
            return os.path.lexists(self.directory(owner)) or self.held(owner)

    def named(self, name: str) -> str | None:
        try:
            return os.path.basename(os.readlink(f"{self.names}/{name}"))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG):
                return None
            raise

    def all_names(self) -> list[str]:
        """Those that are claimed."""
        try:
            return os.listdir(self.names)
        except FileNotFoundError:
            return []

    def names_version(self) -> int:
        """Another number whenever a name has been claimed or given up."""
        try:
            return os.stat(self.names).st_mtime_ns
        except FileNotFoundError:
            return 0

    def disclaim(self, name: str, owner: str | None) -> None:
        """Free the name if it is still ``owner``'s."""
        if owner is not None and self.named(name) == owner:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.names}/{name}")

    # -- documents

    @contextmanager
    def editing(self, identifier: str, patience: float | None = None) -> Iterator[Record]:
        """The record, which nobody else replaces or removes inside of the ``with`` block.

        A start has it from when it is connected to networks until its monitor has the container. Whoever has
        it must not wait for the container's lock. ``Unavailable`` after so many seconds of ``patience``.
        """
        try:
            descriptor = os.open(self.directory(identifier), _DIRECTORY)
        except FileNotFoundError:
            raise NotFound(f"No such container: {identifier}") from None
        try:
            if patience is None:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            elif not take_within(descriptor, patience):
                raise Unavailable(f"container {identifier} is being changed (try again)")
            yield self.read_record(identifier)
        finally:
            os.close(descriptor)

    def write_record(self, record: Record) -> None:
        _replace(self.directory(record.id), "config.json", records.encoder.encode(record), record.durable)

    def read_record(self, identifier: str) -> Record:
        record = self.record_at(self.directory(identifier))
        if record is None:
            raise NotFound(f"No such container: {identifier}")
        return record

    def record_at(self, directory: str) -> Record | None:
        """What is in a container's directory, wherever that is now; None if nothing is, or not any more."""
        path = f"{directory}/config.json"
        try:
            return records.decoder.decode(_read(path))
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise CorruptData(f"{path}: {error}") from error

    def write_state(self, identifier: str, state: State, *, durable: bool) -> None:
        """On a full disk too, if there is a state already: how a container has ended must not be lost; what
        its health checks have printed may be."""
        content = _state_encoder.encode(state)
        try:
            _replace(self.directory(identifier), "state.json", content, durable)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if len(content) > _BLOCK and state.health is not None:
                without = msgspec.structs.replace(state.health, log=[])
                content = _state_encoder.encode(msgspec.structs.replace(state, health=without))
            _overwrite(f"{self.directory(identifier)}/state.json", content, error)

    def write_health(self, identifier: str, health: Health) -> None:
        """Of a container that runs; needs its lock."""
        _replace(self.run_directory(identifier), HEALTH, _state_encoder.encode(health), durable=False)

    def _with_health(self, identifier: str, state: State) -> State:
        try:
            health = _health_decoder.decode(_read(f"{self.run_directory(identifier)}/{HEALTH}"))
        except FileNotFoundError:
            return state  # nothing was checked yet, or a reboot has taken it
        return msgspec.structs.replace(state, health=health)

    def read_state(self, identifier: str) -> State:
        """With the health of one that runs, which has a file of its own: it changes often."""
        path = f"{self.directory(identifier)}/state.json"
        try:
            state = _state_decoder.decode(_read(path))
            return self._with_health(identifier, state) if state.running and state.health else state
        except FileNotFoundError:
            raise NotFound(f"No such container: {identifier}") from None
        except msgspec.MsgspecError as error:
            raise CorruptData(f"{path}: {error}") from error

    # -- finding

    def ids(self) -> Iterator[str]:
        """Every directory, finished or not."""
        try:
            names = os.listdir(self.containers)
        except FileNotFoundError:
            return
        for name in names:
            if len(name) == 64:
                yield name

    def resolve(self, reference: str) -> str:
        """The identifier that a full identifier, a name or a unique prefix means, in this order."""
        if not reference or "/" in reference.removeprefix("/") or "\0" in reference:
            raise InvalidArgument(
                f"invalid container name or ID: value is empty or not a name: {reference!r}"
            )
        bare = reference.removeprefix("/")
        if len(bare) == 64 and os.path.lexists(f"{self.directory(bare)}/state.json"):
            return bare
        owner = self.named(bare)
        if owner is not None and os.path.lexists(f"{self.directory(owner)}/state.json"):
            return owner
        matches = [each for each in self.ids() if each.startswith(bare)]
        if len(matches) > 1:
            raise InvalidArgument(f"multiple IDs found with provided prefix: {bare}")
        if not matches or not os.path.lexists(f"{self.directory(matches[0])}/state.json"):
            raise NotFound(f"No such container: {reference}")
        return matches[0]


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(fd, 1 << 16)
        while more := os.read(fd, 1 << 20):
            content += more
        return content
    finally:
        os.close(fd)


def _overwrite(path: str, content: bytes, reason: OSError) -> None:
    """Replace what is in a file, in the block that it has: for want of another one. It is one write(2), and
    the rest of the old content becomes white space, which JSON does not mind."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise reason from None
    try:
        content = content.ljust(os.fstat(fd).st_size)
        if len(content) > _BLOCK:
            raise reason
        os.pwrite(fd, content, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace(directory: str, name: str, content: bytes, durable: bool) -> None:
    """Write, fsync, rename, fsync of the directory; without the two fsyncs when nothing has to survive."""
    path = f"{directory}/{name}"
    temporary = f"{path}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        if durable:
            os.fsync(fd)
        os.rename(temporary, path)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    if durable:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
