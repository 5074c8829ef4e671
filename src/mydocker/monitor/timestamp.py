"""Instants as Docker writes them: RFC 3339 in UTC with up to nine digits of a second, trailing zeros cut.

In scope: nanoseconds since the epoch to text and back, and Docker's text for "never". Out of scope: the
relative forms that people type (``--since 10m``), which the command line parses.
"""

import time
from datetime import UTC, datetime

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time: what the Engine API shows for an instant that has not come"""

_EPOCH = datetime.fromtimestamp(0, UTC)
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
    whole, _, fraction = text[:-1].partition(".")
    if not text.endswith("Z") or len(whole) != 19 or whole[4] + whole[7] + whole[10] != "--T":
        raise ValueError(f"not an RFC 3339 instant in UTC: {text}")
    # time.strptime would load a module of its own, and take 2 ms of the end of a container
    since = datetime.fromisoformat(whole).replace(tzinfo=UTC) - _EPOCH
    seconds = since.days * 86400 + since.seconds
    return seconds * 1_000_000_000 + int((fraction + "000000000")[:9])
