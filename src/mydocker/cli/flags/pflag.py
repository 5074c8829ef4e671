"""Parse an argument list the way Docker's command line does (Go's pflag package).

In scope: which words are flags, which are their values and which are arguments, and the messages for what
cannot be read. Out of scope: help, defaults, and what a value means beyond its own syntax.

    --name value   --name=value   -n value   -nvalue   -n=value
    --switch       --switch=false -s         -s=false  -sn value (a cluster: only its last may take a value)
    --             everything after it is an argument

A switch is a flag that has a value when none is given (``true``). With ``interspersed`` false the first
argument ends the flags too, so that ``run IMAGE ls -l`` leaves ``-l`` to ``ls``.

Values are parsed in the order given, so the first mistake on the line is the one reported.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mydocker import errors
from mydocker.cli.flags import go
from mydocker.cli.flags.go import quote


class FlagError(Exception):
    """The argument list cannot be read; the message is pflag's."""


class HelpRequested(Exception):
    """``--help`` was among the flags; it wins over everything after it."""


class Flag(NamedTuple):
    """One flag. ``parse`` turns text into a value and raises ``ValueError`` with what is wrong with it."""

    name: str
    """long name without dashes"""
    parse: Callable[[str], Any]
    short: str = ""
    """one letter, or none"""
    repeated: bool = False
    """every value counts (the result is a list); otherwise the last one does"""
    implied: str = ""
    """the value when none is given, which makes it a switch"""
    default: Any = None
    """the value when the flag is not given"""
    kind: str = ""
    """what the help calls the value"""
    help: str = ""
    """one line; a flag without it is not listed"""

    @property
    def label(self) -> str:
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Parsed(NamedTuple):
    values: dict[str, Any]
    """by long name; only the flags that were given"""
    arguments: list[str]


def switch(name: str, short: str, help: str, *, default: bool = False) -> Flag:
    return Flag(name, go.parse_bool, short, implied="true", default=default, help=help)


def text(name: str, short: str, help: str, *, kind: str = "string", default: str = "") -> Flag:
    return Flag(name, str, short, default=default, kind=kind, help=help)


def number(name: str, short: str, help: str, *, default: int | None = 0) -> Flag:
    return Flag(name, go.parse_int, short, default=default, kind="int", help=help)


def value(
    name: str, short: str, help: str, parse: Callable[[str], Any], kind: str, *, default: Any = None
) -> Flag:
    return Flag(name, parse, short, default=default, kind=kind, help=help)


def values(name: str, short: str, help: str, parse: Callable[[str], Any] = str, kind: str = "list") -> Flag:
    """May be given many times; the value is a tuple or list of what ``parse`` made of each."""
    return Flag(name, parse, short, repeated=True, default=(), kind=kind, help=help)


def unbuilt(name: str, why: str, *, short: str = "", switch: bool = False) -> Flag:
    """A flag of Docker's that is understood and refused: better than ignored, and clearer than unknown."""

    def refuse(given: str) -> Any:
        if switch and given in go.FALSE:
            return False
        raise errors.NotSupported(f"--{name} is not built yet: {why}")

    return Flag(name, refuse, short, implied="true" if switch else "")


def parse(flags: Sequence[Flag], words: Sequence[str], *, interspersed: bool = True) -> Parsed:
    """Raises ``FlagError`` and ``HelpRequested``."""
    return _Parser(flags).run(list(words), interspersed)


class _Parser:
    def __init__(self, flags: Sequence[Flag]) -> None:
        self.long = {flag.name: flag for flag in flags}
        self.short = {flag.short: flag for flag in flags if flag.short}
        self.values: dict[str, Any] = {}

    def run(self, words: list[str], interspersed: bool) -> Parsed:
        arguments: list[str] = []
        while words:
            word = words.pop(0)
            if word == "--":
                arguments += words
                break
            if len(word) < 2 or word[0] != "-":
                arguments.append(word)
                if not interspersed:
                    arguments += words
                    break
            elif word[1] == "-":
                self.take_long(word, words)
            else:
                cluster = word[1:]
                while cluster:
                    cluster = self.take_short(cluster, words)
        return Parsed(self.values, arguments)

    def take_long(self, word: str, rest: list[str]) -> None:
        name, equals, text = word[2:].partition("=")
        if name == "" or name[0] == "-":
            raise FlagError(f"bad flag syntax: {word}")
        flag = self.long.get(name)
        if flag is None:
            if name == "help":
                raise HelpRequested
            raise FlagError(f"unknown flag: --{name}")
        if equals:
            self.store(flag, text)
        elif flag.implied:
            self.store(flag, flag.implied)
        elif rest:
            self.store(flag, rest.pop(0))
        else:
            raise FlagError(f"flag needs an argument: {word}")

    def take_short(self, cluster: str, rest: list[str]) -> str:
        """Take the first letter, and return what is left of the cluster."""
        flag = self.short.get(cluster[0])
        if flag is None:
            raise FlagError(f"unknown shorthand flag: '{cluster[0]}' in -{cluster}")
        if len(cluster) > 2 and cluster[1] == "=":
            self.store(flag, cluster[2:])
        elif flag.implied:
            self.store(flag, flag.implied)
            return cluster[1:]
        elif len(cluster) > 1:
            self.store(flag, cluster[1:])
        elif rest:
            self.store(flag, rest.pop(0))
        else:
            raise FlagError(f"flag needs an argument: '{cluster[0]}' in -{cluster}")
        return ""

    def store(self, flag: Flag, text: str) -> None:
        try:
            value = flag.parse(text)
        except ValueError as error:
            raise FlagError(
                f"invalid argument {quote(text)} for {quote(flag.label)} flag: {error}"
            ) from error
        if flag.repeated:
            self.values.setdefault(flag.name, []).append(value)
        else:
            self.values[flag.name] = value
