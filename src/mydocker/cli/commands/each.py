"""Do one thing to each of several objects: what fails is reported, the rest goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import PROGRAM

_AT_ONCE = 50
"""as many as docker's client has under way"""

_Outcome = str | errors.Error | None


def each(references: Iterable[str], action: Callable[[str], str | None]) -> int:
    """Print what ``action`` returns for each; exit status 1 if any was refused."""
    return _report(_try(action, reference) for reference in references)


def all_at_once(references: Sequence[str], action: Callable[[str], str | None]) -> int:
    """The same for what takes its time, in threads, so that the slowest one decides. It must not fork."""
    if len(references) < 2:
        return each(references, action)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(references), _AT_ONCE)) as pool:
        return _report(pool.map(lambda reference: _try(action, reference), references))


def _try(action: Callable[[str], str | None], reference: str) -> _Outcome:
    try:
        return action(reference)
    except errors.Error as error:
        return error


def _report(outcomes: Iterable[_Outcome]) -> int:
    status = 0
    for outcome in outcomes:
        if isinstance(outcome, errors.Error):
            output.err(f"{PROGRAM}: {outcome}")
            status = 1
        elif outcome is not None:
            output.out(outcome)
    return status
