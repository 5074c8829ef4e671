"""Every integration test is followed by a look for what it left behind."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from support import command, leaks
from support.command import Runner
from support.oci import Runtime

if TYPE_CHECKING:
    from mydocker.engine import Engine


@pytest.fixture(autouse=True)
def nothing_left(session_runner: Runner) -> Iterator[None]:
    """Set up before the other fixtures of a test and so checked after they are gone."""
    before = leaks.Snapshot.take(session_runner.root, session_runner.state)
    yield
    leaks.wait_for_nothing_left(before, session_runner.root, session_runner.state)


@pytest.fixture
def runtime(short_directory: str) -> Iterator[Runtime]:
    """The command mydocker-runtime with a state directory of its own."""
    made = Runtime(
        command.installed("mydocker-runtime"), tempfile.mkdtemp(prefix="oci-", dir=short_directory)
    )
    yield made
    made.delete_all()
    assert made.ids() == []


@pytest.fixture
def engine(mydocker: Runner) -> Engine:
    """The engine in this process, over the same directories as the command."""
    from mydocker.engine import Engine

    return Engine(root=mydocker.root, state=mydocker.state)
