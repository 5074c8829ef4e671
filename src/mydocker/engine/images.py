"""``Engine.images``: the image store, with what only the engine knows: which images containers stand on."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..container.reconcile import sweep
from ..container.store import Store
from ..errors import NotFound
from ..image.load import Progress
from ..image.store import Image, ImageStore, Removal, Use
from .target import opened


class Images:
    def __init__(self, store: ImageStore, containers: Store) -> None:
        self._store = store
        self._containers = containers

    def list(self) -> Sequence[Image]:
        """The newest first."""
        return self._store.list()

    def get(self, reference: str) -> Image:
        """By name, identifier, or a prefix of one identifier; ``NotFound`` if there is none."""
        return self._store.resolve(reference)

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
        self._store.tag(reference, name)

    def remove(self, reference: str, *, force: bool = False) -> Sequence[Removal]:
        """``Conflict``, in Docker's words, when a container stands in the way."""
        sweep(self._containers)
        return self._store.remove(reference, force=force)


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
            found.append(Use(image=record.image, container=identifier, running=running))
    return found
