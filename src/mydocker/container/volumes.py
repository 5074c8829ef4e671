"""The volumes of containers: chosen and named before they are made, filled from the image, shared, removed.

    chosen   when a container is created; from then on until its record is written nobody takes volumes away
    made     after the record is there, which names them: a SIGKILL leaves nothing that nobody knows of
    opened   at each start, if a volume is no plain directory: a part of one, or one with options
    removed  when no record names it; the anonymous ones with their last container, if so asked

A file system of its own (tmpfs, a device) is mounted by the first container that has it. The others are given
the same mount by one of those that run, so all see the same files, and it ends with the last of them. Who
starts a container with one holds a lock until that container can be asked by others:

    <state>/volume/<name>   flock; device and inode of the root of the file system, and its identifier

Out of scope: how a volume lies on disk (``volume/``).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import msgspec

from ..errors import Conflict, CorruptData, InvalidArgument, NotFound, NotSupported
from ..linux import mount, path
from ..runtime.borrow import borrow
from ..volume import local
from ..volume.store import Volume, VolumeStore
from . import events, mounts
from .config import Config, HostConfig
from .document import OPENED
from .record import MountPoint, Record
from .store import Store

_ANY = os.O_PATH | os.O_CLOEXEC


def users(store: Store, *, every: bool = False) -> dict[str, list[str]]:
    """Volume -> the containers that have it, those that are being created included.

    ``every``: raise ``CorruptData`` for a container whose record cannot be read, for it may have any.
    """
    found: dict[str, list[str]] = {}
    for identifier in store.ids():
        try:
            record = store.read_record(identifier)
        except NotFound:
            continue
        except CorruptData:
            if every:
                raise
            continue
        for name in {point.name for point in record.mounts if point.type == "volume"}:
            found.setdefault(name, []).append(identifier)
    return found


# -- creating


def choose(store: Store, config: Config, host: HostConfig) -> tuple[list[MountPoint], list[str]]:
    """The mount points, volumes with name and source; and which of the volumes nobody has named.

    To be called while ``VolumeStore.holding``. Raises ``InvalidArgument``, ``NotFound`` in Docker's words.
    """
    inherited: list[MountPoint] = []
    theirs: set[str] = set()
    for text in host.volumes_from or ():
        container, access = mounts.parse_volumes_from(text)
        other = store.read_record(store.resolve(container))
        inherited += mounts.inherited(other.mounts, other.host_config, access)
        theirs.update(other.anonymous_volumes)
    volumes = VolumeStore(store.root)
    result: list[MountPoint] = []
    anonymous: list[str] = []
    for point in mounts.mount_points(config, host, inherited):
        if point.type == "volume" and not point.source:
            name = point.name or volumes.new_name()
            if not point.name or name in theirs:
                anonymous.append(name)
            point = msgspec.structs.replace(point, name=name, source=volumes.path(name))
        elif point.name in theirs:
            anonymous.append(point.name)
        result.append(point)
    return result, anonymous


def create(store: Store, record: Record) -> None:
    """Make those that there are not yet, and have them begin with what the image has."""
    volumes = VolumeStore(store.root)
    for point in record.mounts:
        if point.type == "volume":
            _create(store, volumes, record, point)


def _create(store: Store, volumes: VolumeStore, record: Record, point: MountPoint) -> None:
    try:
        volume = volumes.get(point.name)
    except NotFound:
        named = point.name not in record.anonymous_volumes
        fills = point.copy_up and not local.has_source(point.volume_options)
        try:
            volume = volumes.create(
                point.name,
                anonymous=not named,
                labels=point.volume_labels,
                options=point.volume_options,
                fill=(lambda data: volumes.fill(data, record.layers, point.destination)) if fills else None,
            )
        except Conflict:
            volume = volumes.get(point.name)  # somebody was faster
        else:
            tell(store, "create", point.name)
            if fills:
                return
    if point.copy_up and local.is_lasting(volume.options or {}):
        volumes.populate(point.name, record.layers, point.destination)


def tell(store: Store, action: str, name: str) -> None:
    events.emit(store, "volume", action, name, {"driver": "local"})


# -- removing


def remove_anonymous(store: Store, record: Record) -> None:
    """Of a container that is being removed: those that there are and that no other container has."""
    if not any(point.type == "volume" for point in record.mounts):
        return
    with VolumeStore(store.root).removing() as take_away:
        if not record.anonymous_volumes:
            return  # but what it may have begun to make is gone
        try:
            others = users(store, every=True)
        except CorruptData:
            return  # they stay: ``volume ls --filter dangling`` lists them when nobody has them
        for name in record.anonymous_volumes:
            if not set(others.get(name, ())) - {record.id}:
                _take(store, name, take_away)


def remove(store: Store, name: str) -> None:
    """``NotFound``, or ``Conflict`` if a container has it."""
    volumes = VolumeStore(store.root)
    with volumes.removing() as take_away:
        if name not in volumes.names():
            volumes.get(name)  # which says so; of one that is there, the document may be damaged
        _unused(store, "remove", name)
        _take(store, name, take_away)


def remove_unused(store: Store, name: str) -> bool:
    """The same, but no error if it is in use, or gone; whether it was removed."""
    try:
        remove(store, name)
    except (Conflict, NotFound):
        return False
    return True


def rename(store: Store, name: str, new: str) -> Volume:
    """``NotFound``, ``Conflict`` if a container has it or the new name is taken."""
    volumes = VolumeStore(store.root)
    with volumes.changing():
        volumes.get(name)
        _unused(store, "rename", name)
        renamed = volumes.rename(name, new)
        with suppress(FileNotFoundError):
            os.unlink(_note(store, name))
        return renamed


def _unused(store: Store, verb: str, name: str) -> None:
    try:
        found = users(store, every=True).get(name)
    except CorruptData as error:
        raise CorruptData(f"{verb} {name}: who has it cannot be told ({error}); see system check") from error
    if found:
        raise Conflict(f"{verb} {name}: volume is in use - [{', '.join(sorted(found))}]")


def _take(store: Store, name: str, take_away: Callable[[str], bool]) -> None:
    if take_away(name):
        tell(store, "destroy", name)
    with suppress(FileNotFoundError):
        os.unlink(_note(store, name))


# -- starting


def opened(store: Store, record: Record) -> list[str]:
    """The destinations of those of its volumes that are more than a directory to bind."""
    volumes = VolumeStore(store.root)
    return [
        point.destination
        for point in record.mounts
        if point.type == "volume" and (point.sub_path or volumes.get(point.name).options)
    ]


@contextmanager
def trees(store: Store, identifier: str, spec: Mapping[str, Any]) -> Iterator[None]:
    """While a container is started: its document's mounts that are to be opened have their descriptors."""
    wanted = [entry for entry in spec["mounts"] if entry.get("type") == OPENED]
    if not wanted:
        yield
        return
    record = store.read_record(identifier)
    points = {point.destination: point for point in record.mounts}
    with opening(store, identifier) as until_started:
        # in one order, so that two who start wait for each other in no circle
        for entry in sorted(wanted, key=lambda entry: points[entry["destination"]].name):
            entry["source"] = str(until_started.tree(points[entry["destination"]]))
        yield


@contextmanager
def opening(store: Store, identifier: str = "") -> Iterator[Opening]:
    """For the ``with`` block; ``identifier``: of the container that opens them."""
    with ExitStack() as held:
        yield Opening(store, identifier, held)


class Opening:
    """Opens volumes and keeps their descriptors; for a container that starts, the locks on those with a file
    system of their own as well."""

    def __init__(self, store: Store, identifier: str, held: ExitStack) -> None:
        self._store = store
        self._id = identifier
        self._held = held
        self._shared: dict[str, int] = {}

    def tree(self, point: MountPoint) -> int:
        """A descriptor of a mount of what ``point`` says, attached nowhere."""
        tree = self._open(VolumeStore(self._store.root).get(point.name), point.sub_path)
        self._held.callback(os.close, tree)
        return tree

    def whole(self, volume: Volume) -> int:
        """The same, of all of a volume."""
        tree = self._open(volume, "")
        self._held.callback(os.close, tree)
        return tree

    def _open(self, volume: Volume, sub_path: str) -> int:
        options = volume.options or {}
        if not local.has_source(options):
            return _part(volume, volume.mountpoint, sub_path)
        if not local.is_bind(options):
            return self._mounted(volume, sub_path)
        tree = local.open_tree(options, volume.mountpoint)
        if not sub_path:
            return tree
        os.close(tree)
        part = _part(volume, options["device"], sub_path, recursive=local.is_recursive(options))
        try:
            local.apply_attributes(options, part)
        except BaseException:
            os.close(part)
            raise
        return part

    def _mounted(self, volume: Volume, sub_path: str) -> int:
        """Of a volume with a file system of its own."""
        if sub_path and not local.is_lasting(volume.options or {}):
            raise InvalidArgument(
                f"volume {volume.name}: volume-subpath is not for file systems in memory: it would be empty"
            )
        if volume.name not in self._shared:
            whole = self._shared[volume.name] = self._common(volume)
            if not sub_path:
                return whole
            self._held.callback(os.close, whole)
        try:
            return _part(volume, f"/proc/self/fd/{self._shared[volume.name]}", sub_path)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            raise NotSupported(
                f"volume {volume.name}: kernels before 6.15 cannot mount a part of its file system, nor have "
                "it at two places of one container"
            ) from error

    def _common(self, volume: Volume) -> int:
        """The mount that running containers have, or a new one if none does."""
        with ExitStack() as briefly:
            return self._found(volume, self._lock(volume.name, self._held if self._id else briefly))

    def _found(self, volume: Volume, note: int) -> int:
        options = volume.options or {}
        known = os.pread(note, 64, 0).decode()
        for pid, destination in self._holders(volume.name):
            with suppress(NotFound):  # it has just ended, or has unmounted it
                tree = borrow(pid, destination, recursive=False)
                if _identity(tree) == known:
                    mount.mount_setattr(tree, clear=mount.MOUNT_ATTR_RDONLY)  # it may have it read-only
                    local.apply_attributes(options, tree)
                    return tree
                os.close(tree)
        tree = local.open_tree(options, volume.mountpoint)
        if self._id:  # it lasts as long as the container
            os.ftruncate(note, 0)
            os.pwrite(note, _identity(tree).encode(), 0)
        return tree

    def _lock(self, name: str, held: ExitStack) -> int:
        place = _note(self._store, name)
        os.makedirs(os.path.dirname(place), 0o700, exist_ok=True)
        note = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        held.callback(os.close, note)
        fcntl.flock(note, fcntl.LOCK_EX)
        # init is a fork, and has a descriptor of it until it executes its program
        held.callback(fcntl.flock, note, fcntl.LOCK_UN)
        return note

    def _holders(self, name: str) -> Iterator[tuple[int, str]]:
        """Running containers that have a volume: the process to ask, and where it is there."""
        for identifier in self._store.worked_on():
            if identifier == self._id:
                continue
            try:
                record, state = self._store.read_record(identifier), self._store.read_state(identifier)
            except (NotFound, CorruptData):
                continue
            if state.running and state.pid and self._store.held(identifier):
                for point in record.mounts:
                    if point.type == "volume" and point.name == name and not point.sub_path:
                        yield state.pid, point.destination


def _part(volume: Volume, directory: str, sub_path: str, *, recursive: bool = True) -> int:
    """Links in the volume are followed as long as they stay in it: its files are a container's."""
    top = os.open(directory, _ANY | os.O_DIRECTORY)
    try:
        resolve = path.RESOLVE_BENEATH | path.RESOLVE_NO_MAGICLINKS
        found = path.openat2(top, sub_path, _ANY, 0, resolve) if sub_path else os.dup(top)
    except OSError as error:
        reason = (
            "path escapes from the volume" if error.errno == errno.EXDEV else (error.strerror or "").lower()
        )
        raise NotFound(f"cannot access path {volume.mountpoint}/{sub_path}: {reason}") from error
    finally:
        os.close(top)
    flags = mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH | (mount.AT_RECURSIVE if recursive else 0)
    try:
        return mount.open_tree("", flags, found)
    finally:
        os.close(found)


def _note(store: Store, name: str) -> str:
    return f"{store.state}/volume/{name}"


def _identity(tree: int) -> str:
    """Of the root of a file system: its number may be given to another one, its identifier hardly."""
    status = os.fstat(tree)
    return f"{status.st_dev}:{status.st_ino}:{os.fstatvfs(tree).f_fsid}"


class Files:
    """The files of a volume, as they are for the containers that have it now.

    ``top`` is their directory (O_PATH), on a mount of its own: containers may be at work there, and devices
    do nothing on it.
    """

    def __init__(self, volume: Volume, top: int) -> None:
        self.top = top
        self._volume = volume
        self._status = os.stat(os.path.dirname(volume.mountpoint))

    def check(self) -> None:
        """``NotFound`` if the volume has been removed: then what was read of it need not be all."""
        with suppress(FileNotFoundError):
            if os.path.samestat(os.stat(os.path.dirname(self._volume.mountpoint)), self._status):
                return
        raise NotFound(f"get {self._volume.name}: no such volume")


@contextmanager
def files_of(store: Store, volume: Volume) -> Iterator[Files]:
    with opening(store) as held:
        tree = held.whole(volume)
        mount.mount_setattr(tree, mount.MOUNT_ATTR_NODEV)
        yield Files(volume, tree)
