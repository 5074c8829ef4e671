"""Values as Go's strconv and time packages read and write them, with their messages.

Docker's flags, templates and filters are Go's; people and scripts know ``strconv.ParseInt: parsing "x"`` by
sight. Out of scope: Docker's own syntaxes (sizes, mounts …), which have files of their own.
"""

from __future__ import annotations

import re

TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_SHORT_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
    "\\": r"\\", '"': r"\"",
}  # fmt: skip
# A decimal, hexadecimal, octal or binary number, underscores between digits (the Go specification, "Integer
# literals"; base 0 of strconv.ParseInt).
_INTEGER = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)", re.ASCII
)
_DURATION_PART = re.compile(r"([0-9]*\.?[0-9]*)([a-zµμ]*)", re.ASCII)
_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def quote(text: str) -> str:
    """``%q``: a double-quoted Go string literal."""
    return '"' + "".join(_escape(character) for character in text) + '"'


def _escape(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8, as Python keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


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


def parse_duration(text: str) -> int:
    """``time.ParseDuration``: ``1h30m``, ``1.5s``, ``-2ms``; nanoseconds."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    if not rest:
        raise ValueError(f"time: invalid duration {quote(text)}")
    total, position = 0, 0
    while position < len(rest):
        matched = _DURATION_PART.match(rest, position)
        if matched is None or matched[1] in ("", "."):
            raise ValueError(f"time: invalid duration {quote(text)}")
        if not matched[2]:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        scale = _NANOSECONDS.get(matched[2])
        if scale is None:
            raise ValueError(f"time: unknown unit {quote(matched[2])} in duration {quote(text)}")
        whole, _, fraction = matched[1].partition(".")
        total += int(whole or "0") * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
        position = matched.end()
    return sign * total
