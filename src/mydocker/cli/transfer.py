"""Progress of ``pull`` and ``push``: a row for each layer on a terminal, and Docker's plain lines elsewhere.

Docker draws on standard output, and so do we; ``run`` and ``create`` leave that to the container and use
standard error. Nothing is drawn by a thread: layers are handled by forked processes, and a fork in the middle
of another thread's work is best avoided.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from mydocker.cli import output, terminal
from mydocker.engine import Progress, Report

_INTERVAL = 0.1
"""seconds between two drawings"""


@contextmanager
def shown(descriptor: int = output.STDOUT, *, quiet: bool = False) -> Iterator[Report]:
    """What to hand to ``Engine.images.pull``; what is on the screen at the end stays there."""
    if quiet:
        yield lambda _: None
    elif not terminal.is_terminal(descriptor):
        yield lambda progress: _line(descriptor, progress)
    else:
        with _rows(descriptor) as report:
            yield report


def line(progress: Progress) -> str | None:
    """The line that Docker prints where there is no terminal; None for bytes that are on their way."""
    if progress.current or progress.total:
        return None
    return f"{progress.id}: {progress.status}" if progress.id else progress.status


def _line(descriptor: int, progress: Progress) -> None:
    text = line(progress)
    if text is not None:
        output.write(descriptor, f"{text}\n".encode(errors="surrogateescape"))


@contextmanager
def _rows(descriptor: int) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
    from rich.progress import Progress as Table

    class Bar(BarColumn):
        def render(self, task):  # type: ignore[no-untyped-def]
            return super().render(task) if task.total else ""

    class Bytes(DownloadColumn):
        def render(self, task):  # type: ignore[no-untyped-def]
            return super().render(task) if task.total else ""

    columns = (TextColumn("{task.description}: {task.fields[status]}", markup=False), Bar(), Bytes())
    rows: dict[str, TaskID] = {}
    last: list[str] = []
    drawn = 0.0
    console = Console(stderr=descriptor == output.STDERR, highlight=False)
    with Table(*columns, console=console, auto_refresh=False) as table:

        def report(progress: Progress) -> None:
            nonlocal drawn
            if not progress.id:
                if rows:
                    last.append(progress.status)  # it stands below the rows, in the end
                else:
                    console.print(progress.status, markup=False)
                return
            if progress.id not in rows:
                rows[progress.id] = table.add_task(progress.id, total=None, status="")
            row, total = rows[progress.id], progress.total or None
            table.update(row, status=progress.status, completed=progress.current, total=total)
            if (now := time.monotonic()) >= drawn + _INTERVAL:
                drawn = now
                table.refresh()

        yield report
    for text in last:
        output.write(descriptor, f"{text}\n".encode(errors="surrogateescape"))
