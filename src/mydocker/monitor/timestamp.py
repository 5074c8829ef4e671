"""Instants as Docker writes them: RFC 3339 in UTC with up to nine digits of a second, trailing zeros cut.

In scope: nanoseconds since the epoch to text and back, and Docker's text for "never". Out of scope: the
relative forms that people type (``--since 10m``), which the command line parses.
"""

import time
from calendar import timegm

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: what the Engine API shows for an instant that has not come"""

_second = -1
_prefix = ""


def rfc3339(nanoseconds: int) -> str:
    """``2024-05-17T09:30:00.5Z``. The part up to the second is remembered: a log line costs one format."""
    global _second, _prefix
    second, fraction = divmod(nanoseconds, 1_000_000_000)
    if second != _second:
        _prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        _second = second
    if not fraction:
        return _prefix + "Z"
    return _prefix + f".{fraction:09d}".rstrip("0") + "Z"


def now() -> str:
    return rfc3339(time.time_ns())


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch. Only the form that ``rfc3339`` writes; ``ValueError`` for any other."""
    if not text.endswith("Z") or len(text) < 20:
        raise ValueError(f"not an RFC 3339 instant in UTC: {text}")
    whole, _, fraction = text[:-1].partition(".")
    seconds = timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000_000 + int((fraction + "000000000")[:9])
