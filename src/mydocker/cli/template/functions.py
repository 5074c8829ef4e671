"""What a pipeline may call: the functions of text/template, and those that Docker adds.

Each takes its arguments in order and raises ``CallError`` with what is wrong; ``and`` and ``or``, which do
not evaluate all their arguments, are in ``evaluate.py``.
"""

from __future__ import annotations

import html
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

from mydocker.cli.template.printing import is_list, show, sprint, sprintf, to_json, type_name
from mydocker.cli.template.structs import NIL, Strings, Struct


class CallError(Exception):
    """A function refuses its arguments."""


def truth(value: Any) -> bool:
    """Go's truth: false, 0, nil, and whatever has length 0 are not."""
    return bool(value) or callable(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "string"
    raise CallError("invalid type for comparison")


def eq(first: Any, *others: Any) -> bool:
    """Whether the first is equal to any of the others."""
    if not others:
        raise CallError("missing argument for comparison")
    for other in others:
        if first is None or other is None:
            if first is other:
                return True
            continue
        if isinstance(first, Mapping) or is_list(first):
            raise CallError(f"non-comparable type {show(first)}: {type_name(first)}")
        if _kind(first) != _kind(other):
            raise CallError("incompatible types for comparison")
        if first == other:
            return True
    return False


def ne(first: Any, second: Any) -> bool:
    return not eq(first, second)


def lt(first: Any, second: Any) -> bool:
    kind = _kind(first)
    if kind != _kind(second):
        raise CallError("incompatible types for comparison")
    if kind == "bool":
        raise CallError("invalid type for comparison")
    return bool(first < second)


def le(first: Any, second: Any) -> bool:
    return lt(first, second) or eq(first, second)


def gt(first: Any, second: Any) -> bool:
    return not le(first, second)


def ge(first: Any, second: Any) -> bool:
    return not lt(first, second)


def length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="surrogateescape"))
    if is_list(value) or (isinstance(value, Mapping) and not isinstance(value, Struct)):
        return len(value)
    if value is None or value is NIL:
        raise CallError("len of nil pointer")
    raise CallError(f"len of type {type_name(value)}")


def index(value: Any, *keys: Any) -> Any:
    """``index x 1 "a"`` is ``x[1]["a"]``; a missing key of a map is nil."""
    for key in keys:
        if value is None or value is NIL:
            raise CallError("index of untyped nil")
        if isinstance(value, Struct):
            raise CallError("can't index item of type struct")
        if isinstance(value, Mapping):
            if not isinstance(key, str):
                raise CallError(f"value has type {type_name(key)}; should be string")
            value = value.get(key, "" if isinstance(value, Strings) else None)
        elif is_list(value) or isinstance(value, str):
            if key is None:
                raise CallError("cannot index slice/array with nil")
            if not isinstance(key, int) or isinstance(key, bool):
                raise CallError(f"cannot index slice/array with type {type_name(key)}")
            sequence = value.encode(errors="surrogateescape") if isinstance(value, str) else value
            if not 0 <= key < len(sequence):
                raise CallError(f"index out of range: {key}")
            value = sequence[key]
        else:
            raise CallError(f"can't index item of type {type_name(value)}")
    return value


def slice_(value: Any, *bounds: Any) -> Any:
    if not (isinstance(value, str) or is_list(value)):
        raise CallError(f"can't slice item of type {type_name(value)}")
    if len(bounds) > 2:
        raise CallError(f"too many slice indexes: {len(bounds)}")
    places = [0, len(value)]
    for place, bound in enumerate(bounds):
        if not isinstance(bound, int) or isinstance(bound, bool):
            raise CallError(f"cannot index slice/array with type {type_name(bound)}")
        if not 0 <= bound <= len(value):
            raise CallError(f"index out of range: {bound}")
        places[place] = bound
    if places[0] > places[1]:
        raise CallError(f"invalid slice index: {places[0]} > {places[1]}")
    return value[places[0] : places[1]]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise CallError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise CallError(f"expected integer; found {show(value)}")
    return value


def join(values: Any, separator: Any) -> str:
    if not is_list(values) and values is not None:
        raise CallError(f"wrong type for value; expected []string; got {type_name(values)}")
    return _text(separator).join(show(value) for value in values or ())


def title(text: Any) -> str:
    """Upper case for the first letter of every word; the rest stays."""
    result, previous = [], " "
    for character in _text(text):
        inside = previous.isalnum() or previous in "_'"
        result.append(character if inside else character.title())
        previous = character
    return "".join(result)


def pad(text: Any, before: Any, after: Any) -> str:
    content = _text(text)
    return " " * _integer(before) + content + " " * _integer(after) if content else content


def truncate(text: Any, most: Any) -> str:
    return _text(text)[: _integer(most)]


def _escape_js(text: str) -> str:
    special = {
        "\\": "\\\\",
        "'": "\\'",
        '"': '\\"',
        "<": "\\u003C",
        ">": "\\u003E",
        "&": "\\u0026",
        "=": "\\u003D",
    }
    return "".join(special.get(c, f"\\u{ord(c):04X}" if ord(c) < 0x20 else c) for c in text)


def _split(text: Any, separator: Any) -> list[str]:
    between = _text(separator)
    return _text(text).split(between) if between else list(_text(text))


class Signature:
    """A function with the number of arguments that it takes; ``most`` None is any number."""

    __slots__ = ("call", "least", "most")

    def __init__(self, call: Callable[..., Any], least: int, most: int | None) -> None:
        self.call = call
        self.least = least
        self.most = most

    def check(self, name: str, count: int) -> None:
        """Raises ``CallError``."""
        if self.most is None:
            if count < self.least:
                raise CallError(f"wrong number of args for {name}: want at least {self.least} got {count}")
        elif count != self.most:
            raise CallError(f"wrong number of args for {name}: want {self.most} got {count}")


FUNCTIONS: dict[str, Signature] = {
    "and": Signature(lambda *values: values, 1, None),
    "or": Signature(lambda *values: values, 1, None),
    "not": Signature(lambda value: not truth(value), 1, 1),
    "len": Signature(length, 1, 1),
    "index": Signature(index, 1, None),
    "slice": Signature(slice_, 1, None),
    "print": Signature(lambda *values: sprint(values), 0, None),
    "printf": Signature(lambda pattern, *values: sprintf(_text(pattern), values), 1, None),
    "println": Signature(lambda *values: " ".join(show(value) for value in values) + "\n", 0, None),
    "html": Signature(
        lambda *values: html.escape(sprint(values)).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        0,
        None,
    ),
    "js": Signature(lambda *values: _escape_js(sprint(values)), 0, None),
    "urlquery": Signature(lambda *values: urllib.parse.quote_plus(sprint(values)), 0, None),
    "eq": Signature(eq, 1, None),
    "ne": Signature(ne, 2, 2),
    "lt": Signature(lt, 2, 2),
    "le": Signature(le, 2, 2),
    "gt": Signature(gt, 2, 2),
    "ge": Signature(ge, 2, 2),
    "json": Signature(to_json, 1, 1),
    "split": Signature(_split, 2, 2),
    "join": Signature(join, 2, 2),
    "title": Signature(title, 1, 1),
    "lower": Signature(lambda text: _text(text).lower(), 1, 1),
    "upper": Signature(lambda text: _text(text).upper(), 1, 1),
    "pad": Signature(pad, 3, 3),
    "truncate": Signature(truncate, 2, 2),
}
