"""How Go prints values: ``%v`` and the other verbs of package fmt, and JSON as encoding/json writes it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mydocker.cli.flags.go import quote
from mydocker.cli.template.structs import NIL, Struct, plain

NO_VALUE = "<no value>"
_VERB = re.compile(r"%([-+# 0]*)(\*|[0-9]+)?(?:\.(\*|[0-9]+)?)?(.)", re.DOTALL)


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def show(value: Any) -> str:
    """``%v``."""
    if value is None or value is NIL:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return show_float(value)
    if isinstance(value, Struct):
        return "{" + " ".join(show(each) for each in value.values()) + "}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
    if is_list(value):
        return "[" + " ".join(show(item) for item in value) + "]"
    return str(value)


def show_float(value: float) -> str:
    """``%v`` of a float64: the shortest form, with an exponent from 1e21 on and below 1e-4."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    text = repr(value)
    mantissa, _, exponent = text.partition("e")
    if abs(value) >= 1e21 or 0 < abs(value) < 1e-4:
        if not exponent:
            mantissa, _, exponent = f"{value:e}".partition("e")
            mantissa = mantissa.rstrip("0")
        number = int(exponent)
        return (
            f"{mantissa.removesuffix('.0').removesuffix('.')}e{'-' if number < 0 else '+'}{abs(number):02d}"
        )
    if exponent:
        text = f"{value:f}"
    return text.removesuffix(".0") if "." in text and not text.strip("-").split(".")[1].strip("0") else text


_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class Fields(dict[str, Any]):
    """One line of a list. Its JSON is what docker makes of one: ordered by name, escaped, without methods."""


def to_json(value: Any) -> str:
    """Keys in the order that the data have; no escapes but those JSON needs, and HTML's in ``Fields``."""
    if isinstance(value, Fields):
        fields = {name: value[name] for name in sorted(value) if not callable(value[name])}
        return to_json(fields).translate(_HTML)
    return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))


def type_name(value: Any) -> str:
    """What Go would call the type of decoded JSON."""
    if value is None:
        return "<nil>"
    names = {bool: "bool", int: "int", float: "float64", str: "string"}
    for kind, name in names.items():
        if type(value) is kind:
            return name
    return "map[string]interface {}" if isinstance(value, Mapping) else "[]interface {}"


def sprint(values: Sequence[Any]) -> str:
    """``fmt.Sprint``: a blank between two operands of which neither is a string."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(show(value))
    return "".join(parts)


def sprintf(pattern: str, values: Sequence[Any]) -> str:
    """``fmt.Sprintf``, its complaints about verbs included."""
    queue = list(values)

    def take() -> Any:
        return queue.pop(0)

    def replace(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        has_point = "." in match[0][: match.end(4) - match.start() - 1]
        if verb == "%":
            return "%"
        if width == "*":
            width = str(take()) if queue else ""
        if precision == "*":
            precision = str(take()) if queue else ""
        if not queue:
            return f"%!{verb}(MISSING)"
        limit = int(precision or "0") if has_point else None
        text = _verb(verb, take(), flags, limit)
        return _pad(text, flags, int(width) if width else 0)

    text = _VERB.sub(replace, pattern)
    if pattern.replace("%%", "").endswith("%"):
        text = text.removesuffix("%") + "%!(NOVERB)"
    if queue:
        extra = ", ".join(f"{type_name(value)}={show(value)}" for value in queue)
        text += f"%!(EXTRA {extra})"
    return text


def _pad(text: str, flags: str, width: int) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and text.lstrip("+-").replace(".", "").isalnum():
        sign, digits = (text[0], text[1:]) if text[:1] in "+-" and text else ("", text)
        return sign + digits.rjust(width - len(sign), "0")
    return text.rjust(width)


def _verb(verb: str, value: Any, flags: str, precision: int | None) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in "vs" and is_list(value):
        return "[" + " ".join(_verb(verb, item, flags, precision) for item in value) + "]"
    if verb == "q" and is_list(value):
        return "[" + " ".join(_verb(verb, item, flags, precision) for item in value) + "]"
    if verb == "T":
        return type_name(value)
    if verb == "v":
        return _signed(show(value), flags) if number else _cut(show(value), value, precision)
    if verb == "t" and isinstance(value, bool):
        return show(value)
    if isinstance(value, str):
        cut = value if precision is None else value[:precision]
        texts = {"s": lambda: cut, "q": lambda: quote(cut), "x": lambda: cut.encode().hex(),
                 "X": lambda: cut.encode().hex().upper()}  # fmt: skip
        if verb in texts:
            return texts[verb]()
    elif number and isinstance(value, int):
        bases = {"d": "d", "x": "x", "X": "X", "o": "o", "b": "b"}
        if verb in bases:
            prefix = {"x": "0x", "X": "0X", "o": "0"}.get(verb, "") if "#" in flags else ""
            sign = "-" if value < 0 else ""
            return _signed(sign + prefix + format(abs(value), bases[verb]), flags)
        if verb == "c":
            return chr(value)
        if verb == "q":
            return "'" + quote(chr(value))[1:-1] + "'"
        if verb == "U":
            return f"U+{value:04X}"
    elif number and verb in "feEgG":
        if verb == "g" and precision is None:
            return _signed(show_float(value), flags)
        return _signed(format(value, f".{6 if precision is None else precision}{verb}"), flags)
    elif isinstance(value, Mapping) and verb == "s":
        return show(value)
    shown = "" if value is None else f"{type_name(value)}="
    return f"%!{verb}({shown}{show(value)})"


def _cut(text: str, value: Any, precision: int | None) -> str:
    return text[:precision] if precision is not None and isinstance(value, str) else text


def _signed(text: str, flags: str) -> str:
    if text.startswith("-"):
        return text
    return "+" + text if "+" in flags else " " + text if " " in flags else text
