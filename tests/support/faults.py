"""Every step of what happens to a container, each of them the last one of a process: nothing may be lost.

A scenario is a command (or what a container does by itself) with the state that it begins from. It is run
once under ``tracer.py`` to count its steps, and then once for each step and for just before and just after
it: one process is killed there, whichever it is (launcher, worker, monitor, builder, the container's init
before it is a program). After that:

    no command shows a traceback or hangs: ps, inspect, system check, the same command again
    system check is clean after one reconciling command
    what was there before, a container with its files and its log, is still there
    what the scenario was about is as it was before, or as it is after (``Scenario.allowed``)
    no bridge is up that the packet filter does not know
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
from support.terminal import clients
from support.waiting import wait_until

TRACER = os.path.join(os.path.dirname(__file__), "tracer.py")
_POINTS = re.compile(r"points (\d+): (.*)")
NAME = "victim"
OTHER = "victim-renamed"
VAULT = "vault"
WIRE = "wire"
TOWN = "town"
"""a network that stays"""
_PRUNE = ("network", "prune", "--force", "--filter", "label!=stays")


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
    settled: tuple[Sequence[str], str] | None = None
    """a command, and what it prints after all that and the same command again"""


def scenarios(image: str) -> list[Scenario]:
    create = ("create", "--name", NAME, image, "sleep", "1000")
    run = ("run", "-d", "--name", NAME, image, "sleep", "1000")
    published = (*run[:2], "-p", "24999:80", *run[2:])
    ended = frozenset({"exited", "created", "gone"})
    return [
        Scenario("create", create, allowed=frozenset({"created", "gone"})),
        Scenario("run", run, allowed=frozenset({"running", "exited", "created", "gone"})),
        Scenario("start", ("start", NAME), [create], allowed=frozenset({"running", "exited", "created"})),
        Scenario(
            "exit", ("run", "-d", "--name", NAME, image, "sh", "-c", "echo out"), until="all", allowed=ended
        ),
        Scenario(
            "exit and go", ("run", "-d", "--rm", "--name", NAME, image, "sh", "-c", "echo out"), until="all",
            allowed=frozenset({"gone"}),
        ),
        Scenario(
            "start by policy",
            ("run", "-d", "--restart", "on-failure:1", "--name", NAME, image, "sh", "-c", "echo out; exit 1"),
            until="all", allowed=ended,
        ),
        Scenario("restart", ("restart", "-t", "0", NAME), [run], allowed=frozenset({"running", "exited"})),
        Scenario(
            "rename", ("rename", NAME, OTHER), [create], allowed=frozenset({"created"}),
            names=frozenset({NAME, OTHER}),
        ),
        Scenario("rm", ("rm", NAME), [create], allowed=frozenset({"created", "gone"})),
        Scenario(
            "run with a network of many parts",
            ("run", "-d", "--name", NAME, "-p", "24999:80", "-p", "[::1]:24999:81/udp", "--egress", "none",
             "--network-opt", "rate-in=1gbit,rate-out=1gbit", image, "sleep", "1000"),
            allowed=frozenset({"running", "exited", "created", "gone"}),
        ),
        Scenario("port add", ("port", "add", NAME, "24999:80", "[::1]:24999:81"), [run],
                 allowed=frozenset({"running"})),
        Scenario("port rm", ("port", "rm", NAME, "80"), [published], allowed=frozenset({"running"})),
        *_of_volumes(image),
        *_of_networks(),
        *_of_connections(published),
        Scenario("rm of a running one", ("rm", "-f", NAME), [run],
                 allowed=frozenset({"running", "exited", "gone"})),
    ]  # fmt: skip


def _of_volumes(image: str) -> list[Scenario]:
    """``vault`` begins with the image's /etc, so it has to have a ``passwd`` whenever it is used."""
    filled = ("run", "--rm", "-v", f"{VAULT}:/etc", image, "true")
    both = ("-v", f"{VAULT}:/etc", "-v", "/home", "--name", NAME, image)
    create = ("create", *both, "true")
    memory = ("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory")
    return [
        Scenario("create with volumes", create, allowed=frozenset({"created", "gone"})),
        Scenario("exit and go with volumes", ("run", "-d", "--rm", *both, "true"), until="all",
                 allowed=frozenset({"gone"})),
        Scenario("start with a tmpfs", ("start", NAME),
                 [memory, ("create", "-v", "memory:/v", "--name", NAME, image, "sleep", "1000")],
                 allowed=frozenset({"running", "exited", "created"})),
        Scenario("rm -v", ("rm", "-v", NAME), [create], allowed=frozenset({"created", "gone"})),
        Scenario("volume create", ("volume", "create"), allowed=frozenset({"gone"})),
        Scenario("volume rm", ("volume", "rm", VAULT), [filled], allowed=frozenset({"gone"})),
        Scenario("volume rename", ("volume", "rename", VAULT, f"{VAULT}-2"), [filled],
                 allowed=frozenset({"gone"}), names=frozenset({VAULT, f"{VAULT}-2"})),
        Scenario("volume clone", ("volume", "clone", VAULT, f"{VAULT}-2"), [filled],
                 allowed=frozenset({"gone"})),
    ]  # fmt: skip


def _of_networks() -> list[Scenario]:
    made, gone = ("network", "create", WIRE), frozenset({"gone"})
    return [
        Scenario("network create", ("network", "create", "--ipv6", WIRE), allowed=gone),
        Scenario("network rm", ("network", "rm", WIRE), [made], allowed=gone),
        Scenario("network prune", _PRUNE, [made], allowed=gone),
    ]


def _of_connections(published: Sequence[str]) -> list[Scenario]:
    """A container with a list of places and a port, which the next network is to publish."""
    *flags, image, sleep, seconds = published
    run = (*flags, "--egress", "none", image, sleep, seconds)
    connect = ("network", "connect", TOWN, NAME)
    links = ("exec", NAME, "ls", "/sys/class/net")
    return [
        Scenario("network connect", connect, [run], allowed=frozenset({"running"}),
                 settled=(links, "eth0\neth1\nlo\n")),
        Scenario("network disconnect", ("network", "disconnect", "bridge", NAME), [run, connect],
                 allowed=frozenset({"running"}),
                 settled=(("port", NAME), "80/tcp -> 0.0.0.0:24999\n80/tcp -> [::]:24999\n")),
        Scenario("network leave", ("network", "disconnect", "bridge", NAME), [run],
                 allowed=frozenset({"running"}), settled=(links, "lo\n")),
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
        self._runner("network", "create", "--label", "stays", TOWN)
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
        shown = self._listed(scenario)
        if not shown:  # who was not killed may be about to make it
            wait_until(lambda: not clients(self._runner.state), "the end of who was not killed")
            shown = self._listed(scenario)
        states = set(shown.values()) or {"gone"}
        assert states <= scenario.allowed, f"lost or in another state: {shown}"
        checked = self._ask("system", "check")
        assert checked.code == 0, str(checked)
        assert not leaks.unfiltered(), "up, and unknown to the packet filter"
        volumes = self._ask("volume", "ls", "-q").out.split()
        for name in scenario.names:
            found = self._ask("inspect", name)
            assert (found.code == 0) == (name in shown or name in volumes), str(found)
        if states == {"running"}:
            works = self._ask("exec", next(iter(shown)), "echo", "works")
            # or somebody who was killed then had sent it a signal already
            still = self._runner("ps", "-q", "--filter", "name=victim").out
            assert works.out == "works\n" or not still, str(works)
        self._ask(*scenario.command)
        if scenario.settled is not None:
            command, wanted = scenario.settled
            found = self._ask(*command)
            assert found.out == wanted, str(found)
        assert self._ask("logs", "bystander").out == "kept\n", "the log of the other container is lost"
        for name in self._ask("volume", "ls", "-q").out.split():
            data = os.path.join(self._runner.root, "volume", name, "_data")
            whole = not name.startswith(VAULT) or os.path.exists(f"{data}/passwd")
            assert whole, f"{name}: {os.listdir(data)}"

    def _listed(self, scenario: Scenario) -> dict[str, str]:
        """Names and states of its containers; one command that reconciles."""
        listed = self._ask("ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.State}}")
        assert listed.code == 0, str(listed)
        shown = dict(line.split(" ") for line in listed.out.splitlines())
        assert shown.pop("bystander", "") == "exited", f"the other container is lost: {listed}"
        assert len(shown) <= 1, f"one container too many: {listed}"
        assert shown.keys() <= scenario.names, str(listed)
        return shown

    def _clean(self) -> None:
        self._remove()
        place = os.path.join(self._runner.root, "volume")
        end = time.monotonic() + leaks.PATIENCE  # a container that removes itself may be at it
        while self._runner("volume", "prune", "--all", "--force") and os.listdir(place):
            assert time.monotonic() < end, f"volumes left behind: {os.listdir(place)}"
            with_options = self._runner("volume", "ls", "-q").out.split()
            if with_options:
                self._runner("volume", "rm", *with_options, check=False)
        leaks.wait_for_nothing_left(self._before, self._runner.root, self._runner.state)

    def _remove(self) -> None:
        left = self._runner("ps", "-aq", "--no-trunc", "--filter", "name=victim").out.split()
        if left:
            self._runner("rm", "-f", "-v", *left, check=False)  # one of --rm may be gone by now; see _clean
        self._runner(*_PRUNE, check=False)


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
