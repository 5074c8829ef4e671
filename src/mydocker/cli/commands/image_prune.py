"""``image prune``: remove images that no container uses."""

from __future__ import annotations

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.confirm import confirmed
from mydocker.cli.flags.filter import parse_filter, timed_filters
from mydocker.cli.flags.pflag import switch, values
from mydocker.cli.format.units import human_size
from mydocker.image.prune import Pruned

_ALL = "remove all images without at least one container associated to them"
_DANGLING = "remove all dangling images"
DEFERRED = (
    "somebody is taking an image in at this moment, and will remove the files of the images above afterwards"
)


def run(invocation: Invocation) -> int:
    filters = timed_filters(invocation["filter"])
    filters.setdefault("dangling", ["false" if invocation["all"] else "true"])
    what = _ALL if invocation["all"] else _DANGLING
    if not invocation["force"] and not confirmed(
        f"WARNING! This will {what}.\nAre you sure you want to continue?"
    ):
        return 0
    pruned = invocation.engine.images.prune(filters)
    report(pruned)
    output.out(f"Total reclaimed space: {human_size(pruned.reclaimed)}")
    return 0


def report(pruned: Pruned) -> None:
    """What went, one line each."""
    if pruned.removals:
        lines = [
            f"untagged: {one.untagged}" if one.untagged else f"deleted: {one.deleted}"
            for one in pruned.removals
        ]
        output.out("\n".join(("Deleted Images:", *lines, "")))
    if pruned.deferred:
        output.err(DEFERRED)


COMMAND = Command(
    "prune [OPTIONS]",
    "Remove unused images",
    run,
    flags=(
        switch("all", "a", "Remove all unused images, not just dangling ones"),
        values("filter", "", 'Provide filter values (e.g. "until=<timestamp>")', parse_filter, "filter"),
        switch("force", "f", "Do not prompt for confirmation"),
    ),
)
