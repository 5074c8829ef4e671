"""Volumes on disk, named ones and anonymous ones.

    <root>/volume/                       flock: shared while a record that names volumes is being written,
                                         exclusive for who takes volumes away
    <root>/volume/<name>/_data           what the container sees
                         config.json     Docker's fields of a volume: name, labels, options, when made
                         filling, filled the image's content, on its way into ``_data``: see ``populate``
    <root>/volume/.new-…, .gone-…        being made, being removed: a flock on the directory says by whom

A volume is made beside its place and renamed into it, and renamed away before what is in it is removed: so it
is there as a whole or not at all. What a killed command has left is removed by the next one that takes a
volume away.

A container's record holds the names of its volumes before they are made, so whoever has the lock exclusively
and reads all records knows who uses what. Out of scope: reading them (``container/volumes.py``), and mounting
(``local.py``).
"""

from __future__ import annotations

import errno
import fcntl
import os
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import msgspec

from .. import errors
from ..content import files
from ..linux.descent import DIRECTORY
from ..linux.filesystem import rename_new
from ..linux.tree import opened_directory, remove_tree
from ..snapshot import lookup
from ..snapshot.attributes import copy_attributes
from ..snapshot.copy import copy_tree
from . import local

ANONYMOUS = "com.docker.volume.anonymous"
"""the label that Docker puts on those that nobody has named"""
_FIRST = frozenset(string.ascii_letters + string.digits)
_REST = _FIRST | frozenset("_.-")
_NEW, _GONE = ".new-", ".gone-"
_LONGEST = 255
"""bytes in the name of a directory, man 7 path_resolution"""


class Volume(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """``config.json``, and what ``volume inspect`` shows of it."""

    created_at: str
    driver: str = "local"
    labels: dict[str, str] | None = None
    mountpoint: str
    name: str
    options: dict[str, str] | None = None
    scope: str = "local"

    @property
    def anonymous(self) -> bool:
        return ANONYMOUS in (self.labels or {})


def check_name(name: str) -> None:
    """``InvalidArgument`` in Docker's words."""
    if len(name) == 1:
        raise errors.InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _is_name(name):
        raise errors.InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use '
            "absolute path"
        )
    if len(name) > _LONGEST:
        raise errors.InvalidArgument(f"create {name[:20]}…: a volume name has at most {_LONGEST} characters")


def _is_name(name: str) -> bool:
    return bool(name) and name[0] in _FIRST and _REST.issuperset(name)


def check_driver(name: str, driver: str) -> None:
    """``NotFound`` in Docker's words for every driver but ``local``."""
    if driver not in ("", "local"):
        raise errors.NotFound(
            f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found'
        )


class VolumeStore:
    def __init__(self, root: str) -> None:
        self.root = os.path.join(root, "volume")

    @staticmethod
    def new_name() -> str:
        """A name that no other volume has."""
        return os.urandom(32).hex()

    # -- locks

    @contextmanager
    def holding(self) -> Iterator[None]:
        """To be held from the moment when a volume is chosen until the record that names it is written."""
        os.makedirs(self.root, 0o711, exist_ok=True)
        with _held(self.root, fcntl.LOCK_SH):
            yield

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody begins to use a volume meanwhile."""
        os.makedirs(self.root, 0o711, exist_ok=True)
        with _held(self.root, fcntl.LOCK_EX):
            self._tidy()
            yield

    @contextmanager
    def removing(self) -> Iterator[Callable[[str], bool]]:
        """The same; the callable takes a volume away, and says whether there was one.

        What is in it is removed at the end, when others may go on.
        """
        with ExitStack() as after, self.changing():
            yield lambda name: self._take_away(name, after)
            files.sync_directory(self.root)

    def _take_away(self, name: str, after: ExitStack) -> bool:
        check_name(name)
        path = self._fresh(_GONE)
        try:
            os.rename(os.path.join(self.root, name), path)
        except FileNotFoundError:
            return False
        after.callback(os.close, _locked(path))
        after.callback(remove_tree, path)
        return True

    def _fresh(self, prefix: str) -> str:
        return f"{self.root}/{prefix}{os.urandom(8).hex()}"

    def tidy(self) -> None:
        """Remove what a killed command has left; ``OSError`` if something is in the way."""
        with self.changing():
            for path in self.leftovers():
                remove_tree(path)

    def leftovers(self) -> list[str]:
        """Directories on their way in or out that nobody works on any more."""
        found = []
        for name in self._entries():
            path = f"{self.root}/{name}"
            if name.startswith((_NEW, _GONE)) and (descriptor := _lock_now(path)) is not None:
                os.close(descriptor)
                found.append(path)
        return found

    def _tidy(self) -> None:
        """Needs the lock, without which a directory that was just made would not be locked yet.

        What cannot be removed (a mount inside) is for ``system check`` to report, and keeps nobody from
        anything.
        """
        for path in self.leftovers():
            descriptor = _lock_now(path)
            if descriptor is not None:
                with suppress(OSError):
                    remove_tree(path)
                os.close(descriptor)

    # -- reading

    def path(self, name: str) -> str:
        """The directory to mount."""
        check_name(name)
        return os.path.join(self.root, name, "_data")

    def get(self, name: str) -> Volume:
        """NotFound, in Docker's words, if there is none of that name."""
        missing = errors.NotFound(f"get {name}: no such volume")
        if not _is_name(name) or len(name) > _LONGEST:
            raise missing
        try:
            with open(os.path.join(self.root, name, "config.json"), "rb") as file:
                found = msgspec.json.decode(file.read(), type=Volume)
        except FileNotFoundError:
            raise missing from None
        except msgspec.MsgspecError as error:
            raise errors.CorruptData(f"volume {name}: config.json: {error}") from error
        return msgspec.structs.replace(found, name=name, mountpoint=self.path(name))

    def names(self) -> Sequence[str]:
        return sorted(name for name in self._entries() if not name.startswith("."))

    def _entries(self) -> list[str]:
        try:
            return os.listdir(self.root)
        except FileNotFoundError:
            return []

    # -- making

    def create(
        self,
        name: str = "",
        *,
        anonymous: bool = False,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        fill: Callable[[int], object] | None = None,
    ) -> Volume:
        """Make a volume, without a name an anonymous one; Conflict if the name is taken.

        ``fill`` is called with a descriptor of the directory that it will have, before it is there.
        """
        if anonymous or not name:
            name = name or self.new_name()
            labels = {ANONYMOUS: "", **(labels or {})}
        volume = Volume(
            name=name,
            mountpoint=self.path(name),
            labels=dict(sorted(labels.items())) if labels else None,
            options=dict(sorted(options.items())) if options else None,
            created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        local.check(name, options or {})
        try:
            document = msgspec.json.encode(volume)
        except UnicodeEncodeError as error:
            raise errors.InvalidArgument(
                f"create {name}: a label or an option is not UTF-8: {os.fsencode(error.object)!r}"
            ) from None
        with self._draft() as draft:
            data = f"{draft}/_data"
            os.mkdir(data, 0o755)
            os.chmod(data, 0o755)
            if fill is not None:
                with opened_directory(data) as directory:
                    fill(directory)
            files.replace(f"{draft}/config.json", document)
            try:
                os.rename(draft, os.path.join(self.root, name))
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                raise errors.Conflict(f"a volume with the name {name} exists already") from None
            files.sync_directory(self.root)
        return volume

    @contextmanager
    def _draft(self) -> Iterator[str]:
        path = self._fresh(_NEW)
        with self.holding():
            os.mkdir(path, 0o711)
            descriptor = _locked(path)
        try:
            os.chmod(path, 0o711)
            yield path
        finally:
            remove_tree(path)  # if it is still there, it has not become a volume
            os.close(descriptor)

    def rename(self, name: str, new: str) -> Volume:
        """Needs ``changing``, and that nobody uses it. Conflict if the new name is taken.

        It is not an anonymous one any more. Its name is that of its directory, whatever its document says.
        """
        check_name(new)
        volume = self.get(name)
        if os.path.lexists(os.path.join(self.root, new)):
            raise errors.Conflict(f"rename {name}: a volume with the name {new} exists already")
        labels = {key: value for key, value in (volume.labels or {}).items() if key != ANONYMOUS}
        renamed = msgspec.structs.replace(volume, name=new, mountpoint=self.path(new), labels=labels or None)
        files.replace(os.path.join(self.root, name, "config.json"), msgspec.json.encode(renamed))
        os.rename(os.path.join(self.root, name), os.path.join(self.root, new))
        files.sync_directory(self.root)
        return renamed

    # -- the image's content

    @staticmethod
    def fill(data: int, lowers: Sequence[str], place: str) -> None:
        """Copy what the image (``lowers``, top first) has at ``place`` into ``data``, an empty directory.

        Nothing happens if there is nothing. InvalidArgument if it is no directory.
        """
        found = lookup.resolve(lowers, place)
        if found is None:
            return
        if not found.is_directory:
            raise errors.InvalidArgument(f"cannot mount volume over existing file, file exists {place}")
        copy_tree(found, data)

    def populate(self, name: str, lowers: Sequence[str], place: str) -> None:
        """``fill`` a volume that is there, if it is still empty; of two who do that, one is second.

        It is copied beside the directory (``filling``, in the end ``filled``) and only then moved in: who was
        killed leaves a volume that is empty still, or one whose ``filled`` the next one goes on to move. What
        containers have made of it meanwhile stays as it is. Files that are elsewhere (``local.has_source``)
        are copied to where they belong: who was killed leaves those that were there by then.
        """
        volume = self.get(name)
        directory = os.path.join(self.root, name)
        descriptor = _locked(directory)
        try:
            if local.has_source(volume.options or {}):
                with local.opened(volume.options or {}, volume.mountpoint) as elsewhere:
                    if not os.listdir(elsewhere):
                        self.fill(elsewhere, lowers, place)
                return
            data, filling, filled = (f"{directory}/{part}" for part in ("_data", "filling", "filled"))
            remove_tree(filling)
            if not os.path.isdir(filled):
                if os.listdir(data) or lookup.resolve(lowers, place) is None:
                    return
                os.mkdir(filling, 0o755)
                with opened_directory(filling) as made:
                    self.fill(made, lowers, place)
                os.rename(filling, filled)
            with opened_directory(filled) as source, opened_directory(data) as target:
                _move(source, target)
            os.rename(filled, filling)
            remove_tree(filling)
        finally:
            os.close(descriptor)


def _move(source: int, target: int) -> None:
    """What is in a directory, and its looks while nobody has put anything into the other."""
    status = os.fstat(source)
    fresh = not os.listdir(target)
    if fresh:
        copy_attributes(source, status, target)
    for entry in os.listdir(source):
        with suppress(FileExistsError):
            rename_new(entry, source, target)
    if fresh:
        os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


@contextmanager
def _held(path: str, operation: int) -> Iterator[None]:
    descriptor = _locked(path, operation)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(path: str, operation: int = fcntl.LOCK_EX) -> int:
    """A descriptor of a directory with a flock on it, which goes when it is closed."""
    descriptor = os.open(path, DIRECTORY)
    try:
        fcntl.flock(descriptor, operation)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock_now(path: str) -> int | None:
    """The same, or nothing if somebody else has it or it is gone."""
    try:
        descriptor = os.open(path, DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
