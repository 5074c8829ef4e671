"""Durations and quoted strings as Go's packages time and strconv read and write them, with their messages."""

from __future__ import annotations

import re

TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
"""what strconv.ParseBool takes"""
_SHORT_ESCAPES = {
    "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v",
    "\\": r"\\", '"': r"\"",
}  # fmt: skip
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
