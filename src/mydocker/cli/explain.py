"""``--explain``: the steps of making a container, as they are taken, with what the kernel shows after each.

They go to standard error, so that the output of the container stays its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mydocker.cli import output, terminal

if TYPE_CHECKING:
    from mydocker.engine import Event

_BOLD, _DIM, _RESET = "\x1b[1m", "\x1b[2m", "\x1b[0m"


class Explainer:
    """An observer for ``Container.start``: numbers the events and prints each at once."""

    def __init__(self) -> None:
        self._count = 0
        self._coloured = terminal.is_terminal(output.STDERR)

    def __call__(self, event: Event) -> None:
        self._count += 1
        number = f"{self._count:>3}. "
        step = f"{_BOLD}{event.step}{_RESET}" if self._coloured else event.step
        lines = [number + step]
        for shown in event.shown.splitlines():
            text = f"{_DIM}{shown}{_RESET}" if self._coloured else shown
            lines.append(" " * len(number) + text)
        output.err("\n".join(lines))
