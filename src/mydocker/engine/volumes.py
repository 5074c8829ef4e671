"""``Engine.volumes``: the collection, and one volume as an object that does things."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..archive.compression import Limits, inflated
from ..archive.diff import pack
from ..archive.extract import extract
from ..archive.stream import Stream
from ..archive.write import Writer
from ..container import events, volumes
from ..container.reconcile import reconcile
from ..container.store import Store
from ..content import files
from ..errors import Conflict, NotFound
from ..image import filters as filtering
from ..image.sources import descriptor_chunks
from ..linux.filesystem import syncfs
from ..linux.tree import opened_directory
from ..snapshot.usage import usage
from ..volume.clone import clone
from ..volume.store import Volume as Document
from ..volume.store import VolumeStore, check_driver, check_name
from .target import opened

_FILTERS = frozenset(("dangling", "driver", "label", "name"))
_PRUNING = frozenset(("all", "label", "label!"))


@dataclass(frozen=True)
class VolumesPruned:
    names: Sequence[str]
    reclaimed: int
    """bytes on disk"""


class Volume:
    """A reference: its document, which does not change but by ``rename``."""

    def __init__(self, store: Store, document: Document) -> None:
        self._store = store
        self.document = document

    def __repr__(self) -> str:
        return f"<Volume {self.name}>"

    @property
    def name(self) -> str:
        return self.document.name

    @property
    def mountpoint(self) -> str:
        return self.document.mountpoint

    def containers(self) -> list[str]:
        """Identifiers of the containers that have it, whether they run or not."""
        return volumes.users(self._store).get(self.name, [])

    def inspect(self) -> dict[str, Any]:
        """Docker's ``GET /volumes/{name}``."""
        shown: dict[str, Any] = msgspec.to_builtins(self.document)
        return shown

    def remove(self) -> None:
        """With what is in it. ``Conflict`` if a container has it."""
        reconcile(self._store)
        volumes.remove(self._store, self.name)

    def rename(self, name: str) -> None:
        """``Conflict`` if a container has it, or another volume the name."""
        reconcile(self._store)
        self.document = volumes.rename(self._store, self.name, name)

    def clone(self, name: str, labels: Mapping[str, str] | None = None) -> Volume:
        """A new volume with a copy of its files, which shares their blocks where the file system can.

        It has its labels too, but not its options: the files are the new volume's own. Nothing keeps
        containers from changing them meanwhile. ``Conflict`` if the name is taken.
        """
        check_name(name)
        own = {} if self.document.anonymous else self.document.labels or {}
        with volumes.files_of(self._store, self.document) as found:

            def fill(data: int) -> None:
                clone(found.top, data)
                found.check()
                syncfs(data)

            made = VolumeStore(self._store.root).create(name, labels={**own, **(labels or {})}, fill=fill)
        volumes.tell(self._store, "create", name)
        return Volume(self._store, made)

    def export(self, target: str | int) -> None:
        """Write its files as a tar, at a path or to a descriptor."""
        with opened(target) as descriptor, volumes.files_of(self._store, self.document) as found:
            writer = Writer(lambda piece: files.write_all(descriptor, piece))
            with opened_directory(".", dir_fd=found.top) as directory:
                pack(directory, writer, whiteouts=False, top=True)
            found.check()
            writer.finish()

    def import_(self, source: str | int | Iterable[bytes]) -> None:
        """Add the files of a tar, compressed or not; those of the same name are replaced."""
        with volumes.files_of(self._store, self.document) as found:
            _unpack(source, found.top)
            found.check()
            with opened_directory(".", dir_fd=found.top) as directory:
                syncfs(directory)


class Volumes:
    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Volume:
        """Make a volume, without a name an anonymous one; one that is there already is returned as it is.

        ``options`` are those of the driver (``volume/local.py``). Raises ``InvalidArgument``.
        """
        if name:
            check_name(name)
        check_driver(name, driver)
        volumes_on_disk = VolumeStore(self._store.root)
        if name in volumes_on_disk.names():
            return self.get(name)
        try:
            made = volumes_on_disk.create(name, labels=labels, options=options)
        except Conflict:
            return self.get(name)  # somebody was faster
        volumes.tell(self._store, "create", made.name)
        return Volume(self._store, made)

    def import_(
        self, name: str, source: str | int | Iterable[bytes], labels: Mapping[str, str] | None = None
    ) -> Volume:
        """Make a volume with the files of a tar: it is there when they all are. ``Conflict`` if it exists."""
        check_name(name)

        def fill(data: int) -> None:
            _unpack(source, data)
            syncfs(data)

        made = VolumeStore(self._store.root).create(name, labels=labels, fill=fill)
        volumes.tell(self._store, "create", name)
        return Volume(self._store, made)

    def get(self, name: str) -> Volume:
        return Volume(self._store, VolumeStore(self._store.root).get(name))

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[Volume]:
        """By name. Filters are Docker's; ``dangling``: whether no container has it."""
        chosen = filters or {}
        filtering.check(chosen, _FILTERS)
        reconcile(self._store)
        dangling = filtering.truth(chosen)
        found = [
            volume
            for volume in self._every()
            if all(_matches(volume, key, values) for key, values in chosen.items())
        ]
        if dangling is None:
            return found
        users = volumes.users(self._store)
        return [volume for volume in found if (volume.name not in users) == dangling]

    def _every(self) -> Sequence[Volume]:
        found = []
        for name in VolumeStore(self._store.root).names():
            try:
                found.append(self.get(name))
            except NotFound:
                continue  # removed meanwhile
        return found

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> VolumesPruned:
        """Remove the anonymous volumes that no container has; with the filter ``all`` those with names too.

        Those with options stay: their files may be elsewhere, and no room would be won. Other filters are
        ``label`` and ``label!``.
        """
        chosen = filters or {}
        filtering.check(chosen, _PRUNING)
        every = _all(chosen)
        reconcile(self._store)
        VolumeStore(self._store.root).tidy()
        removed, freed = [], 0
        used = volumes.users(self._store)
        for volume in self._every():
            labels = volume.document.labels
            if volume.name in used or not (every or volume.document.anonymous):
                continue
            if volume.document.options or not filtering.labelled(labels, chosen):
                continue
            size = usage(volume.mountpoint)
            if volumes.remove_unused(self._store, volume.name):
                removed.append(volume.name)
                freed += size
        events.pruned(self._store, "volume", freed)
        return VolumesPruned(removed, freed)


def _unpack(source: str | int | Iterable[bytes], directory: int) -> None:
    if isinstance(source, str):
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _unpack(descriptor, directory)
        finally:
            os.close(descriptor)
        return
    chunks = descriptor_chunks(source) if isinstance(source, int) else source
    plain = inflated(iter(chunks), Limits(), "the archive")
    extract(Stream(plain), directory, b"", "the archive", owners=True, top=True)


def _all(filters: Mapping[str, Sequence[str]]) -> bool:
    return filtering.truth({"dangling": filters["all"]}) is True if "all" in filters else False


def _matches(volume: Volume, key: str, values: Sequence[str]) -> bool:
    if key == "driver":
        return volume.document.driver in values
    if key == "label":
        return filtering.labelled(volume.document.labels, {"label": values})
    if key == "name":
        return any(filtering.pattern(key, value).search(volume.name) for value in values)
    return True
