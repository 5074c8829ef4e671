"""The command line of ``mydocker-runtime``: a parser as small as the start of the command is short.

A command's options are a table: name -> kind. ``FLAG`` takes no value, ``VALUE`` takes one, ``LIST`` may be
repeated. Both ``--name value`` and ``--name=value`` are understood, as well as one dash before either, as
runc does. Parsing stops at the first word that is no option, or after ``--``.
"""

from __future__ import annotations

from mydocker.errors import InvalidArgument

FLAG = "flag"
VALUE = "value"
LIST = "list"


class Options:
    """What was given; what was not is False, an empty string, or an empty list."""

    __slots__ = ("_kinds", "_values")

    def __init__(self, kinds: dict[str, str]) -> None:
        self._kinds = kinds
        self._values: dict[str, list[str]] = {}

    def flag(self, name: str) -> bool:
        return bool(self._values.get(name))

    def value(self, name: str, default: str = "") -> str:
        return self._values[name][-1] if name in self._values else default

    def list(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def add(self, name: str, value: str) -> None:
        self._values.setdefault(name, []).append(value)


def parse(words: list[str], kinds: dict[str, str], short: dict[str, str]) -> tuple[Options, list[str]]:
    """Return the options at the beginning of ``words``, and the rest; ``InvalidArgument`` if unknown."""
    options = Options(kinds)
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        name = short.get(name, name)
        kind = kinds.get(name)
        if kind is None:
            raise InvalidArgument(f"unknown option: {word}")
        if kind == FLAG:
            if equals and value not in ("true", "false"):
                raise InvalidArgument(f"option --{name} is either true or false, not {value!r}")
            if value != "false":
                options.add(name, "true")
            continue
        if not equals:
            if not rest:
                raise InvalidArgument(f"option --{name} needs a value")
            value = rest.pop(0)
        options.add(name, value)
    return options, rest
