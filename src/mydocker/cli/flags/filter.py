"""``--filter name=value``."""

from __future__ import annotations

from collections.abc import Iterable


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
