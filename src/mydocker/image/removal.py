"""``rmi``: names are taken away first, and the image goes when it has none, unless something needs it.

The rules and the words are those of Docker's ``ImageDelete`` (Docker Engine API, ``DELETE /images/{name}``):

    by name, others left      the name goes, nothing else; with the last tag of a repository, the digests
                              that the image has in it go too
    by name, the last one     the name and the image; a container that was made from it is a conflict
                              unless forced; forced under a running one, the image stays without a name
    by id, at most one name   the same; a running container is a conflict even when forced
    by id, several names      a conflict unless forced

A tag and the digests of the same repository count as one name.

Layers and blobs go with the last image that has them. A forced removal under a stopped container leaves the
layers that the container stands on.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import errors
from ..oci import digest as digests
from ..oci import reference as references
from . import garbage
from .store import Image, ImageStore, Removal, Use


def remove(store: ImageStore, reference: str, *, force: bool) -> Sequence[Removal]:
    """Remove what ``reference`` names; what was done, in order."""
    with store.hold(), store.locked():
        image, name = store.find(reference)
        uses = [use for use in store.used() if use.image == image.id]
        left = _left(image.names, name)
        doomed = _decide(image, name, left, uses, force)
        keep = doomed is None
        gone = [one for one in image.names if not keep or one not in left]
        gone.sort(key=lambda one: (one != name, "@" in one, one))
        removals = [Removal(untagged=references.parse(one).familiar()) for one in gone]
        if not keep:
            store.content.note()
        store.unname(image, set(gone), drop=not keep)
    if keep:
        return removals
    return [*removals, Removal(deleted=image.id), *map(_deleted, garbage.collect_if_noted(store))]


def _deleted(chain_id: str) -> Removal:
    return Removal(deleted=chain_id)


def _left(names: Sequence[str], name: str) -> list[str]:
    """The names that stay without ``name``: the last tag of a repository takes the digests in it along."""
    left = [one for one in names if one != name]
    repository = _repository(name) if name and "@" not in name else ""
    if any(_repository(one) == repository for one in left if "@" not in one):
        return left
    return [one for one in left if _repository(one) != repository]


def _is_one(names: Sequence[str]) -> bool:
    """Whether ``names`` are at most one tag, and all of one repository."""
    return len({_repository(one) for one in names}) <= 1 and sum("@" not in one for one in names) <= 1


def _repository(name: str) -> str:
    return references.parse(name).name


def _decide(image: Image, name: str, left: list[str], uses: list[Use], force: bool) -> Image | None:
    """The image if all of it is to go, None if only ``name`` is; Conflict if it must not."""
    short = digests.encoded(image.id)[:12]
    running = next((use for use in uses if use.running), None)
    if name:
        if left:
            return None
        if uses and not force:
            raise errors.Conflict(
                f'conflict: unable to remove repository reference "{references.parse(name).familiar()}" '
                f"(must force) - container {uses[0].container[:12]} is using its referenced image {short}"
            )
        return None if running else image
    if running is not None:
        raise errors.Conflict(
            f"conflict: unable to delete {short} (cannot be forced) - "
            f"image is being used by running container {running.container[:12]}"
        )
    if uses and not force:
        raise errors.Conflict(
            f"conflict: unable to delete {short} (must be forced) - "
            f"image is being used by stopped container {uses[0].container[:12]}"
        )
    if not _is_one(image.names) and not force:
        raise errors.Conflict(
            f"conflict: unable to delete {short} (must be forced) - "
            "image is referenced in multiple repositories"
        )
    return image
