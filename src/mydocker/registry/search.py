"""Finding repositories by a word: ``GET /v1/search``, or the catalog where there is no such thing.

    GET /v1/search?q=<term>&n=<limit>   {"results": [{"name", "description", "star_count", "is_official"}]}
    GET /v2/_catalog                    {"repositories": [name, …]}: those with the term in them

The first is of the protocol before distribution-spec, and Docker Hub has kept it; the second is
distribution's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from urllib.parse import quote

import msgspec

from .. import errors
from ..oci.reference import DEFAULT_DOMAIN, LEGACY_DOMAIN, OFFICIAL
from .client import Registries
from .endpoint import Endpoint
from .failures import Subject
from .message import Request
from .remote import PAGE_LIMIT, Remote, names, pages

DEFAULT_LIMIT = 25
LARGEST_LIMIT = 100
_ABSENT = frozenset((404, 405, 410, 501))


class Result(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str | None = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Results(msgspec.Struct, frozen=True):
    results: list[Result] | None = None


def search(
    registries: Registries, term: str, *, limit: int = 0, filters: Mapping[str, Sequence[str]] | None = None
) -> list[Result]:
    """What the registry that ``term`` begins with has for the rest of it; Docker Hub without one.

    Filters, as Docker has them: ``is-official``, ``is-automated`` (booleans), ``stars`` (at least).
    Raises ``InvalidArgument`` for a limit or filter that cannot be.
    """
    if limit and not 1 <= limit <= LARGEST_LIMIT:
        raise errors.InvalidArgument(f"Limit {limit} is outside the range of [1, {LARGEST_LIMIT}]")
    wanted = _Filters(filters or {})
    domain, word = _split(term)
    subject = Subject(domain, term, f"search for {term}", "search")
    transport = registries.transport
    registry = registries.endpoints(domain)[-1]
    # Docker Hub has its index on another host than its contents.
    index = Endpoint(domain, LEGACY_DOMAIN) if domain == DEFAULT_DOMAIN else registry
    target = f"/v1/search?q={quote(word)}&n={limit or DEFAULT_LIMIT}"
    request = Request("GET", target, accept=_ABSENT | {200}, limit=PAGE_LIMIT)
    reply = transport.send(index, request, subject)
    found = _read(reply.data, subject) if reply.status == 200 else None
    if found is None:
        remote = Remote(transport, registry, subject, "")
        found = list(islice(_catalog(remote, word), limit or DEFAULT_LIMIT))
    return [result for result in found if wanted.take(result)]


def _split(term: str) -> tuple[str, str]:
    """Registry and the rest, told apart as in references."""
    if "://" in term:
        raise errors.InvalidArgument(f"invalid search term {term!r}: it has no scheme")
    first, slash, rest = term.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        return DEFAULT_DOMAIN, term.removeprefix(OFFICIAL)
    if first in (DEFAULT_DOMAIN, LEGACY_DOMAIN):
        return DEFAULT_DOMAIN, rest.removeprefix(OFFICIAL)
    return first, rest


def _read(data: bytes, subject: Subject) -> list[Result] | None:
    """None when this is no document at all: some servers have a page for whatever is asked."""
    if not data.lstrip().startswith(b"{"):
        return None
    try:
        return msgspec.json.decode(data, type=_Results).results or []
    except msgspec.DecodeError as error:
        raise errors.CorruptData(subject.place(f"{subject.reference}: {error}")) from error


def _catalog(remote: Remote, word: str) -> Iterator[Result]:
    for document in pages(remote, "/v2/_catalog", ("registry:catalog:*",)):
        for name in names(document.get("repositories"), remote.subject):
            if word in name:
                yield Result(name=name)


class _Filters:
    def __init__(self, given: Mapping[str, Sequence[str]]) -> None:
        unknown = given.keys() - {"is-official", "is-automated", "stars"}
        if unknown:
            raise errors.InvalidArgument(f"invalid filter '{min(unknown)}'")
        self._official = _flag(given, "is-official")
        self._automated = _flag(given, "is-automated")
        stars = given.get("stars", ())
        for value in stars:
            if not value.isdecimal():
                raise errors.InvalidArgument(f"invalid filter 'stars={value}'")
        self._stars = max(map(int, stars), default=0)

    def take(self, result: Result) -> bool:
        return (
            result.star_count >= self._stars
            and self._official in (None, result.is_official)
            and self._automated in (None, result.is_automated)
        )


def _flag(given: Mapping[str, Sequence[str]], name: str) -> bool | None:
    values = given.get(name)
    if not values:
        return None
    found = {"1": True, "true": True, "0": False, "false": False}.get(values[-1].lower())
    if found is None:
        raise errors.InvalidArgument(f"invalid filter '{name}={values[-1]}'")
    return found
