"""``system check``: verify everything on disk, and repair it. docker has no such command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mydocker.cli import output, terminal
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.ps import FORMAT_HELP
from mydocker.cli.flags.pflag import switch, text
from mydocker.cli.format import rows
from mydocker.engine import Checked, Fault
from mydocker.errors import InvalidArgument

_COLUMNS = "{{.Kind}}\t{{.Name}}\t{{.Problem}}\t{{.Remedy}}"
_HEADINGS = {
    "Kind": "KIND",
    "Name": "NAME",
    "Problem": "PROBLEM",
    "Remedy": "REMEDY",
    "Outcome": "OUTCOME",
}
_TYPE = "*formatter.faultContext"


def row(fault: Fault) -> rows.Row:
    return {
        "Kind": fault.kind,
        "Name": fault.name,
        "Problem": fault.problem,
        "Remedy": fault.remedy,
        "Outcome": fault.outcome,
    }


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not terminal.is_terminal(output.STDERR):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("Verifying blobs"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _summary(checked: Checked) -> str:
    counts = {
        "blob": checked.blobs,
        "image": checked.images,
        "layer": checked.layers,
        "container": checked.containers,
        "volume": checked.volumes,
    }
    return ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())


def run(invocation: Invocation) -> int:
    if invocation["remove-broken"] and not invocation["repair"]:
        raise InvalidArgument("--remove-broken goes with --repair")
    with _bar() as progress:
        checked = invocation.engine.check(
            repair=invocation["repair"], remove_broken=invocation["remove-broken"], progress=progress
        )
    format = invocation["format"]
    if not format:
        lines = [str(fault) for fault in checked.faults]
        if lines:
            output.out("\n".join(lines))
        output.out(f"{_summary(checked)}: {len(lines) or 'no'} fault{'s' * (len(lines) != 1)}")
    else:
        found = [row(fault) for fault in checked.faults]
        shown = rows.render(format, found, columns=_COLUMNS, headings=_HEADINGS, type_=_TYPE)
        if shown:
            output.out(shown)
    return 1 if any(not fault.outcome for fault in checked.faults) else 0


COMMAND = Command(
    "check [OPTIONS]",
    "Verify every image, layer, container and volume; exit status 1 if anything is wrong",
    run,
    flags=(
        text("format", "", f"Format output using a custom template: {FORMAT_HELP}"),
        switch("remove-broken", "", "With --repair, remove what cannot be repaired, such as images"),
        switch("repair", "", "Put right what loses nothing: unpack layers again, remove leftovers"),
    ),
)
