"""Progress of ``load``: a bar per layer on a terminal; nothing elsewhere, as with docker, or when quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mydocker.cli import output, terminal

Report = Callable[[str, int, int], None]
"""``report(layer, done, total)`` in bytes; ``total`` 0 when it is not known"""


@contextmanager
def layers(*, quiet: bool) -> Iterator[Report | None]:
    if quiet or not terminal.is_terminal(output.STDERR):
        yield None
    else:
        with _bars() as report:
            yield report


@contextmanager
def _bars() -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

    columns = (TextColumn("{task.description}: Loading layer"), BarColumn(), DownloadColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as progress:

        def report(layer: str, done: int, total: int) -> None:
            if layer not in tasks:
                tasks[layer] = progress.add_task(layer, total=total or None)
            progress.update(tasks[layer], completed=done, total=total or None)

        yield report
