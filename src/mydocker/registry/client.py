"""``Registries`` and ``Repository``: what the rest of the program knows of registries.

    registries = Registries(Configuration.read(), Credentials())
    repository = registries.repository(reference.parse("alpine:3.20"))
    document = repository.manifest("3.20")
    for chunk in repository.blob(descriptor.digest, size=descriptor.size): ...

Reads ask the mirrors first, in the order of the configuration, and then the registry itself, whose error
counts; writes go to the registry itself. All objects may be used on both sides of a fork. Nothing is sent
before a method is called.

Out of scope: what manifests say (``image/``), hashing of blobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from .. import errors
from ..oci.reference import Reference
from . import download, upload
from .configuration import Configuration
from .credentials import Source
from .endpoint import Endpoint, of_mirror, of_registry
from .failures import Subject
from .patience import Notice, Patience
from .publisher import Publisher
from .remote import Document, Remote
from .transport import Transport

__all__ = ["Document", "Registries", "Repository"]

_T = TypeVar("_T")


class Registries:
    """Configuration, credentials, and what has been learned: endpoints, tokens, connections."""

    def __init__(
        self,
        configuration: Configuration,
        credentials: Source,
        *,
        patience: Patience = Patience(),  # noqa: B008 - a value
        notice: Notice | None = None,
    ) -> None:
        self.configuration = configuration
        self.credentials = credentials
        self.transport = Transport(configuration, credentials, patience, notice)
        self._endpoints: dict[str, Endpoint] = {}

    @property
    def notice(self) -> Notice | None:
        """Told, in lines for a person, what is waited for, what is left out, what a registry warns of."""
        return self.transport.notice

    @notice.setter
    def notice(self, notice: Notice | None) -> None:
        self.transport.notice = notice

    def repository(self, reference: Reference, *, push: bool = False) -> Repository:
        """Of ``reference``, whose tag and digest do not matter. ``push``: it will be written to.

        Raises ``Forbidden`` for a registry that the configuration blocks.
        """
        remotes = [
            Remote(self.transport, endpoint, _subject(reference, push), reference.path)
            for endpoint in self.endpoints(reference.domain, mirrors=not push)
        ]
        return Repository(reference.name, remotes)

    def endpoints(self, domain: str, *, mirrors: bool = False) -> list[Endpoint]:
        """The registry of ``domain``, last, after its mirrors if they are wanted."""
        settings = self.configuration.settings(domain)
        if settings.blocked:
            raise errors.Forbidden(f"registry {domain} is blocked by {self.configuration.path}")
        found = [self._endpoint(mirror, of_mirror) for mirror in settings.mirrors] if mirrors else []
        return [*found, self._endpoint(domain, of_registry)]

    def published(
        self, urls: Sequence[str], digest: str, *, offset: int = 0, size: int | None = None
    ) -> Iterator[bytes]:
        """The blob from the first of ``urls`` that has it, as ``Repository.blob`` has it from a registry."""
        return download.blob([Publisher(self.transport, url) for url in urls], digest, offset, size)

    def _endpoint(self, name: str, make: Callable[[str], Endpoint]) -> Endpoint:
        endpoint = make(name)
        key = f"{endpoint.scheme}://{endpoint.netloc}/{endpoint.prefix}"
        return self._endpoints.setdefault(key, endpoint)


class Repository:
    """One repository, wherever it is read from."""

    def __init__(self, name: str, remotes: list[Remote]) -> None:
        self.name = name
        """``docker.io/library/alpine``"""
        self._remotes = remotes
        self._begun: dict[str, str] = {}

    @property
    def has_mirrors(self) -> bool:
        return bool(self._mirrors())

    @property
    def _registry(self) -> Remote:
        return self._remotes[-1]

    def manifest(self, reference: str) -> Document:
        """By tag or digest; the bytes have the digest that was asked for, or that the registry says.

        Raises ``NotFound``, ``Unauthorized``, ``Forbidden``, ``TooManyRequests``, ``Unavailable``,
        ``CorruptData``, and ``NotSupported`` for a manifest of schema 1.
        """
        return self._first(lambda remote: remote.manifest(reference))

    def resolve(self, reference: str) -> Document | None:
        """What ``manifest`` would return, without its bytes; None when there is none."""
        for remote in self._mirrors():
            try:
                found = remote.resolve(reference)
            except errors.Error as error:
                remote.give_way(error)
                continue
            if found is not None:
                return found
        return self._registry.resolve(reference)

    def put_manifest(self, reference: str, media_type: str, data: bytes) -> str:
        """Store it under a tag or its digest; returns its digest."""
        return self._registry.put_manifest(reference, media_type, data)

    def tags(self) -> Iterator[str]:
        """All of them, in the order of the registry."""
        return iter(self._first(lambda remote: list(remote.tags())))

    def blob(
        self, digest: str, *, offset: int = 0, size: int | None = None, mirrors: bool = True
    ) -> Iterator[bytes]:
        """The bytes from ``offset`` on; ``size`` is the descriptor's, and no byte more is read.

        Broken connections are taken up again. Who finds that the bytes are not those of the digest may ask
        once more without ``mirrors``, if there are any. Raises what ``manifest`` does.
        """
        remotes = [*self._mirrors(), self._registry] if mirrors else [self._registry]
        return download.blob(remotes, digest, offset, size)

    def blob_size(self, digest: str) -> int | None:
        """None when the registry does not have it."""
        return self._registry.blob_size(digest)

    def mount(self, digest: str, source: str) -> bool:
        """Have the blob from the repository ``source`` (a path) of the same registry, without sending it.

        False: an upload is needed; it takes up what the registry has begun in its place.
        """
        location = upload.mount(self._registry, digest, source)
        if location:
            self._begun[digest] = location
        return location is None

    def upload(self, digest: str, size: int, read: upload.Read) -> None:
        """Send a blob; ``read(offset)`` yields it from there, and may be called again after a failure."""
        upload.upload(self._registry, digest, size, read, self._begun.pop(digest, ""))

    def _first(self, ask: Callable[[Remote], _T]) -> _T:
        for remote in self._mirrors():
            try:
                return ask(remote)
            except errors.Error as error:
                remote.give_way(error)
        return ask(self._registry)

    def _mirrors(self) -> list[Remote]:
        return [remote for remote in self._remotes[:-1] if not remote.endpoint.down]


def _subject(reference: Reference, push: bool) -> Subject:
    return Subject(
        reference.domain,
        reference.familiar_name,
        reference.familiar_name,
        "push" if push else "pull",
    )
