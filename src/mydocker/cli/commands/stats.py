"""``stats``: what containers use, in a table that is drawn again and again, or once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mydocker import errors
from mydocker.cli import output, terminal
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.ps import FORMAT_HELP
from mydocker.cli.flags.pflag import switch, text
from mydocker.cli.format import rows
from mydocker.cli.format.units import bytes_size, human_size
from mydocker.container.stats import NOTHING, Reading, cpu_percent, memory_percent
from mydocker.engine import Container

_COLUMNS = (
    "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
)
_HEADINGS = {
    "Container": "CONTAINER",
    "ID": "CONTAINER ID",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_TYPE = "*formatter.statsContext"
_INTERVAL = 1.0
"""seconds between the two readings that a percentage is made of"""
_HOME, _LINE_END, _BELOW = "\033[H", "\033[K", "\033[J"
_CLEAR = "\033[2J"


def row(container: Container, before: Reading, now: Reading, *, truncate: bool, given: str = "") -> rows.Row:
    received, sent = now.network
    read, written = now.block
    return {
        "Container": given or container.short_id,
        "ID": container.short_id if truncate else container.id,
        "Name": container.name,
        "CPUPerc": f"{cpu_percent(before, now):.2f}%",
        "MemUsage": f"{bytes_size(now.memory)} / {bytes_size(now.memory_limit)}",
        "MemPerc": f"{memory_percent(now):.2f}%",
        "NetIO": f"{human_size(received, 3)} / {human_size(sent, 3)}",
        "BlockIO": f"{human_size(read, 3)} / {human_size(written, 3)}",
        "PIDs": str(now.pids),
    }


class _Table:
    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._before: dict[str, Reading] = {}

    def containers(self) -> list[tuple[str, Container]]:
        """Those to show: the ones that were named, in that order, or all that run."""
        known = self._invocation.engine.containers
        if self._invocation.arguments:
            return [(given, known.get(given)) for given in self._invocation.arguments]
        return [("", each) for each in known.list(all=self._invocation["all"])]

    def look(self, containers: Sequence[tuple[str, Container]]) -> str:
        """The table, with percentages since the look before this one."""
        lines, readings = [], {}
        for given, container in containers:
            now = container.stats()
            before = self._before.get(container.id, NOTHING)
            readings[container.id] = now
            truncate = not self._invocation["no-trunc"]
            lines.append(row(container, before, now, truncate=truncate, given=given))
        self._before = readings
        format = self._invocation["format"]
        return rows.render(format, lines, columns=_COLUMNS, headings=_HEADINGS, type_=_TYPE)


def run(invocation: Invocation) -> int:
    table = _Table(invocation)
    containers = table.containers()
    table.look(containers)  # also says at once what is wrong with the format
    if invocation["no-stream"]:
        if any(container.state.running for _, container in containers):
            time.sleep(_INTERVAL)
        shown = table.look(containers)
        if shown:
            output.out(shown)
        return 0
    return _stream(table)


def _stream(table: _Table) -> int:
    drawn = terminal.is_terminal(output.STDOUT)
    if drawn:
        output.write(output.STDOUT, (_CLEAR + _HOME).encode())
    while True:
        time.sleep(_INTERVAL)
        try:
            containers = table.containers()
        except errors.NotFound:
            return 0  # what was named has been removed
        shown = table.look(containers)
        if drawn:
            shown = _HOME + "".join(f"{line}{_LINE_END}\n" for line in shown.split("\n")) + _BELOW
            output.write(output.STDOUT, shown.encode())
        else:
            output.out(shown)


COMMAND = Command(
    "stats [OPTIONS] [CONTAINER...]",
    "Display a live stream of container(s) resource usage statistics",
    run,
    flags=(
        switch("all", "a", "Show all containers (default shows just running)"),
        text("format", "", f"Format output using a custom template: {FORMAT_HELP}"),
        switch("no-stream", "", "Disable streaming stats and only pull the first result"),
        switch("no-trunc", "", "Do not truncate output"),
    ),
    most=None,
)
