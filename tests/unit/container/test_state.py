"""The transition table, as a table: what it allows, and that nothing else passes."""

from __future__ import annotations

import itertools

import pytest

from mydocker.container.state import ALIVE, STARTABLE, TRANSITIONS, State, Status
from mydocker.errors import Conflict

ALLOWED = """
created -> created running removing
running -> paused restarting exited
paused -> running exited
restarting -> running exited
exited -> exited running removing
removing -> removing dead
dead -> removing
"""


def allowed() -> set[tuple[str, str]]:
    pairs = set()
    for line in ALLOWED.strip().splitlines():
        before, _, after = line.partition(" -> ")
        pairs |= {(before, name) for name in after.split()}
    return pairs


@pytest.mark.parametrize(("before", "after"), [*itertools.product(Status, Status)])
def test_every_pair(before: Status, after: Status) -> None:
    state = State(status=before)
    if (before, after) in allowed():
        assert state.to(after).status is after
    else:
        with pytest.raises(Conflict, match=f"{before} cannot become {after}"):
            state.to(after)


def test_every_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_what_runs_and_what_may_start() -> None:
    assert {"running", "paused", "restarting"} == ALIVE
    assert {"created", "exited"} == STARTABLE


def test_a_transition_keeps_what_it_does_not_change() -> None:
    state = State(status=Status.RUNNING, pid=7, started_at="2024-01-01T00:00:00Z")
    ended = state.to(Status.EXITED, pid=0, exit_code=3)
    assert (ended.pid, ended.exit_code, ended.started_at) == (0, 3, "2024-01-01T00:00:00Z")
    assert state.pid == 7
