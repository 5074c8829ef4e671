"""Values as Go's strconv and time packages read and write them, with their messages.

Docker's flags, templates and filters are Go's; people and scripts know ``strconv.ParseInt: parsing "x"`` by
sight. Out of scope: Docker's own syntaxes (sizes, mounts …), which have files of their own.
"""

from __future__ import annotations

import re

from mydocker.oci.go import FALSE, TRUE, parse_duration, quote

__all__ = ["FALSE", "TRUE", "parse_bool", "parse_duration", "parse_float", "parse_int", "parse_uint", "quote"]

# A decimal, hexadecimal, octal or binary number, underscores between digits (the Go specification, "Integer
# literals"; base 0 of strconv.ParseInt).
_INTEGER = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)", re.ASCII
)


def parse_bool(text: str) -> bool:
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def parse_int(text: str, *, bits: int = 64, base: int = 0, function: str = "ParseInt") -> int:
    """``strconv.ParseInt(text, base, bits)`` for base 0 (the literal says which) or 10."""
    return _parse_integer(text, base, -(1 << (bits - 1)), (1 << (bits - 1)) - 1, function)


def parse_uint(text: str, *, bits: int = 64) -> int:
    if text[:1] in ("+", "-"):
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    return _parse_integer(text, 0, 0, (1 << bits) - 1, "ParseUint")


def _parse_integer(text: str, base: int, low: int, high: int, function: str) -> int:
    matched = _INTEGER.fullmatch(text) if base == 0 else re.fullmatch(r"[+-]?[0-9]+", text)
    if not matched:
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: invalid syntax")
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-").replace("_", "")
    octal = base == 0 and len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = sign * int(digits, 8 if octal else base)
    if not low <= value <= high:
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return value


def parse_float(text: str) -> float:
    """``strconv.ParseFloat`` for decimal numbers."""
    if not re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", text, re.ASCII):
        raise ValueError(f"strconv.ParseFloat: parsing {quote(text)}: invalid syntax")
    return float(text)
