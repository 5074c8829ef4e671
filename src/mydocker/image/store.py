"""Images: names and ids, what they stand for, and when what they are made of may go.

    <root>/image/   an OCI layout; index.json has a descriptor for each name, and for each image without one.
                    Names are full: ``docker.io/library/alpine:3.20``, or, for what it was pulled or pushed
                    as, ``docker.io/library/alpine@sha256:…``; that digest may be of an index, while the
                    descriptor is always of a manifest, that of this image
    <root>/layer/   the unpacked layers, see ``layers``
    <root>/image/lock       guards index.json between reading and replacing it
    <root>/image/use.lock   shared by whoever takes blobs in or relies on an image that nothing names yet,
                            exclusive for garbage collection

The id of an image is the digest of its configuration, as in Docker. An image is complete before index.json
names it, and unnamed before anything of it is removed; so after a SIGKILL anywhere there is at most garbage.
Whoever may make some leaves a note in ``ingest/`` first; the next load or removal that finds a note, and
nobody else at work, collects (``garbage``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from .. import errors
from ..archive.compression import Limits
from ..content import files
from ..content.lock import Lock
from ..content.store import ContentStore
from ..oci import descriptor as descriptors
from ..oci import digest as digests
from ..oci import reference as references
from . import platforms
from .documents import Descriptor, ImageConfig, Index, Manifest, Platform, decode, encode
from .layers import LayerStore

if TYPE_CHECKING:
    from . import commit as committing
    from . import importing
    from . import load as loading

_T = TypeVar("_T")

MAX_LAYERS = 500
"""overlayfs takes 500 lower directories (OVL_MAX_STACK in fs/overlayfs/params.h)"""


@dataclass(frozen=True)
class Use:
    """A container that was made from an image."""

    image: str
    container: str
    running: bool
    chain: Sequence[str] = ()
    """the chain ids of the layers that it stands on, which stay whatever becomes of the image"""


@dataclass(frozen=True)
class Removal:
    """One line of what ``rmi`` did: exactly one of the two is set."""

    untagged: str = ""
    deleted: str = ""


class Image:
    """What a reference stands for at the moment it was resolved."""

    __slots__ = ("_store", "config", "digest", "id", "media_type", "names", "raw")

    def __init__(
        self, store: ImageStore, id: str, manifest: Descriptor, raw: bytes, names: Sequence[str]
    ) -> None:
        self._store = store
        self.id = id
        """``sha256:…`` of the configuration"""
        self.digest = manifest.digest
        """of the manifest"""
        self.media_type = manifest.media_type
        """of the manifest"""
        self.raw = raw
        """the configuration as it is stored"""
        self.config = decode(ImageConfig, raw, f"configuration of image {id}")
        self.names = names
        """full names of both kinds"""

    @property
    def repo_tags(self) -> list[str]:
        """Familiar names with a tag, ``alpine:3.20``."""
        return sorted(_familiar(name) for name in self.names if "@" not in name)

    @property
    def repo_digests(self) -> list[str]:
        """Familiar names with a digest, ``alpine@sha256:…``."""
        return sorted(_familiar(name) for name in self.names if "@" in name)

    @property
    def chain(self) -> list[str]:
        """Chain ids, bottom first."""
        return digests.chain_ids(self.config.rootfs.diff_ids)

    @property
    def layers(self) -> list[str]:
        """The directories of its layers, top first."""
        return [self._store.layers.diff(chain_id) for chain_id in reversed(self.chain)]

    @property
    def lowers(self) -> list[str]:
        """What overlayfs wants: the init layer, then ``layers``."""
        chain = self.chain
        return [self._store.layers.init(chain[-1]), *self.layers] if chain else []

    @property
    def size(self) -> int:
        """Bytes in the files of all its layers; NotFound if it has been removed since."""
        return sum(self.layer_sizes)

    @property
    def layer_sizes(self) -> list[int]:
        """Bytes in the files of each layer, bottom first; NotFound if it has been removed since."""
        try:
            return [self._store.layers.size(chain_id) for chain_id in self.chain]
        except errors.NotFound as error:
            if self.digest not in self._store.manifests():
                raise _no_such_image(self.id) from error
            raise _damaged(error) from error

    @property
    def platform(self) -> Platform:
        config = self.config
        return platforms.normalise(
            Platform(os=config.os or "linux", architecture=config.architecture, variant=config.variant)
        )

    @property
    def created(self) -> str:
        """RFC 3339; Docker's zero time when the image does not say."""
        return self.config.created or "0001-01-01T00:00:00Z"

    def __repr__(self) -> str:
        return f"Image({self.id}, {list(self.names)})"


class ImageStore:
    """All images below the data root of an engine."""

    def __init__(
        self, root: str, limits: Limits | None = None, used: Callable[[], Collection[Use]] = tuple
    ) -> None:
        """``used`` lists the containers that exist, running or not; it is called under a lock."""
        self.used = used
        self.content = ContentStore(os.path.join(root, "image"))
        self.layers = LayerStore(os.path.join(root, "layer"), limits)
        self._lock = os.path.join(self.content.root, "lock")
        self.use_lock = os.path.join(self.content.root, "use.lock")

    # Reading

    def _index(self) -> Index:
        try:
            with open(self.content.index, "rb", buffering=0) as file:
                data = file.read()
        except FileNotFoundError:
            return Index()
        return decode(Index, data, self.content.index)

    def _image_id(self, manifest: str) -> str:
        return decode(Manifest, self._document(manifest), f"manifest {manifest}").config.digest

    def _document(self, digest: str) -> bytes:
        """A manifest or configuration that an image must have."""
        try:
            return self.content.read(digest)
        except errors.NotFound as error:
            raise _damaged(error) from error

    def _config(self, image_id: str) -> ImageConfig:
        return decode(ImageConfig, self.content.read(image_id), f"configuration of image {image_id}")

    def _by_id(self, index: Index) -> dict[str, tuple[Descriptor, ...]]:
        """Descriptors by the image they lead to, in the order of the index."""
        found: dict[str, tuple[Descriptor, ...]] = {}
        for entry in index.manifests:
            id = self._image_id(entry.digest)
            found[id] = (*found.get(id, ()), entry)
        return found

    def _image(self, id: str, entries: Sequence[Descriptor]) -> Image:
        names = sorted(name for entry in entries if (name := _name(entry)))
        return Image(self, id, entries[0], self._document(id), names)

    def _look(self, look: Callable[[Index], _T]) -> _T:
        """What ``look`` finds in the index; again, if what it misses may have been removed meanwhile."""
        while True:
            version = self._version()
            try:
                return look(self._index())
            except (errors.NotFound, errors.CorruptData):
                if version == self._version():
                    raise

    def _version(self) -> tuple[int, int] | None:
        """Differs from before whenever index.json has been replaced."""
        try:
            status = os.stat(self.content.index)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns

    def list(self) -> Sequence[Image]:
        """Every image, the newest first; those without a name have no ``repo_tags``."""
        self.initialise()
        images = self._look(
            lambda index: [self._image(id, entries) for id, entries in self._by_id(index).items()]
        )
        return sorted(images, key=lambda image: image.created, reverse=True)

    def resolve(self, reference: str) -> Image:
        """The image that ``reference`` names: a name, an id, or the unambiguous beginning of an id.

        NotFound if there is none, InvalidArgument if it cannot be a reference or fits several ids.
        """
        return self._look(lambda index: self._find(index, reference)[0])

    def leading(self, references: Collection[str]) -> dict[str, str]:
        """The identifier of the image that each of ``references`` leads to, of those that lead to one."""
        found: dict[str, str] = {}
        with suppress(errors.CorruptData):
            index = self._index()
            for reference in references:
                with suppress(errors.NotFound, errors.InvalidArgument, errors.CorruptData):
                    found[reference] = self._find(index, reference)[0].id
        return found

    def _find(self, index: Index, reference: str) -> tuple[Image, str]:
        """The image, and the full name if it was found by name (empty if by id)."""
        encoded = digests.encoded(reference) if reference.startswith("sha256:") else reference
        if encoded == reference and not (len(encoded) == 64 and digests.is_hex(encoded)):
            parsed = references.parse(reference)
            wanted = parsed.canonical() if parsed.digest else str(parsed.tagged())
            for entry in index.manifests:
                if _name(entry) == wanted or (
                    entry.digest == parsed.digest and _repository(entry) == parsed.name
                ):
                    # all names of an image lead to one manifest, so no other one need be read
                    entries = [other for other in index.manifests if other.digest == entry.digest]
                    image = self._image(self._image_id(entry.digest), entries)
                    return image, wanted if wanted in image.names else ""
        if digests.is_hex(encoded):
            by_id = self._by_id(index)
            found = [id for id in by_id if digests.encoded(id).startswith(encoded)]
            if len(found) > 1:
                raise errors.InvalidArgument(f"ambiguous image id: {reference} (it begins {len(found)} ids)")
            if found:
                return self._image(found[0], by_id[found[0]]), ""
        raise _no_such_image(reference)

    # Writing

    def initialise(self) -> None:
        """Make the directories and files that an empty store has."""
        if not self.content.initialised:
            os.makedirs(self.content.root, exist_ok=True)
            with Lock(self.use_lock, shared=True):  # else somebody might sweep what is being written
                self.layers.initialise()
                self.content.initialise()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Nothing that is here now is removed inside of the ``with`` block.

        For whoever resolves an image and is about to write down that it is in use.
        """
        self.initialise()
        with Lock(self.use_lock, shared=True):
            yield

    @contextmanager
    def ingest(self) -> Iterator[None]:
        """Around anything that takes blobs in: an error in it leaves nothing of them."""
        from . import garbage

        self.initialise()
        garbage.collect_if_noted(self)
        try:
            with Lock(self.use_lock, shared=True):
                note = self.content.note()
                yield
                self.content.forget(note)
        finally:
            garbage.collect_if_noted(self)

    def locked(self, *, shared: bool = False) -> Lock:
        """For ``with``: index.json does not change but through the holder; ``shared``: not at all.

        Removals decide under this lock. So who resolves an image and writes down that it is in use, both
        inside of one shared hold, cannot have it removed in between.
        """
        return Lock(self._lock, shared=shared)

    def find(self, reference: str) -> tuple[Image, str]:
        """The image, and the full name if it was named by one."""
        return self._find(self._index(), reference)

    def entries(self) -> Sequence[Descriptor]:
        """The descriptors in index.json, each with one name or none. CorruptData if it cannot be read."""
        return self._index().manifests

    def named_entries(self) -> Sequence[tuple[Descriptor, str]]:
        """The descriptors in index.json that have names, with these."""
        return [(entry, name) for entry in self._index().manifests if (name := _name(entry))]

    def manifest(self, image: Image) -> Manifest:
        return self.manifest_of(image.digest)

    def manifest_of(self, digest: str) -> Manifest:
        return decode(Manifest, self.content.read(digest), f"manifest {digest}")

    def manifests(self) -> Sequence[str]:
        """The digests of all manifests that index.json names."""
        return [entry.digest for entry in self._index().manifests]

    def drop(self, manifest: str) -> None:
        """Take everything out of index.json that leads to a manifest, which need not be readable.

        The caller holds ``locked()``.
        """
        self._write_index([entry for entry in self._index().manifests if entry.digest != manifest], [])

    def names(self) -> Sequence[str]:
        """All names in index.json, in full."""
        return [name for entry in self._index().manifests if (name := _name(entry))]

    def unname(self, image: Image, names: set[str], *, drop: bool) -> None:
        """Take ``names`` off; with ``drop`` the image leaves the index, else it stays, if need be nameless.

        The caller holds ``locked()``.
        """
        entries = self._index().manifests
        if drop:
            left = [entry for entry in entries if self._image_id(entry.digest) != image.id]
        else:
            left = _without_names(entries, names)
        self._write_index(left, [])

    def commit(self, manifest: Manifest, names: Sequence[str]) -> str:
        """Name an image whose blobs and layers are all here; return its id.

        With none of ``names``, the image stays without a name. An image that had one of the names keeps its
        other names, or becomes one without.
        """
        data = encode(manifest)
        return self.commit_raw(data, manifest.media_type, manifest.config.digest, names)

    def commit_raw(self, data: bytes, media_type: str, image_id: str, names: Sequence[str]) -> str:
        """The same for a manifest as it stands. An image that is here already keeps the manifest it has."""
        digest = self.content.add(data)
        chain = digests.chain_ids(self._config(image_id).rootfs.diff_ids)
        if chain and all(map(self.layers.has, chain)):
            self.layers.make_init(chain[-1])
        with Lock(self._lock):
            entries = self._index().manifests
            same = [entry for entry in entries if self._image_id(entry.digest) == image_id]
            template = same[0] if same else Descriptor(media_type=media_type, digest=digest, size=len(data))
            fresh = [_named(template, name) for name in names]
            if not fresh and not same:
                fresh = [_named(template, "")]
            if fresh:
                self._write_index(_without_names(entries, set(names)), fresh)
        return image_id

    def name(self, image_id: str, names: Sequence[str]) -> None:
        """Give more names to an image that is here; NotFound if it is not, as a whole."""
        with Lock(self._lock):
            entries = self._index().manifests
            same = [entry for entry in entries if self._image_id(entry.digest) == image_id]
            if not same:
                raise _no_such_image(image_id)
            self._write_index(_without_names(entries, set(names)), [_named(same[0], name) for name in names])

    def replace_manifest(self, image_id: str, data: bytes, media_type: str) -> None:
        """Have all names of an image lead to another manifest, whose blobs are all here.

        What only the old one had is garbage: the caller holds ``ingest()``.
        """
        digest = self.content.add(data)
        with Lock(self._lock):
            new = Descriptor(media_type=media_type, digest=digest, size=len(data))
            entries = [
                _named(new, _name(entry)) if self._image_id(entry.digest) == image_id else entry
                for entry in self._index().manifests
            ]
            self.content.note()
            self._write_index(entries, [])

    def _write_index(self, entries: Sequence[Descriptor], fresh: Sequence[Descriptor]) -> None:
        """Replace index.json; a descriptor without a name goes when the image has one with a name."""
        every = [*entries, *fresh]
        named = {entry.digest for entry in every if _name(entry)}
        kept: dict[tuple[str, str], Descriptor] = {}
        for entry in every:
            if _name(entry) or entry.digest not in named:
                kept[entry.digest, _name(entry)] = entry
        files.replace(self.content.index, encode(Index(manifests=list(kept.values()))))

    def tag(self, reference: str, name: str) -> None:
        """Give the image ``reference`` another name."""
        wanted = str(references.parse_tagged(name))
        with self.hold(), Lock(self._lock):
            index = self._index()
            image, _ = self._find(index, reference)
            template = next(entry for entry in index.manifests if entry.digest == image.digest)
            self._write_index(_without_names(index.manifests, {wanted}), [_named(template, wanted)])

    def load(
        self, given: str | int, progress: loading.Progress | None = None, platform: str = ""
    ) -> Sequence[str]:
        """Load every image of an archive, see ``load``; the lines that ``docker load`` prints."""
        from . import load

        return load.load(self, given, progress, platform)

    def import_(self, stream: str | int | importing.Download, reference: str = "", *,
                changes: Collection[str] = (), message: str = "", platform: str = "") -> str:  # fmt: skip
        """Make an image of one layer from the tar of a root file system; return its id."""
        from .importing import import_

        return import_(self, stream, reference, changes=changes, message=message, platform=platform)

    def commit_layer(self, parent: str, write: committing.Write, about: committing.About,
                     names: Sequence[str] = ()) -> str:  # fmt: skip
        """Make an image of the image ``parent`` and one more layer, see ``commit``; return its id."""
        from . import commit

        return commit.commit(self, parent, write, about, names)

    def ensure_layers(self, image: Image) -> None:
        """Unpack those of its layers that are in their blobs only, so that a container can stand on it.

        The caller holds the store (``hold``).
        """
        from . import ensure

        ensure.ensure_layers(self, image)

    def save(self, references: Sequence[str], descriptor: int, platform: str = "") -> None:
        """Write images as one archive to a descriptor, see ``save``."""
        from . import save

        save.save(self, references, descriptor, platform)

    def remove(self, reference: str, *, force: bool = False) -> Sequence[Removal]:
        """What ``docker rmi`` does: take a name away, and with the last one the image.

        Conflict, in Docker's words, if a container stands in the way.
        """
        from . import removal

        return removal.remove(self, reference, force=force)


def _no_such_image(reference: str) -> errors.ImageNotFound:
    return errors.ImageNotFound(f"no such image: {reference} (pull it, or load an archive)")


def _damaged(error: errors.NotFound) -> errors.CorruptData:
    return errors.CorruptData(
        f"an image is damaged: {error} (`mydocker system check` tells which, and what can be done)"
    )


def _name(entry: Descriptor) -> str:
    return (entry.annotations or {}).get(descriptors.CONTAINERD_NAME, "")


def _familiar(name: str) -> str:
    return references.parse(name).familiar()


def _repository(entry: Descriptor) -> str:
    name = _name(entry)
    return references.parse(name).name if name else ""


def _named(template: Descriptor, name: str) -> Descriptor:
    annotations = {descriptors.CONTAINERD_NAME: name, descriptors.REF_NAME: name} if name else None
    return Descriptor(
        media_type=template.media_type, digest=template.digest, size=template.size, annotations=annotations
    )


def _without_names(entries: Sequence[Descriptor], names: set[str]) -> list[Descriptor]:
    """The entries, those with one of ``names`` left nameless."""
    return [_named(entry, "") if _name(entry) in names else entry for entry in entries]
