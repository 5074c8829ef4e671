"""Timing commands against each other: alternately, in one run, by the median of the ratios of each round.

Two commands that take turns see the same machine, whatever else it is doing. A time is from before the
spawn of the process to after its end, with all three standard streams on /dev/null. Before each command the
machine comes to rest: what an engine still does after its command has returned is nobody else's time.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Command = Sequence[str]


@dataclass(frozen=True)
class Series:
    """Seconds that each command took, by name, in the order of the rounds."""

    times: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        return statistics.median(self.times[name])

    def spread(self, name: str) -> tuple[float, float]:
        """The first and the last decile."""
        deciles = statistics.quantiles(self.times[name], n=10)
        return deciles[0], deciles[-1]

    def ratio(self, name: str, to: str) -> Ratio:
        """How many times the time of ``to`` is that of ``name``: the median over the rounds."""
        rounds = zip(self.times[name], self.times[to], strict=True)
        found = sorted(theirs / ours for ours, theirs in rounds)
        outside = _outside(len(found))
        return Ratio(statistics.median(found), found[outside], found[-1 - outside])


@dataclass(frozen=True)
class Ratio:
    """A median of what was measured, and between what the true one is with 95 % certainty or more."""

    median: float
    low: float
    high: float


def _outside(count: int) -> int:
    """How many of ``count`` sorted measurements are below that interval, and as many above.

    Each is below the true median with a probability of a half, whatever the distribution (binomial test).
    """
    total, ways = 0.0, 2.0**count
    for number in range(count // 2):
        total += math.comb(count, number) / ways
        if total > 0.025:
            return max(0, number - 1)
    return 0


_REST = 0.25
"""seconds before each command"""


class CommandFailed(Exception):
    pass


def once(command: Command, environment: Mapping[str, str], log: str) -> float:
    """Run ``command`` and return the seconds; its standard error goes to the file ``log``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, log, flags, 0o600),
    ]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], list(command), environment, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        with open(log, errors="replace") as file:
            raise CommandFailed(f"{' '.join(command)}: wait status {status}\n{file.read()}")
    return seconds


def rested(command: Command, environment: Mapping[str, str], log: str) -> float:
    """The same, when the machine has come to rest."""
    time.sleep(_REST)
    return once(command, environment, log)


def compare(
    commands: Mapping[str, Command],
    environment: Mapping[str, str],
    log: str,
    rounds: int,
    warm_up: int = 3,
    *,
    sync: bool = False,
    before: Callable[[], None] | None = None,
) -> Series:
    """Run the commands in turn, ``rounds`` times after ``warm_up`` rounds that do not count.

    Each round begins with another one: what comes first may find the machine in another state.

    ``sync``: before each of them the disk is quiet, so that none waits for what another has left in memory.
    ``before`` is called before each round.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(-warm_up, rounds):
        if before is not None:
            before()
        names = list(commands)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            time.sleep(_REST)
            if sync:
                os.sync()
            seconds = once(_numbered(commands[name], turn + warm_up), environment, log)
            if turn >= 0:
                times[name].append(seconds)
    return Series(times)


def _numbered(command: Command, turn: int) -> Command:
    """``{n}`` in an argument becomes the number of the round, for names that can be used once."""
    return [argument.replace("{n}", str(turn)) for argument in command]
