"""``top``: what the host's ps says about the processes of a container.

The container needs no ps of its own, and cannot lie about what runs in it: the processes are those in its
cgroup. Numbers are the host's, as in Docker.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Conflict, InvalidArgument, NotFound, NotSupported
from ..runtime import cgroup
from .record import Record
from .spec import cgroup_path
from .state import ALIVE
from .store import Store

DEFAULT = ("-ef",)


def top(store: Store, record: Record, options: Sequence[str] = ()) -> tuple[list[str], list[list[str]]]:
    """The titles of the columns, and a row for each process. ``options`` are those of ps(1)."""
    if store.read_state(record.id).status not in ALIVE:
        raise Conflict(f"container {record.id} is not running")
    try:
        inside = {str(pid) for pid in cgroup.open(cgroup_path(record)).pids()}
    except NotFound:
        raise Conflict(f"container {record.id} is not running") from None
    return select(_ps(options or DEFAULT), inside)


def _ps(options: Sequence[str]) -> str:
    import subprocess  # late: nothing else needs it

    try:
        done = subprocess.run(["ps", *options], capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except FileNotFoundError:
        raise NotSupported("top needs the program ps on the host (package procps)") from None
    text = done.stdout.decode(errors="replace")
    if done.returncode and not text:
        reason = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise InvalidArgument(f"ps: {reason or f'exit status {done.returncode}'}")
    return text


def select(text: str, pids: set[str]) -> tuple[list[str], list[list[str]]]:
    """Of what ps printed, the header and the lines of ``pids``; the last column takes the rest of a line."""
    first, *lines = text.splitlines() or [""]
    titles = first.split()
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = []
    for line in lines:
        words = line.split()
        if len(words) > column and words[column] in pids:
            last = len(titles) - 1
            rows.append([*words[:last], " ".join(words[last:])])
    return titles, rows
