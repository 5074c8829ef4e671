"""The memory of the process beside each container: our monitor, containerd's shim, podman's conmon.

``Private_Dirty`` of /proc/<pid>/smaps_rollup (proc(5)) is what one more container costs: pages that no
other process shares and that cannot be dropped. ``Pss`` adds its part of those that are shared.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping

import engines
from lives import AT_ONCE

CONTAINERS = 200
_SETTLE_SECONDS = 1.0


def of_parents(client: list[str], environment: Mapping[str, str], count: int) -> list[tuple[int, int]]:
    """kB of each monitor or shim, the parent of a container's init: private, and with shared parts."""
    return _measure(client, environment, count, "{{.State.Pid}}", _parent)


def of_busy(client: list[str], environment: Mapping[str, str], count: int) -> list[tuple[int, int]]:
    """The same when something has been executed in each container: no monitor is dormant any more."""

    def execute(name: str) -> None:
        engines.run([*client, "exec", name, "true"], environment)

    return _measure(client, environment, count, "{{.State.Pid}}", _parent, execute)


def of_conmons(client: list[str], environment: Mapping[str, str], count: int) -> list[tuple[int, int]]:
    return _measure(client, environment, count, "{{.State.ConmonPid}}", lambda pid: pid)


def of_forks(python: str, environment: Mapping[str, str], count: int = 5) -> list[tuple[int, int]]:
    """The least that a process of Python can be: a fork of an interpreter with nothing loaded that waits."""
    found = []
    for _ in range(count):
        parent = subprocess.Popen(
            [python, "-I", "-S", "-c", _FORK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        with parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            found.append((_rolled_up(pid, "Private_Dirty"), _rolled_up(pid, "Pss")))
    return found


_FORK = """
import os, sys
child = os.fork()
if child:
    print(child, flush=True)
sys.stdin.read()
"""


def _measure(
    client: list[str],
    environment: Mapping[str, str],
    count: int,
    template: str,
    supervisor: Callable[[int], int],
    after: Callable[[str], None] = lambda _: None,
) -> list[tuple[int, int]]:
    names = [f"memory-{number}" for number in range(count)]
    try:
        for name in names:
            engines.run([*client, "run", "-d", "--name", name, *engines.IDLE], environment)
            after(name)
        time.sleep(_SETTLE_SECONDS)
        pids = engines.run([*client, "inspect", "--format", template, *names], environment).split()
        found = [supervisor(int(pid)) for pid in pids]
        return [(_rolled_up(pid, "Private_Dirty"), _rolled_up(pid, "Pss")) for pid in found]
    finally:
        for first in range(0, count, AT_ONCE):
            engines.run([*client, "rm", "-f", *names[first : first + AT_ONCE]], environment)


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(") ")[2].split()[1])


def private_dirty(pid: int) -> int:
    """kB."""
    return _rolled_up(pid, "Private_Dirty")


def _rolled_up(pid: int, name: str) -> int:
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith(f"{name}:"):
                return int(line.split()[1])
    raise engines.Missing(f"/proc/{pid}/smaps_rollup has no {name}")
