"""Every integration test is followed by a look for what it left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support import leaks
from support.command import Runner

if TYPE_CHECKING:
    from mydocker.engine import Engine


@pytest.fixture(autouse=True)
def nothing_left(session_runner: Runner) -> Iterator[None]:
    """Set up before the other fixtures of a test and so checked after they are gone."""
    before = leaks.Snapshot.take(session_runner.root, session_runner.state)
    yield
    leaks.wait_for_nothing_left(before, session_runner.root, session_runner.state)


@pytest.fixture
def engine(mydocker: Runner) -> Engine:
    """The engine in this process, over the same directories as the command."""
    from mydocker.engine import Engine

    return Engine(root=mydocker.root, state=mydocker.state)
