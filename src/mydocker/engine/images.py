"""``Engine.images``: the image store, with what only the engine knows: which images containers stand on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..container.reconcile import sweep
from ..container.store import Store
from ..errors import NotFound
from ..image import filters as filtering
from ..image import history, platforms
from ..image.documents import Platform
from ..image.layers import chain_of
from ..image.load import Progress
from ..image.prune import Pruned, prune
from ..image.store import Image, ImageStore, Removal, Use
from .target import opened


class Images:
    def __init__(self, store: ImageStore, containers: Store) -> None:
        self._store = store
        self._containers = containers

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
        """By name, identifier, or a prefix of one identifier; ``NotFound`` if there is none.

        Nor is there one when ``platform`` (``os/arch[/variant]``) is given and it is for another.
        """
        image = self._store.resolve(reference)
        _require(image, reference, platform)
        return image

    def history(self, reference: str, *, platform: str = "") -> Sequence[Mapping[str, Any]]:
        """Docker's ``GET /images/{id}/history``: the newest step first."""
        return history.history(self.get(reference, platform=platform))

    def load(
        self, given: str | int, progress: Progress | None = None, *, platform: str = ""
    ) -> Sequence[str]:
        """Load an archive by path or descriptor; returns the lines that ``docker load`` prints.

        ``platform`` (``linux/arm64/v8``) takes the images for that one, instead of this machine's.
        """
        return self._store.load(given, progress, platform)

    def save(self, references: Sequence[str], target: str | int, *, platform: str = "") -> None:
        """Write images into one archive, at a path or to a descriptor, for ``load`` here and elsewhere.

        A name without a tag stands for all tags. ``NotFound`` for what is not here, or not for ``platform``.
        """
        with opened(target) as descriptor:
            self._store.save(references, descriptor, platform)

    def import_(
        self,
        stream: str | int,
        reference: str = "",
        *,
        changes: Collection[str] = (),
        message: str = "",
        platform: str = "",
    ) -> str:
        """Make an image of one layer from the tar of a root file system; returns its identifier."""
        return self._store.import_(stream, reference, changes=changes, message=message, platform=platform)

    def tag(self, reference: str, name: str) -> None:
        """Give the image ``reference`` the name ``name`` too; an image that had it keeps its others."""
        self._store.tag(reference, name)

    def remove(self, reference: str, *, force: bool = False, platform: str = "") -> Sequence[Removal]:
        """``Conflict``, in Docker's words, when a container stands in the way."""
        sweep(self._containers)
        if platform:
            self.get(reference, platform=platform)
        return self._store.remove(reference, force=force)

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> Pruned:
        """Remove unused images: those without a tag, or all of them with the filter ``dangling=false``.

        The other filters are ``until`` (Unix time), ``label`` and ``label!``.
        """
        sweep(self._containers)
        return prune(self._store, filters or {})


def _require(image: Image, reference: str, platform: str) -> None:
    config = image.config
    has = Platform(os=config.os or "linux", architecture=config.architecture, variant=config.variant)
    if platform and not platforms.matches(platforms.parse(platform), has):
        raise NotFound(
            f"image with reference {reference} was found but does not provide the specified platform "
            f"({platform}): it is for {platforms.show(has)}"
        )


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
