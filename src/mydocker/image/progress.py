"""What a pull or a push tells about itself while it goes on.

The members are those of Docker's JSON messages (Engine API, ``POST /images/create`` and
``/images/{name}/push``), and so are the words, which clients look for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    status: str
    id: str = ""
    """the layer, by the beginning of its digest; or the tag"""
    current: int = 0
    total: int = 0
    """bytes; 0 where there is nothing to count"""


Report = Callable[[Progress], None]


def ignore(_: Progress) -> None:
    """For whoever does not care."""
