"""Every step of what happens to a container, each of them the last one of a process: nothing may be lost.

A scenario is a command (or what a container does by itself) with the state that it begins from. It is run
once under ``tracer.py`` to count its steps, and then once for each step and for just before and just after
it: one process is killed there, whichever it is (launcher, worker, monitor, builder, the container's init
before it is a program). After that:

    no command shows a traceback or hangs: ps, inspect, system check, the same command again
    system check is clean after one reconciling command
    what was there before, a container with its files and its log, is still there
    what the scenario was about is as it was before, or as it is after (``Scenario.allowed``)
    when the containers are removed, nothing is left (``leaks.py``)
"""

from __future__ import annotations

import os
import platform
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from support import leaks
from support.command import Result, Runner

TRACER = os.path.join(os.path.dirname(__file__), "tracer.py")
_POINTS = re.compile(r"points (\d+): (.*)")
NAME = "victim"
OTHER = "victim-renamed"


@dataclass(frozen=True)
class Scenario:
    name: str
    command: Sequence[str]
    before: Sequence[Sequence[str]] = ()
    """commands that make what it begins with"""
    until: str = "first"
    """``all``: processes that stay are waited for, as the container ends by itself"""
    allowed: frozenset[str] = frozenset()
    """states of the container in the end; ``gone``: there is none"""
    names: frozenset[str] = frozenset({NAME})


def scenarios(image: str) -> list[Scenario]:
    flags = ("--publish", "127.0.0.1::80", "--volume", "/data", "--name", NAME)
    create = ("create", *flags, image, "sleep", "1000")
    run = ("run", "--detach", *flags, image, "sleep", "1000")
    ends = ("run", "--detach", *flags)
    ended = frozenset({"exited", "created", "gone"})
    return [
        Scenario("create", create, allowed=frozenset({"created", "gone"})),
        Scenario("run", run, allowed=frozenset({"running", "exited", "created", "gone"})),
        Scenario("start", ("start", NAME), [create], allowed=frozenset({"running", "exited", "created"})),
        Scenario(
            "exit", (*ends, image, "sh", "-c", "echo out"), until="all", allowed=ended
        ),
        Scenario(
            "exit and go", (*ends, "--rm", image, "sh", "-c", "echo out"), until="all",
            allowed=frozenset({"gone"}),
        ),
        Scenario(
            "start by policy",
            (*ends, "--restart", "on-failure:1", image, "sh", "-c", "echo out; exit 1"),
            until="all", allowed=ended,
        ),
        Scenario("restart", ("restart", "-t", "0", NAME), [run], allowed=frozenset({"running", "exited"})),
        Scenario(
            "rename", ("rename", NAME, OTHER), [create], allowed=frozenset({"created"}),
            names=frozenset({NAME, OTHER}),
        ),
        Scenario("rm", ("rm", "-v", NAME), [create], allowed=frozenset({"created", "gone"})),
        Scenario("rm of a running one", ("rm", "-f", "-v", NAME), [run],
                 allowed=frozenset({"running", "exited", "gone"})),
    ]  # fmt: skip


@dataclass
class Outcome:
    points: int = 0
    kills: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        leaked = sum("left behind" in each for each in self.problems)
        lost = len(self.problems) - leaked
        return f"{self.points} points, {self.kills} kills, {leaked} leaks, {lost} losses"


def refusal() -> str:
    """Why this cannot run here, if it cannot."""
    return "" if platform.machine() == "x86_64" else "tracer.py knows the system calls of x86-64"


class Injector:
    def __init__(self, runner: Runner, image: str) -> None:
        self._runner = runner
        self._image = image
        self._runner("run", "--name", "bystander", image, "sh", "-c", "echo kept; echo kept > /kept")
        self._runner("version")
        self._before = leaks.Snapshot.take(runner.root, runner.state)

    def _traced(self, scenario: Scenario, point: int, *, after: bool) -> tuple[int, str]:
        """The number of steps, and the one at which something was killed."""
        argv = [sys.executable, TRACER, str(point), "after" if after else "before", scenario.until]
        done = subprocess.run(
            [*argv, *self._runner.argv(*scenario.command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self._runner.env({"MYDOCKER_FORKSERVER": "0"}),
            timeout=60,
            check=False,
        )
        said = done.stderr.decode(errors="replace")
        match = _POINTS.search(said)
        assert match, f"{scenario.name}: {done.returncode} {said}"
        assert "Traceback" not in said, f"{scenario.name} at {match[2]}: {said}"
        return int(match[1]), match[2]

    def count(self, scenario: Scenario) -> int:
        self._prepare(scenario)
        points, _ = self._traced(scenario, 0, after=False)
        self._clean()
        return points

    def kill(self, scenario: Scenario, point: int, *, after: bool) -> str | None:
        """What is wrong after that kill; None if nothing is."""
        where = "?"
        try:
            self._prepare(scenario)
            _, where = self._traced(scenario, point, after=after)
            self._check(scenario)
            self._clean()
        except (AssertionError, subprocess.TimeoutExpired) as error:
            instant = "after" if after else "before"
            self._remove()
            return f"{scenario.name}, {instant} point {point} ({where}): {error}"
        return None

    def _prepare(self, scenario: Scenario) -> None:
        for command in scenario.before:
            self._runner(*command)

    def _ask(self, *command: str) -> Result:
        done = self._runner(*command, check=False, timeout=20)
        assert "Traceback" not in done.err, str(done)
        return done

    def _check(self, scenario: Scenario) -> None:
        shown = self._list(scenario)  # reconciles
        checked = self._ask("system", "check")
        assert checked.code == 0, str(checked)
        for name in scenario.names:
            found = self._ask("inspect", name)
            if (found.code == 0) != (name in shown):
                shown = self._list(scenario)  # whoever is left of the command has gone on meanwhile
            assert (found.code == 0) == (name in shown), f"inspect {name} -> {found.code}, but ps: {shown}"
        if "running" in shown.values():
            works = self._ask("exec", next(iter(shown)), "echo", "works")
            # or somebody who was killed then had sent it a signal already
            still = self._runner("ps", "-q", "--filter", "name=victim").out
            assert works.out == "works\n" or not still, str(works)
        self._ask(*scenario.command)
        assert self._ask("logs", "bystander").out == "kept\n", "the log of the other container is lost"

    def _list(self, scenario: Scenario) -> dict[str, str]:
        """The state of the scenario's container by its name, if there is one; it has to be an allowed one."""
        listed = self._ask("ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.State}}")
        assert listed.code == 0, str(listed)
        shown = dict(line.split(" ") for line in listed.out.splitlines())
        assert shown.pop("bystander", "") == "exited", f"the other container is lost: {listed}"
        assert len(shown) <= 1, f"one container too many: {listed}"
        assert shown.keys() <= scenario.names, str(listed)
        assert (set(shown.values()) or {"gone"}) <= scenario.allowed, f"lost or in another state: {listed}"
        return shown

    def _clean(self) -> None:
        self._remove()
        leaks.wait_for_nothing_left(self._before, self._runner.root, self._runner.state)
        left = os.listdir(os.path.join(self._runner.root, "volume"))
        assert not left, f"left behind: volumes {left}"

    def _remove(self) -> None:
        left = self._runner("ps", "-aq", "--no-trunc", "--filter", "name=victim").out.split()
        if left:
            self._runner("rm", "-f", "-v", *left, check=False)  # one of --rm may be gone by now; see _clean


def sample(
    injector: Injector, every: Sequence[Scenario], seconds: float, seed: int, say: Callable[[str], None]
) -> Outcome:
    """Points by chance, in all scenarios in turn, for about so many seconds."""
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    outcome = Outcome()
    counts: dict[str, int] = {}
    while time.monotonic() < end:
        for scenario in every:
            if scenario.name not in counts:
                counts[scenario.name] = injector.count(scenario)
                outcome.points += counts[scenario.name]
            point = chance.randint(1, counts[scenario.name])
            _one(injector, scenario, point, chance.random() < 0.5, outcome, say)
            if time.monotonic() > end:
                break
    return outcome


def all_points(injector: Injector, every: Sequence[Scenario], say: Callable[[str], None]) -> Outcome:
    outcome = Outcome()
    for scenario in every:
        points = injector.count(scenario)
        outcome.points += points
        for point in range(1, points + 1):
            for after in (False, True):
                _one(injector, scenario, point, after, outcome, say)
        say(f"{scenario.name}: {points} points; so far {outcome}")
    return outcome


def _one(
    injector: Injector,
    scenario: Scenario,
    point: int,
    after: bool,
    outcome: Outcome,
    say: Callable[[str], None],
) -> None:
    problem = injector.kill(scenario, point, after=after)
    outcome.kills += 1
    if problem is not None:
        outcome.problems.append(problem)
        say(problem)
