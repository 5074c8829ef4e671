"""``--filter`` of ``images`` and ``image prune``: Docker's filters over images and their names.

    dangling=true|false      without a tag
    label=key[=value]        all that are given must be there; label! of prune: none of them
    before, since=IMAGE      made before, after that image
    until=UNIX TIME          made before that moment (a command line reads dates and durations first)
    reference=PATTERN        names, one of the patterns must fit: see ``fits``

Sources: Docker Engine API, ``GET /images/json`` and ``POST /images/prune``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from .. import errors
from ..oci import reference as references
from ..oci.go import FALSE, TRUE
from .store import Image

Filters = Mapping[str, Sequence[str]]

LISTING = frozenset(("dangling", "label", "before", "since", "until", "reference"))
PRUNING = frozenset(("dangling", "label", "label!", "until"))


def check(filters: Filters, known: frozenset[str]) -> None:
    """InvalidArgument, in Docker's words, for a filter that is not among ``known``."""
    for name in filters:
        if name not in known:
            raise errors.InvalidArgument(f"invalid filter '{name}'")


def matching(images: Sequence[Image], filters: Filters, resolve: Callable[[str], Image]) -> list[Image]:
    """Those of ``images`` that every filter lets through, ``reference`` left aside.

    ``resolve`` finds the images that ``before`` and ``since`` name.
    """
    dangling = truth(filters)
    befores = [moment(resolve(reference).created) for reference in filters.get("before", ())]
    sinces = [moment(resolve(reference).created) for reference in filters.get("since", ())]

    def passes(image: Image) -> bool:
        made = moment(image.created)
        labels = image.config.config.labels if image.config.config else None
        return (
            (dangling is None or bool(image.repo_tags) is not dangling)
            and labelled(labels, filters)
            and old_enough(image.created, filters)
            and all(made < edge for edge in befores)
            and all(made > edge for edge in sinces)
        )

    return [image for image in images if passes(image)]


def truth(filters: Filters) -> bool | None:
    """The value of ``dangling``; None if it is not given."""
    found = None
    for text in filters.get("dangling", ()):
        if text not in TRUE | FALSE:
            raise errors.InvalidArgument(f"invalid filter 'dangling={text}'")
        found = text in TRUE
    return found


def pattern(key: str, value: str) -> re.Pattern[str]:
    """What a name or an identifier has to have in it somewhere: Docker's are regular expressions."""
    try:
        return re.compile(value)
    except re.error:
        raise errors.InvalidArgument(f"invalid filter '{key}={value}'") from None


def labelled(labels: Mapping[str, str] | None, filters: Filters) -> bool:
    """Whether something with these labels passes ``label`` and ``label!``."""
    return all(_has(labels or {}, label) for label in filters.get("label", ())) and not any(
        _has(labels or {}, label) for label in filters.get("label!", ())
    )


def _has(labels: Mapping[str, str], wanted: str) -> bool:
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def old_enough(created: str, filters: Filters) -> bool:
    """Whether something that was made at ``created`` (RFC 3339) passes ``until``."""
    return all(moment(created) < _seconds(text) for text in filters.get("until", ()))


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns fits the familiar name, with or without its tag or digest.

    ``busybox``, ``busybox:1.*``, ``*/busybox``: path.Match of Go, where a star stops at a slash.
    """
    bare = references.parse(name).familiar_name
    return any(_pattern(text).fullmatch(name) or _pattern(text).fullmatch(bare) for text in patterns)


def moment(created: str) -> datetime:
    """When an image was made: RFC 3339, of which digits after the microseconds do not count."""
    try:
        made = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", created))
    except ValueError as error:
        raise errors.CorruptData(f"an image that was made at {created!r}: {error}") from error
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _seconds(text: str) -> datetime:
    try:
        return datetime.fromtimestamp(float(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise errors.InvalidArgument(f"invalid filter 'until={text}'") from None


@lru_cache(maxsize=64)
def _pattern(text: str) -> re.Pattern[str]:
    r"""``*`` a run without slashes, ``?`` one character but a slash, ``[a-z]``, ``[^a-z]``, ``\`` escapes."""
    parts: list[str] = []
    at = 0
    while at < len(text):
        character = text[at]
        at += 1
        if character == "*":
            parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "[":
            end, one_of = _class(text, at)
            parts.append(one_of)
            at = end
        elif character == "\\":
            parts.append(re.escape(_escaped(text, at)))
            at += 1
        else:
            parts.append(re.escape(character))
    return re.compile("".join(parts), re.DOTALL)


def _class(text: str, at: int) -> tuple[int, str]:
    """The class whose bracket is before ``at``: where the pattern goes on, and as a regular expression."""
    negated = text[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    first = True
    while first or text[at : at + 1] != "]":
        low, at = _bound(text, at)
        high = low
        if text[at : at + 1] == "-":
            high, at = _bound(text, at + 1)
        if low <= high:  # else nothing is between them, which is no error
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        first = False
    if not ranges:
        return at + 1, "." if negated else "(?!)"
    return at + 1, f"[{'^' if negated else ''}{''.join(ranges)}]"


def _bound(text: str, at: int) -> tuple[str, int]:
    """One end of a range in a class: the character, and where the next one is."""
    character = text[at : at + 1]
    if not character or character in "-]":
        raise errors.InvalidArgument(f"syntax error in pattern: {text!r}")
    if character == "\\":
        return _escaped(text, at + 1), at + 2
    return character, at + 1


def _escaped(text: str, at: int) -> str:
    if at >= len(text):
        raise errors.InvalidArgument(f"syntax error in pattern: {text!r}")
    return text[at]
