"""JSON for the processes that start cold: the C scanner of the standard library without its Python half.

``import json`` compiles regular expressions, which costs as much as the rest of the runtime's start. The
scanner in C needs an object with seven attributes and nothing else. Where an interpreter has no such scanner,
``json`` itself is used. Out of scope: checking of documents, and speed on large ones.
"""

from __future__ import annotations

from ..errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_WHITESPACE = " \t\n\r"
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


class _Context:
    """What ``_json.make_scanner`` reads its settings from."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner wants an attribute, and clears it itself

    @staticmethod
    def parse_constant(name: str) -> float:
        raise ValueError(f"{name} is not JSON")


def _scanner() -> Callable[[str, int], tuple[Any, int]]:
    try:
        from _json import make_scanner

        scan: Callable[[str, int], tuple[Any, int]] = make_scanner(_Context())  # type: ignore[arg-type]
    except (ImportError, AttributeError, TypeError):
        from json import JSONDecoder

        return JSONDecoder().raw_decode
    return scan


def loads(text: str | bytes, name: str) -> Any:
    """Return the value that ``text`` is; ``InvalidArgument`` with ``name`` if it is not JSON."""
    try:
        text = text if isinstance(text, str) else text.decode()
        start = len(text) - len(text.lstrip(_WHITESPACE))
        try:
            value, end = _scanner()(text, start)
        except SystemError:
            # The scanner finds a mistake, and the class of its error not loaded: once more, with words.
            from json import JSONDecoder

            value, end = JSONDecoder().raw_decode(text, start)
    except StopIteration as error:
        raise InvalidArgument(f"{name}: not JSON: no value at character {error.value}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{name}: not JSON: {error}") from None
    if text[end:].strip(_WHITESPACE):
        raise InvalidArgument(f"{name}: not JSON: more after the value, at character {end}")
    return value


def load(path: str) -> Any:
    """Return the value in the file ``path``."""
    with open(path, "rb", buffering=0) as file:
        return loads(file.read(), path)


def dumps(value: Any, indent: int = 0) -> str:
    """Return ``value`` as JSON in UTF-8 text; with ``indent``, one member a line."""
    return _dump(value, indent, "\n" if indent else "")


def _dump(value: Any, indent: int, newline: str) -> str:
    if isinstance(value, str):
        return _quote(value)
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)
    inner = newline + " " * indent
    if isinstance(value, dict):
        colon = ": " if indent else ":"
        parts = [_quote(str(k)) + colon + _dump(v, indent, inner) for k, v in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, (list, tuple)):
        parts = [_dump(v, indent, inner) for v in value]
        opening, closing = "[", "]"
    else:
        raise TypeError(f"{type(value).__name__} is not JSON")
    if not parts:
        return opening + closing
    return opening + inner + ("," + inner).join(parts) + newline + closing


def _quote(text: str) -> str:
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(c) or (c if c >= " " else f"\\u{ord(c):04x}") for c in text) + '"'
