"""How often a request is tried, how long is waited in between, and what the user is told meanwhile.

The times between tries grow: 1, 2, 4, 8 seconds, each cut by up to half at random, so that clients that were
refused together do not come back together. What a registry asks for with Retry-After (RFC 9110, 10.2.3) is
kept, unless it is longer than anyone sits and waits.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import NamedTuple

Notice = Callable[[str], None]
"""``notice("localhost:5000: connection reset by peer, retrying in 2 seconds")``"""


class Patience(NamedTuple):
    """Times are in seconds."""

    tries: int = 5
    """as many as dockerd's ``max-download-attempts``"""
    delay: float = 1.0
    """before the second try; twice as much before each one after it"""
    longest: float = 60.0
    """what a registry may ask for"""
    connect: float = 15.0
    probe: float = 5.0
    """for TLS with a registry that may not have it"""
    read: float = 60.0
    """between two pieces of a reply"""
    commit: float = 600.0
    """for the reply to an upload, which the registry may have to copy first"""


class Attempts:
    """Counts the tries of one request. ``again`` waits, and is false when it is time to give up."""

    def __init__(self, patience: Patience, notice: Notice | None) -> None:
        self._patience = patience
        self._notice = notice
        self._failed = 0

    def progressed(self) -> None:
        """Something came through: the count starts anew."""
        self._failed = 0

    def again(self, what: str, asked: float | None = None) -> bool:
        """``what`` failed; ``asked`` is how long the registry wants to be left alone."""
        self._failed += 1
        if self._failed >= self._patience.tries or (asked is not None and asked > self._patience.longest):
            return False
        delay = self._patience.delay * 2 ** (self._failed - 1) * random.uniform(0.5, 1)
        if asked is not None:
            delay = max(asked, delay)
        if self._notice is not None:
            whole = max(1, round(delay))
            self._notice(f"{what}, retrying in {whole} second{'s' * (whole != 1)}")
        time.sleep(delay)
        return True


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for; None without one that can be read."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
