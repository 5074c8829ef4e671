"""What a command is: its flags, its arguments, what it does; and its help text.

    COMMAND = Command("ps", "ps [OPTIONS]", "List containers", flags=(switch("all", "a", "…"), …), action=run)

``action`` gets an ``Invocation`` and returns the exit status. It writes results with ``output.out`` and
raises classes of ``errors.py``; which status and which words these become is decided in ``main.py``.
Out of scope: how words are split into flags and arguments (``flags/pflag.py``).
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from mydocker import errors
from mydocker.cli.flags import pflag
from mydocker.cli.flags.pflag import Flag

if TYPE_CHECKING:
    from mydocker.engine import Engine

PROGRAM = "mydocker"
USAGE_ERROR = 125
"""exit status for flags that cannot be read, or do not fit together"""


class ArgumentsError(Exception):
    """Too few or too many arguments; the message is Docker's."""


class WordsError(errors.InvalidArgument):
    """What the words ask for cannot be, whatever the engine has; another status than when that refuses."""

    def __init__(self, text: str, status: int = 1, *, see_help: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.see_help = see_help
        """whether the message ends with where the help is"""


class Invocation:
    """One call of a command: ``invocation["all"]`` is a flag's value, or its default."""

    def __init__(
        self,
        command: Command,
        name: str,
        values: Mapping[str, Any],
        arguments: list[str],
        globals_: Mapping[str, Any],
    ) -> None:
        self.command = command
        self.name = name
        """as it was called: ``ps`` or ``container ls``"""
        self.given = frozenset(values)
        self.flags = {flag.name: values.get(flag.name, flag.default) for flag in command.flags}
        self.arguments = arguments
        self._globals = globals_

    def __getitem__(self, flag: str) -> Any:
        return self.flags[flag]

    @cached_property
    def engine(self) -> Engine:
        from mydocker.engine import Engine

        given = {name: self._globals[name] or None for name in ("root", "state", "registries", "config")}
        return Engine(**given)


class Command(NamedTuple):
    usage: str
    """what follows the program's name: ``ps [OPTIONS]``"""
    summary: str
    action: Callable[[Invocation], int]
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int | None = 0
    """how many arguments; None: any number"""
    interspersed: bool = True
    """whether flags may follow arguments"""
    failure: int = 1
    """exit status when the engine refuses"""
    start_failure: int | None = None
    """exit status of ``StartFailed``, where that is another one"""

    def parse(self, name: str, words: Sequence[str], globals_: Mapping[str, Any]) -> Invocation:
        """Raises ``FlagError``, ``HelpRequested`` and ``ArgumentsError``."""
        parsed = pflag.parse(self.flags, words, interspersed=self.interspersed)
        invocation = Invocation(self, name, parsed.values, parsed.arguments, globals_)
        self._count(invocation)
        return invocation

    def _count(self, invocation: Invocation) -> None:
        count = len(invocation.arguments)
        least = 0 if invocation.flags.get("rootfs") else self.least
        if least <= count and (self.most is None or count <= self.most):
            return
        called = f"'{PROGRAM} {invocation.name}'"
        if self.most == 0:
            raise ArgumentsError(f"{called} accepts no arguments")
        if self.most == least:
            raise ArgumentsError(f"{called} requires {least} argument{'s' * (least != 1)}")
        if self.most is None:
            raise ArgumentsError(f"{called} requires at least {least} argument{'s' * (least != 1)}")
        most = f"at most {self.most} argument{'s' * (self.most != 1)}"
        if least:
            most = f"at least {least} and {most}"
        raise ArgumentsError(f"{called} requires {most}")

    def usage_line(self, name: str) -> str:
        """``mydocker container ls [OPTIONS]`` when it was called so."""
        _, _, rest = self.usage.partition(" ")
        return f"Usage:  {PROGRAM} {name} {rest}".rstrip()

    def help(self, name: str) -> str:
        parts = [self.usage_line(name), self.summary]
        if self.flags:
            parts.append("Options:\n" + describe(self.flags))
        return "\n\n".join(parts) + "\n"


def describe(flags: Sequence[Flag]) -> str:
    """The flags in two columns, as wide as the terminal; flags without help stay unlisted."""
    rows = []
    for flag in sorted((flag for flag in flags if flag.help), key=lambda flag: flag.name):
        names = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        names += f" {flag.kind}" if flag.kind and not flag.implied else ""
        help = f"{flag.help} (default {_shown(flag.default)})" if _has_default(flag) else flag.help
        rows.append((names, help))
    column = max(len(names) for names, _ in rows) + 3
    room = max(20, shutil.get_terminal_size().columns - column)
    lines = []
    for names, help in rows:
        first, *more = textwrap.wrap(help, room)
        lines.append(f"{names:<{column}}{first}")
        lines += [" " * column + line for line in more]
    return "\n".join(lines)


def _has_default(flag: Flag) -> bool:
    return flag.default not in (None, "", 0, False, ()) and flag.default != []


def _shown(default: Any) -> str:
    if isinstance(default, str):
        return f'"{default}"'
    return "true" if default is True else str(default)
