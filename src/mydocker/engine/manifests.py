"""``Engine.manifests``: manifests on registries, and lists of them for several platforms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ..image.documents import Platform
from ..image.lists import Lists, Member
from ..oci import reference as references
from ..oci.reference import Reference

if TYPE_CHECKING:
    from ..registry.client import Registries

Connect = Callable[[Sequence[str]], "Registries"]
"""registries, of which those of the domains given may be insecure"""


class Manifests:
    def __init__(self, lists: Callable[[], Lists], connect: Connect) -> None:
        self._lists = lists
        self._connect = connect

    def inspect(
        self, reference: str, *, within: str = "", whole: bool = False, insecure: bool = False
    ) -> Member | list[Member]:
        """A manifest, or the members of a list, local or on a registry; ``within`` a local list.

        ``whole``: with the manifests of the members of a list on a registry, not only their descriptors.
        """
        from ..image import manifests

        wanted = _read(reference)
        registries = self._registries([wanted], insecure)
        of = _read(within) if within else None
        return manifests.inspect(self._lists(), registries, wanted, within=of, whole=whole)

    def create(
        self, target: str, members: Sequence[str], *, amend: bool = False, insecure: bool = False
    ) -> str:
        """Begin a local list of manifests on registries; its name in full."""
        from ..image import manifests

        to, found = _read(target), [_read(member) for member in members]
        registries = self._registries(found, insecure)
        manifests.create(self._lists(), registries, to, found, amend=amend)
        return str(to)

    def annotate(self, target: str, member: str, platform: Platform) -> None:
        """Say what platform a member of a local list is for; empty parts stay as they are."""
        from ..image import manifests

        manifests.annotate(self._lists(), _read(target), _read(member), platform)

    def push(self, target: str, *, purge: bool = False, insecure: bool = False) -> Iterator[str]:
        """Push a local list; Docker's lines, the digest last. ``purge``: then remove it here."""
        from ..image import manifests

        to = _read(target)
        registries = self._registries([to], insecure)
        return manifests.push(self._lists(), registries, to, references.parse, purge=purge)

    def remove(self, target: str) -> None:
        """Remove a local list."""
        self._lists().remove(_read(target))

    def _registries(self, wanted: Sequence[Reference], insecure: bool) -> Registries:
        return self._connect([reference.domain for reference in wanted] if insecure else [])


def _read(text: str) -> Reference:
    return references.parse(text).tagged()
