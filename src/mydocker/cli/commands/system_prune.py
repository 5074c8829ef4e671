"""``system prune``: remove what nothing uses."""

from __future__ import annotations

from collections.abc import Sequence

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.image_prune import report
from mydocker.cli.confirm import confirmed
from mydocker.cli.flags.filter import parse_filter, timed_filters
from mydocker.cli.flags.pflag import switch, values
from mydocker.cli.format.units import human_size


def _question(invocation: Invocation, filters: Sequence[tuple[str, str]]) -> str:
    warnings = ["all stopped containers"]
    if invocation["volumes"]:
        warnings.append("all anonymous volumes not used by at least one container")
    if invocation["all"]:
        warnings.append("all images without at least one container associated to them")
    else:
        warnings.append("all dangling images")
    warnings.append("downloads that were broken off")
    lines = ["WARNING! This will remove:", *(f"  - {warning}" for warning in warnings), ""]
    if filters:
        lines += ["  Items to be pruned will be filtered with:"]
        lines += [*sorted(f"  - {name}={value}" for name, value in filters), ""]
    return "\n".join((*lines, "Are you sure you want to continue?"))


def run(invocation: Invocation) -> int:
    given = invocation["filter"]
    filters = timed_filters(given)
    if invocation["volumes"] and "until" in filters:
        raise errors.InvalidArgument('the "until" filter is not supported with "--volumes"')
    if not invocation["force"] and not confirmed(_question(invocation, given)):
        return 0
    pruned = invocation.engine.prune(all=invocation["all"], volumes=invocation["volumes"], filters=filters)
    for kind, names in (("Containers", pruned.containers), ("Volumes", pruned.volumes)):
        if names:
            output.out("\n".join((f"Deleted {kind}:", *names, "")))
    report(pruned.images)
    output.out(f"Total reclaimed space: {human_size(pruned.reclaimed)}")
    return 0


COMMAND = Command(
    "prune [OPTIONS]",
    "Remove unused data",
    run,
    flags=(
        switch("all", "a", "Remove all unused images not just dangling ones"),
        values("filter", "", 'Provide filter values (e.g. "label=<key>=<value>")', parse_filter, "filter"),
        switch("force", "f", "Do not prompt for confirmation"),
        switch("volumes", "", "Prune anonymous volumes"),
    ),
)
