"""SIGKILL one of mydocker's processes at a random instant. Works in the session's own PID namespace only.

There, every process that is not the session's own is mydocker's, so descent tells the roles, and a name:

    PID 1 -- pytest -- launcher                   what a shell would have started
          |- forkserver -- worker                 holds the listening socket; forks one per command
                        |- monitor -- init -- ... a child of PID 1 where it was started without a forkserver
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass

from support import isolation, leaks
from support.command import Runner

ROLES = ("launcher", "worker", "forkserver", "monitor", "init")
MONITOR = "mydocker-mon"
PATIENCE = 20.0


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    name: str
    levels: int  # of PID namespaces, seen from ours: an init process has at least two


def processes() -> list[Process]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/status") as lines:
                    pairs = [line.partition(":") for line in lines]
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = {key: value.split() for key, _, value in pairs}
            if fields["State"][0] not in "ZX":
                found.append(
                    Process(int(name), int(fields["PPid"][0]), fields["Name"][0], len(fields["NSpid"]))
                )
    return found


def parent(pid: int) -> int:
    return next(each.parent for each in processes() if each.pid == pid)


def children(pid: int) -> list[int]:
    """Zombies too."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(each) for each in file.read().split()]


def find(role: str, launcher: subprocess.Popen[bytes]) -> list[int]:
    """PIDs that have this role now."""
    if not isolation.entered():
        raise RuntimeError("killing needs a PID namespace of the session's own")
    everything = processes()
    servers = leaks.forkservers()
    if role == "launcher":
        return [launcher.pid] if launcher.poll() is None else []
    if role == "forkserver":
        return sorted(servers)
    if role == "worker":
        return [p.pid for p in everything if p.parent in servers and p.levels == 1 and p.name != MONITOR]
    monitors = [p.pid for p in everything if p.name == MONITOR and p.levels == 1]
    if role == "monitor":
        return monitors
    return [p.pid for p in everything if p.levels > 1 and p.parent in monitors]


def kill_one(role: str, launcher: subprocess.Popen[bytes], chance: random.Random) -> bool:
    """Kill a process of this role as soon as there is one; False when the command was over before."""
    while True:
        victims = find(role, launcher)
        if victims:
            try:
                os.kill(chance.choice(victims), signal.SIGKILL)
            except ProcessLookupError:
                continue
            return True
        if launcher.poll() is not None:
            return False


def round_of(runner: Runner, image: str, role: str, chance: random.Random) -> str | None:
    """One command and one kill. Returns what was done, None when the command was over before."""
    sleeper = runner("run", "-d", image, "sleep", "1000").line
    commands = [
        ("run", "--rm", image, "sleep", "0.05"),
        ("run", "-d", image, "sleep", "1000"),
        ("run", "--rm", "-v", "/data", "--init", image, "sh", "-c", "echo x; sleep 0.05"),
        ("exec", sleeper, "sleep", "0.05"),
        ("stop", "-t", "0", sleeper),
        ("rm", "-f", sleeper),
    ]
    command = chance.choice(commands)
    delay = chance.random() * chance.choice((0.01, 0.05, 0.2))
    launcher = runner.popen(*command, stdin=subprocess.DEVNULL)
    time.sleep(delay)
    hit = kill_one(role, launcher, chance)
    try:
        launcher.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        launcher.kill()
        launcher.communicate()
        raise AssertionError(f"{command}: the client hangs after the {role} was killed") from None
    return f"{role} of {command} after {delay * 1000:.1f} ms" if hit else None


def storm(runner: Runner, image: str, kills: int, seed: int) -> list[str]:
    """``kills`` kills. After each the next command works, and when containers are removed nothing is left."""
    chance = random.Random(seed)
    done: list[str] = []
    runner("run", "--rm", image, "true")
    before = leaks.Snapshot.take(runner.root, runner.state)
    while len(done) < kills:
        role = ROLES[len(done) % len(ROLES)]
        what = round_of(runner, image, role, chance)
        try:
            said = runner("run", "--rm", image, "echo", "next").line
            assert said == "next", said
            left = runner("ps", "--all", "--quiet", "--no-trunc").out.split()
            if left:
                runner("rm", "--force", "--volumes", *left)
            leaks.wait_for_nothing_left(before, runner.root, runner.state)
        except AssertionError as error:
            raise AssertionError(
                f"seed {seed}, kill {len(done) + 1} ({what or 'no kill'}): {error}"
            ) from error
        if what:
            done.append(what)
    return done
