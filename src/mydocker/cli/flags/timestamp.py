"""``--since`` and ``--until``: points in time, absolute or before now.

``2013-01-02T13:23:37Z``, with fewer parts or a zone; ``1357133017.5`` (Unix time); ``42m`` (that long ago).
Without a zone it is local time. ``0`` is a Unix time, though it would be a duration, too.
"""

from __future__ import annotations

import re
from datetime import datetime

from mydocker import errors
from mydocker.cli.flags import go

_NANO = 1_000_000_000
_DATE = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(\.\d+)?)?)?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII
)


def parse_timestamp(flag: str, text: str, now: float) -> float | None:
    """Unix time, None for no text. Raises ``InvalidArgument``, which names ``flag`` if there is one."""
    if not text:
        return None
    if text != "0":
        try:
            return now - go.parse_duration(text) / _NANO
        except ValueError:
            pass  # then it is a date or a number
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        return float(text)
    prefix = f'invalid value for "{flag}": ' if flag else ""
    matched = _DATE.fullmatch(text)
    if not matched:
        raise errors.InvalidArgument(f"{prefix}failed to parse value as time or duration: {go.quote(text)}")
    year, month, day, hour, minute, second, fraction, zone = matched.groups()
    iso = f"{year}-{month}-{day}T{hour or '00'}:{minute or '00'}:{second or '00'}{zone or ''}"
    try:
        moment = datetime.fromisoformat(iso).timestamp()
    except ValueError as error:
        raise errors.InvalidArgument(f"{prefix}{text}: {error}") from error
    return moment + float(fraction or 0)
