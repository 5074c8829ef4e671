"""Sizes, times and identifiers as Docker shows them to people (docker/go-units)."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from mydocker.container.inspect import human_duration

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
ZERO_TIME = "0001-01-01T00:00:00Z"
_ZERO_SECONDS = -62135596800
_ID_WIDTH = 12


def human_size(size: float, digits: int = 4) -> str:
    """``4.27MB``: powers of 1000, so many significant digits."""
    return _scaled(size, 1000.0, _DECIMAL, digits)


def bytes_size(size: float) -> str:
    """``7.654GiB``: powers of 1024."""
    return _scaled(size, 1024.0, _BINARY, 4)


def _scaled(size: float, base: float, units: tuple[str, ...], digits: int) -> str:
    unit = 0
    while size >= base and unit < len(units) - 1:
        size /= base
        unit += 1
    return f"{size:.{digits}g}{units[unit]}"


def ago(seconds: float, now: float | None = None) -> str:
    """``3 minutes ago`` for a point in Unix time."""
    return human_duration((time.time() if now is None else now) - seconds) + " ago"


def ago_or_unknown(seconds: float, now: float | None = None) -> str:
    """The same for what an image says, of which some say nothing, or the epoch: ``N/A``."""
    return ago(seconds, now) if seconds > 0 else "N/A"


def parse_rfc3339(text: str) -> float:
    """Unix time of ``2024-05-30T12:07:14.123456789Z``. Raises ``ValueError``."""
    if text == ZERO_TIME:
        return _ZERO_SECONDS
    head, dot, rest = text.partition(".")
    fraction = ""
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        fraction, head = rest[:digits], head + rest[digits:]
    moment = datetime.fromisoformat(head)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() + (float(f"0.{fraction}") if fraction else 0.0)


def local_time(seconds: float) -> str:
    """``2024-05-30 12:07:14 +0000 UTC``, as Go prints a time of whole seconds."""
    if seconds <= _ZERO_SECONDS:
        return "0001-01-01 00:00:00 +0000 UTC"
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(int(seconds)))


def exact_time(text: str) -> str:
    """An RFC 3339 instant of UTC, ``2024-05-30T12:07:14.120000000Z``, as Go prints it."""
    date, _, clock = text.removesuffix("Z").partition("T")
    seconds, _, fraction = clock.partition(".")
    return f"{date} {f'{seconds}.{fraction}'.rstrip('0').rstrip('.')} +0000 UTC"


def short(identifier: str) -> str:
    """The beginning of ``sha256:…``, or of an identifier of something else."""
    return identifier.removeprefix("sha256:")[:_ID_WIDTH]


def ellipsis(text: str, most: int) -> str:
    """At most so many characters; what is cut off shows as one ``…``."""
    if len(text) <= most:
        return text
    return text[: most - 1] + "…" if most > 1 else text[:most]
