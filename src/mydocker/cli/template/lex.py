"""From a template's text to tokens.

Text outside of actions is one token each. ``{{- `` and `` -}}`` trim the text beside them; a comment
``{{/* … */}}`` leaves nothing. Blanks are tokens, because ``.A.B`` is one field and ``.A .B`` are two.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from enum import Enum
from typing import NamedTuple

_BLANK = " \t\r\n"


class ParseError(Exception):
    """The template cannot be read; the message is that of Go's package."""


class Kind(Enum):
    TEXT = "text"
    LEFT = "{{"
    RIGHT = "}}"
    SPACE = "space"
    FIELD = "field"
    DOT = "."
    VARIABLE = "variable"
    WORD = "word"
    STRING = "string"
    CHARACTER = "character"
    NUMBER = "number"
    PIPE = "|"
    LEFT_PAREN = "("
    RIGHT_PAREN = ")"
    DECLARE = ":="
    ASSIGN = "="
    COMMA = ","
    END = "EOF"


class Token(NamedTuple):
    kind: Kind
    text: str
    position: int


_PATTERNS: tuple[tuple[Kind, str], ...] = (
    (Kind.SPACE, r"[ \t\r\n]+"),
    (Kind.STRING, r'"(?:[^"\\\n]|\\.)*"|`[^`]*`'),
    (Kind.CHARACTER, r"'(?:[^'\\\n]|\\[^\n]+?)'"),
    (Kind.NUMBER, r"[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|"
                  r"(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)"),
    (Kind.FIELD, r"\.[^\W\d]\w*"),
    (Kind.DOT, r"\."),
    (Kind.VARIABLE, r"\$\w*"),
    (Kind.WORD, r"[^\W\d]\w*"),
    (Kind.DECLARE, r":="),
    (Kind.ASSIGN, r"="),
    (Kind.PIPE, r"\|"),
    (Kind.LEFT_PAREN, r"\("),
    (Kind.RIGHT_PAREN, r"\)"),
    (Kind.COMMA, r","),
)  # fmt: skip
_TOKEN = re.compile("|".join(f"(?P<{kind.name}>{pattern})" for kind, pattern in _PATTERNS))
_OPERANDS = (Kind.FIELD, Kind.DOT, Kind.VARIABLE, Kind.WORD, Kind.NUMBER)


def line_of(source: str, position: int) -> int:
    return source.count("\n", 0, position) + 1


def lex(source: str) -> Iterator[Token]:
    """Raises ``ParseError``."""
    position, trim = 0, False
    while True:
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        if trim:
            stripped = text.lstrip(_BLANK)
            position += len(text) - len(stripped)
            text = stripped
        if start < 0:
            if text:
                yield Token(Kind.TEXT, text, position)
            yield Token(Kind.END, "", len(source))
            return
        inside = start + 2
        if source[inside : inside + 1] == "-" and source[inside + 1 : inside + 2] in tuple(_BLANK):
            text = text.rstrip(_BLANK)
            inside += 1
        if text:
            yield Token(Kind.TEXT, text, position)
        if source.startswith("/*", _skip_blanks(source, inside)) and source[inside] in "/" + _BLANK:
            position, trim = _comment(source, _skip_blanks(source, inside))
            continue
        yield Token(Kind.LEFT, "{{", start)
        position, trim = yield from _action(source, inside, start)


def _skip_blanks(source: str, position: int) -> int:
    while position < len(source) and source[position] in _BLANK:
        position += 1
    return position


def _comment(source: str, start: int) -> tuple[int, bool]:
    end = source.find("*/", start)
    if end < 0:
        raise ParseError(f"template: :{line_of(source, start)}: unclosed comment")
    end += 2
    trim, after = _right_delimiter(source, end)
    if after < 0:
        raise ParseError(f"template: :{line_of(source, end)}: comment ends before closing delimiter")
    return after, trim


def _right_delimiter(source: str, position: int) -> tuple[bool, int]:
    """Whether it trims, and where it ends; -1 if there is none here."""
    if source.startswith("}}", position):
        return False, position + 2
    if source[position : position + 1] in tuple(_BLANK) and source.startswith("-}}", position + 1):
        return True, position + 4
    return False, -1


def _action(source: str, position: int, start: int) -> Generator[Token, None, tuple[int, bool]]:
    depth = 0
    while True:
        trim, after = _right_delimiter(source, position)
        if after >= 0:
            if depth:
                raise ParseError(f"template: :{line_of(source, position)}: unclosed left paren")
            yield Token(Kind.RIGHT, "}}", position)
            return after, trim
        if position >= len(source):
            raise ParseError(f"template: :{line_of(source, start)}: unclosed action")
        matched = _TOKEN.match(source, position)
        if matched is None or matched.lastgroup is None:
            raise ParseError(_cannot_lex(source, position))
        token = Token(Kind[matched.lastgroup], matched[0], position)
        depth += (token.kind is Kind.LEFT_PAREN) - (token.kind is Kind.RIGHT_PAREN)
        if depth < 0:
            raise ParseError(f"template: :{line_of(source, position)}: unexpected right paren")
        position = matched.end()
        if token.kind in _OPERANDS and not _may_end(source, position):
            raise ParseError(
                f"template: :{line_of(source, position)}: bad character {_named(source[position])}"
            )
        yield token


def _may_end(source: str, position: int) -> bool:
    """Whether an operand may end here: nothing of a following word may touch it."""
    return (
        position >= len(source) or source[position] in _BLANK + ".,|:)=(" or source.startswith("}}", position)
    )


def _cannot_lex(source: str, position: int) -> str:
    where = f"template: :{line_of(source, position)}: "
    character = source[position]
    if character == '"':
        return where + "unterminated quoted string"
    if character == "`":
        return where + "unterminated raw quoted string"
    if character == "'":
        return where + "unterminated character constant"
    if character == ":":
        return where + "expected :="
    return where + f"unrecognized character in action: {_named(character)}"


def _named(character: str) -> str:
    return f"U+{ord(character):04X} '{character}'"
