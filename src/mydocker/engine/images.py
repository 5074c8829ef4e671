"""``Engine.images``: the image store, with what only the engine knows: which images containers stand on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..container import events
from ..container.reconcile import sweep
from ..container.store import Store
from ..errors import ImageNotFound, InvalidArgument, NotFound
from ..image import filters as filtering
from ..image import history, platforms, reservations
from ..image.documents import Platform
from ..image.layers import chain_of
from ..image.load import Progress
from ..image.progress import Progress as Message
from ..image.progress import Report, ignore
from ..image.prune import Pruned, prune
from ..image.store import Image, ImageStore, Removal, Use
from ..oci import reference as references
from ..oci.reference import Reference
from .target import opened

if TYPE_CHECKING:
    from ..image.importing import Download
    from ..registry.client import Registries


class Images:
    def __init__(self, store: ImageStore, containers: Store, registries: Callable[[], Registries]) -> None:
        self._store = store
        self._containers = containers
        self._registries = registries

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> Sequence[Image]:
        """The newest first. Filters are Docker's (``image/filters.py``); ``reference``: one name fits."""
        chosen = filters or {}
        filtering.check(chosen, filtering.LISTING)
        images = self._store.list()
        if not chosen:
            return images
        found = filtering.matching(images, chosen, self._store.resolve)
        patterns = chosen.get("reference", ())
        if not patterns:
            return found
        return [
            image
            for image in found
            if any(filtering.fits(name, patterns) for name in (*image.repo_tags, *image.repo_digests))
        ]

    def get(self, reference: str, *, platform: str = "") -> Image:
        """By name, identifier, or a prefix of one identifier; ``ImageNotFound`` if there is none.

        Nor is there one when ``platform`` (``os/arch[/variant]``) is given and it is for another.
        """
        image = self._store.resolve(reference)
        _require(image, reference, platform)
        return image

    def history(self, reference: str, *, platform: str = "") -> Sequence[Mapping[str, Any]]:
        """Docker's ``GET /images/{id}/history``: the newest step first."""
        return history.history(self.get(reference, platform=platform))

    def pull(self, reference: str, *, platform: str = "", progress: Report = ignore) -> Image:
        """Pull an image by tag or digest, ``latest`` without either, for ``platform`` or this machine.

        ``progress`` is told what Docker's clients are told. ``NotFound``, ``Unauthorized``, ``Unavailable``
        (the registry), ``CorruptData``: the image that had the name before still has it.
        """
        from ..image import pull

        name = references.parse(reference).tagged()
        pulled = pull.pull(self._store, self._connected(progress), name, _wanted(platform), progress)
        image = self.get(pulled.id)
        self._tell_transfer("pull", name, image)
        return image

    def pull_all(self, reference: str, *, platform: str = "", progress: Report = ignore) -> Sequence[Image]:
        """Pull every tag of a repository."""
        from ..image import pull

        name = _bare(reference)
        pulled = pull.pull_all(self._store, self._connected(progress), name, _wanted(platform), progress)
        images = [self.get(one.id) for one in pulled]
        for image in images:
            self._tell_transfer("pull", name, image)
        return images

    @contextmanager
    def reserved(self, reference: str) -> Iterator[None]:
        """Around a pull and what it is for: nobody else's ``prune`` takes the image away in between."""
        name = references.parse(reference).tagged()
        self._store.initialise()
        full = name.canonical() if name.digest else str(name)
        with reservations.reserved(self._store.content.root, full):
            yield

    def push(self, reference: str, *, platform: str = "", progress: Report = ignore) -> str:
        """Push an image to the registry that its name says; the digest that it has there.

        ``platform``: only if it is for this one.
        """
        from ..image import push

        name = references.parse(reference).tagged()
        digest = push.push(self._store, self._connected(progress), name, _wanted(platform), progress)
        self._tell_transfer("push", name)
        return digest

    def push_all(self, reference: str, *, platform: str = "", progress: Report = ignore) -> Sequence[str]:
        """Push every tag of a repository that is here."""
        from ..image import push

        name = _bare(reference)
        digests = push.push_all(self._store, self._connected(progress), name, _wanted(platform), progress)
        self._tell_transfer("push", name)
        return digests

    def _tell_transfer(self, action: str, name: Reference, image: Image | None = None) -> None:
        labels = _labels(image) if image is not None else None
        events.image(self._containers, action, name.familiar(), name.familiar_name, labels)

    def _tell(self, action: str, reference: str) -> None:
        image = self._store.resolve(reference)
        events.image(self._containers, action, image.id, image.id, _labels(image))

    def _connected(self, progress: Report) -> Registries:
        registries = self._registries()
        registries.notice = lambda text: progress(Message(text))
        return registries

    def load(
        self, given: str | int, progress: Progress | None = None, *, platform: str = ""
    ) -> Sequence[str]:
        """Load an archive by path or descriptor; returns the lines that ``docker load`` prints.

        ``platform`` (``linux/arm64/v8``) takes the images for that one, instead of this machine's.
        """
        lines = self._store.load(given, progress, platform)
        for line in lines:
            self._tell("load", line.partition(": ")[2])
        return lines

    def save(self, references: Sequence[str], target: str | int, *, platform: str = "") -> None:
        """Write images into one archive, at a path or to a descriptor, for ``load`` here and elsewhere.

        A name without a tag stands for all tags. ``NotFound`` for what is not here, or not for ``platform``.
        """
        with opened(target) as descriptor:
            self._store.save(references, descriptor, platform)
        for reference in references:
            try:
                self._tell("save", reference)
            except NotFound:
                continue  # a name for all of its tags, or removed meanwhile

    def import_(
        self,
        stream: str | int,
        reference: str = "",
        *,
        changes: Collection[str] = (),
        message: str = "",
        platform: str = "",
    ) -> str:
        """Make an image of one layer from the tar of a root file system; returns its identifier.

        ``stream`` is a path, a descriptor, or the address of the archive on a web server.
        """
        given: str | int | Download = stream
        if isinstance(stream, str) and stream.startswith(("http://", "https://")):
            given = self._downloaded(stream)
        image = self._store.import_(given, reference, changes=changes, message=message, platform=platform)
        self._tell("import", image)
        return image

    def _downloaded(self, url: str) -> Download:
        from ..image.importing import Download
        from ..registry import web

        return Download(url, web.get(self._registries().configuration, url))

    def tag(self, reference: str, name: str) -> None:
        """Give the image ``reference`` the name ``name`` too; an image that had it keeps its others."""
        image = self._store.resolve(reference)
        self._store.tag(reference, name)
        named = references.parse_tagged(name).familiar()
        events.image(self._containers, "tag", image.id, named, _labels(image))

    def remove(self, reference: str, *, force: bool = False, platform: str = "") -> Sequence[Removal]:
        """``Conflict``, in Docker's words, when a container stands in the way."""
        sweep(self._containers)
        if platform:
            self.get(reference, platform=platform)
        image = self._store.resolve(reference)
        removals = self._store.remove(reference, force=force)
        tell_removals(self._containers, removals, image.id, _labels(image))
        return removals

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Remove unused images: those without a tag, or all of them with the filter ``dangling=false``.

        The other filters are ``until`` (Unix time), ``label`` and ``label!``.
        """
        sweep(self._containers)
        pruned = prune(self._store, filters or {})
        tell_pruned(self._containers, pruned)
        return pruned


def tell_pruned(store: Store, pruned: Pruned) -> None:
    tell_removals(store, pruned.removals)
    events.pruned(store, "image", pruned.reclaimed)


def tell_removals(
    store: Store,
    removals: Sequence[Removal],
    identifier: str = "",
    labels: Mapping[str, str] | None = None,
) -> None:
    """Events of what was removed. ``identifier``: of the image that lost its names, if it is one."""
    for one in removals:
        if one.untagged:
            about = identifier or one.untagged
            events.image(store, "untag", about, about, labels)
        elif one.deleted == identifier or not identifier:
            events.image(store, "delete", one.deleted, one.deleted, None)


def _labels(image: Image) -> Mapping[str, str] | None:
    return image.config.config.labels if image.config.config else None


def _wanted(platform: str) -> Platform | None:
    return platforms.parse(platform) if platform else None


def _bare(reference: str) -> Reference:
    name = references.parse(reference)
    if name.tag or name.digest:
        raise InvalidArgument("tag can't be used with --all-tags/-a")
    return name


def _require(image: Image, reference: str, platform: str) -> None:
    has = image.platform
    if platform and not platforms.matches(platforms.parse(platform), has):
        raise ImageNotFound(platforms.mismatch(reference, platforms.parse(platform), has))


def uses(containers: Store) -> Sequence[Use]:
    """What the image store asks before it removes anything."""
    found = []
    for identifier in containers.ids():
        try:
            record = containers.read_record(identifier)
        except NotFound:
            continue  # removed meanwhile, or nothing but a directory yet
        try:
            running = containers.read_state(identifier).running
        except NotFound:
            running = True  # it is being created, to be started at once
        if record.image:
            chain = chain_of(containers.root, record.layers)
            found.append(Use(image=record.image, container=identifier, running=running, chain=chain))
    return found
