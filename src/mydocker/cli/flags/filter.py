"""``--filter name=value``."""

from __future__ import annotations

import time
from collections.abc import Iterable

from mydocker import errors
from mydocker.cli.flags.timestamp import parse_timestamp


def parse_filter(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return name.strip().lower(), value.strip()


def to_filters(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """All values of a name together: any of them may match."""
    filters: dict[str, list[str]] = {}
    for name, value in pairs:
        filters.setdefault(name, []).append(value)
    return filters


def timed_filters(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The same, with ``until`` (a date, or a duration before now) in Unix time. Raises InvalidArgument."""
    return to_filters((name, _instant(value) if name == "until" else value) for name, value in pairs)


def _instant(text: str) -> str:
    try:
        found = parse_timestamp("until", text, time.time())
    except errors.InvalidArgument:
        found = None
    if found is None:
        raise errors.InvalidArgument(f'failed to parse value as time or duration: "{text}"')
    return repr(found)
