"""Do one thing to each of several objects: what fails is reported, the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import PROGRAM


def each(references: Iterable[str], action: Callable[[str], str | None]) -> int:
    """Print what ``action`` returns for each; exit status 1 if any was refused."""
    status = 0
    for reference in references:
        try:
            line = action(reference)
        except errors.Error as error:
            output.err(f"{PROGRAM}: {error}")
            status = 1
        else:
            if line is not None:
                output.out(line)
    return status
