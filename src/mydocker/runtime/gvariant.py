"""GVariant text, as far as properties of systemd are written in it: to a D-Bus signature and a value.

    true   12   -3   1.5   'text'   "text"   ['a', 'b']   [(…), …]   uint64 12   byte 0x10   objectpath '/x'

A number without a type is an int32, or a double if it has a point or an exponent; all members of an array are
of one type (https://docs.gtk.org/glib/gvariant-text-format.html). Out of scope, and refused: dictionaries,
variants, ``@`` types, ``nothing`` and ``just``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = {
    "boolean": "b",
    "byte": "y",
    "int16": "n",
    "uint16": "q",
    "int32": "i",
    "uint32": "u",
    "int64": "x",
    "uint64": "t",
    "double": "d",
    "string": "s",
    "objectpath": "o",
    "signature": "g",
}
_SIZES = {"y": (0, 8), "n": (1, 16), "q": (0, 16), "i": (1, 32), "u": (0, 32), "x": (1, 64), "t": (0, 64)}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def parse(text: str) -> tuple[str, Any]:
    """``uint64 5`` -> ``("t", 5)``; ``ValueError`` for what is not understood."""
    parser = _Parser(text)
    value = parser.value()
    parser.skip()
    if parser.place < len(text):
        raise ValueError(f"not understood: {text[parser.place :]!r}")
    return value


class _Parser:
    __slots__ = ("place", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0

    def skip(self) -> str:
        """Pass over white space; the character that comes then, or nothing at the end."""
        while self.text[self.place : self.place + 1].isspace():
            self.place += 1
        return self.text[self.place : self.place + 1]

    def value(self, wanted: str = "") -> tuple[str, Any]:
        first = self.skip()
        if not first:
            raise ValueError("a value is missing")
        if first in "'\"":
            return _fitting("s", self._quoted(first), wanted)
        if first == "[":
            members = self._members("]")
            kinds = {kind for kind, _ in members}
            if len(kinds) != 1:
                raise ValueError("an array has members of one type, and at least one")
            return f"a{kinds.pop()}", _array([member for _, member in members], members[0][0])
        if first == "(":
            members = self._members(")")
            return f"({''.join(kind for kind, _ in members)})", tuple(member for _, member in members)
        word = self._word()
        if word in _TYPES:
            return self.value(_TYPES[word])
        if word in ("true", "false"):
            return _fitting("b", word == "true", wanted)
        return _numeric(word, wanted)

    def _members(self, end: str) -> list[tuple[str, Any]]:
        self.place += 1
        found: list[tuple[str, Any]] = []
        while self.skip() != end:
            if found:
                if self.skip() != ",":
                    raise ValueError(f"{end} is missing")
                self.place += 1
                if self.skip() == end:
                    break
            found.append(self.value())
        self.place += 1
        return found

    def _word(self) -> str:
        start = self.place
        while self.place < len(self.text) and (
            self.text[self.place].isalnum() or self.text[self.place] in "+-._"
        ):
            self.place += 1
        if start == self.place:
            raise ValueError(f"not understood: {self.text[start:]!r}")
        return self.text[start : self.place]

    def _quoted(self, quote: str) -> str:
        found = ""
        self.place += 1
        while self.place < len(self.text):
            letter = self.text[self.place]
            self.place += 1
            if letter == quote:
                return found
            if letter == "\\":
                escaped = self.text[self.place : self.place + 1]
                self.place += 1
                letter = _ESCAPES.get(escaped, escaped)
            found += letter
        raise ValueError("the end of a text is missing")


def _fitting(kind: str, value: Any, wanted: str) -> tuple[str, Any]:
    if wanted in ("o", "g") and kind == "s":
        kind = wanted
    if wanted and wanted != kind:
        raise ValueError(f"{value!r} is not of the type that is said before it")
    return kind, value


def _array(members: list[Any], kind: str) -> Any:
    return bytes(members) if kind == "y" else members


def _numeric(word: str, wanted: str) -> tuple[str, Any]:
    hexadecimal = word.lstrip("+-")[:2].lower() == "0x"
    try:
        if wanted == "d" or (not wanted and not hexadecimal and any(letter in ".eE" for letter in word)):
            return "d", float(word)
        number = int(word, 16 if hexadecimal else 10)
    except ValueError:
        raise ValueError(f"{word!r} is neither a number nor a text in quotes") from None
    kind = wanted or "i"
    if kind not in _SIZES:
        raise ValueError(f"{word} is not of the type that is said before it")
    signed, size = _SIZES[kind]
    low, high = (-(1 << size - 1), (1 << size - 1) - 1) if signed else (0, (1 << size) - 1)
    if not low <= number <= high:
        raise ValueError(f"{number} is not between {low} and {high}")
    return kind, number
