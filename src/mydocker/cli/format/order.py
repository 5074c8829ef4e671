"""The order of lists: ``v2`` before ``v10``, as in Docker's client (github.com/fvbommel/sortorder)."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"(\d+)", re.ASCII)


def natural(text: str) -> list[tuple[int, int, str]]:
    """A key for ``sorted``: digits count as numbers, and come before letters."""
    parts = [part for part in _DIGITS.split(text) if part]
    return [(0, int(part), part) if _DIGITS.match(part) else (1, 0, part) for part in parts]
