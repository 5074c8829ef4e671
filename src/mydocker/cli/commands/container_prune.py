"""``container prune``: remove all containers that do not run."""

from __future__ import annotations

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.confirm import confirmed
from mydocker.cli.flags.filter import parse_filter, timed_filters
from mydocker.cli.flags.pflag import switch, values
from mydocker.cli.format.units import human_size


def run(invocation: Invocation) -> int:
    filters = timed_filters(invocation["filter"])
    question = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?"
    if not invocation["force"] and not confirmed(question):
        return 0
    removed, reclaimed = invocation.engine.containers.prune(filters)
    if removed:
        output.out("\n".join(("Deleted Containers:", *removed, "")))
    output.out(f"Total reclaimed space: {human_size(reclaimed)}")
    return 0


COMMAND = Command(
    "prune [OPTIONS]",
    "Remove all stopped containers",
    run,
    flags=(
        values("filter", "", 'Provide filter values (e.g. "until=<timestamp>")', parse_filter, "filter"),
        switch("force", "f", "Do not prompt for confirmation"),
    ),
)
