"""Sizes in bytes, rates and fractions of processors, as Docker's command line takes them.

``64m``, ``1.5g``, ``512MiB``, ``100`` are binary multiples (docker/go-units, RAMInBytes): the letter b, k,
m, g, t or p, upper or lower case, with or without ``b`` or ``ib`` after it.
"""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS = {letter: 1 << (10 * power) for power, letter in enumerate(("b", "k", "m", "g", "t", "p"))}
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_RATIONAL = re.compile(rf"[+-]?(?:[0-9]+/[0-9]*[1-9][0-9]*|{_NUMBER.pattern})", re.ASCII)
NANO = 1_000_000_000


def parse_size(text: str) -> int:
    """Bytes; not negative."""
    # The number ends at the last digit, point or space, as in RAMInBytes; a space may stand before the unit.
    end = max((text.rfind(character) for character in "0123456789. "), default=-1)
    if end < 0:
        raise ValueError(f"invalid size: '{text}'")
    separated = text[end] == " "
    number, suffix = (text[:end], text[end + 1 :]) if separated else (text[: end + 1], text[end + 1 :])
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"invalid size: '{text}'")
    value = Fraction(number.removesuffix("."))
    if not suffix:
        return int(value)
    lowered = suffix.lower()
    unit = _UNITS.get(lowered[0])
    if unit is None or not (len(lowered) == 1 or (lowered[0] != "b" and lowered[1:] in ("b", "ib"))):
        raise ValueError(f"invalid suffix: '{suffix}'")
    return int(value * unit)


def parse_swap(text: str) -> int:
    """A size, or -1 for no limit."""
    return -1 if text == "-1" else parse_size(text)


def parse_cpus(text: str) -> int:
    """Nano-CPUs from a decimal or a fraction (``1.5``, ``3/2``)."""
    if not _RATIONAL.fullmatch(text):
        raise ValueError(f"failed to parse {text} as a rational number")
    nano = Fraction(text.removesuffix(".")) * NANO
    if nano.denominator != 1:
        raise ValueError("value is too precise")
    return int(nano)
