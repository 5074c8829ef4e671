"""The private memory of the process that stays beside each container: our monitor, podman's conmon.

``Private_Dirty`` of /proc/<pid>/smaps_rollup (proc(5)) is what one more container costs: pages that no
other process shares and that cannot be dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import engines

CONTAINERS = 5
_SETTLE_SECONDS = 1.0


def of_monitors(client: list[str], environment: Mapping[str, str]) -> list[int]:
    """kB of each of a few monitors: the parent of a container's init process."""
    return _measure(client, environment, "{{.State.Pid}}", _parent)


def of_conmons(client: list[str], environment: Mapping[str, str]) -> list[int]:
    return _measure(client, environment, "{{.State.ConmonPid}}", lambda pid: pid)


def _measure(
    client: list[str], environment: Mapping[str, str], template: str, supervisor: Callable[[int], int]
) -> list[int]:
    names = [f"memory-{number}" for number in range(CONTAINERS)]
    for name in names:
        arguments = ["run", "-d", "--name", name, "--network", "none", engines.IMAGE, "sleep", "100000"]
        engines.run([*client, *arguments], environment)
    time.sleep(_SETTLE_SECONDS)
    found = []
    for name in names:
        pid = int(engines.run([*client, "inspect", "--format", template, name], environment))
        found.append(private_dirty(supervisor(pid)))
    for name in names:
        engines.run([*client, "rm", "-f", name], environment)
    return found


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(") ")[2].split()[1])


def private_dirty(pid: int) -> int:
    """kB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Private_Dirty:"):
                return int(line.split()[1])
    raise engines.Missing(f"/proc/{pid}/smaps_rollup has no Private_Dirty")
