"""A start and who changes the record at the same time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from mydocker.container.config import Config, HostConfig
from mydocker.container.record import Record
from mydocker.container.state import State, Status
from mydocker.container.store import Store
from mydocker.container.supervise import Owner
from mydocker.monitor.plan import Brief

IDENTIFIER = "c" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "root"), str(tmp_path / "state"))
    made.make()
    os.mkdir(made.directory(IDENTIFIER))
    made.write_record(
        Record(
            id=IDENTIFIER,
            created="",
            path="",
            args=[],
            name="c",
            config=Config(),
            host_config=HostConfig(network_mode="bridge"),
        )
    )
    made.write_state(IDENTIFIER, State(), durable=False)
    return made


def is_held(store: Store) -> bool:
    """Whether somebody else holds the record now."""
    descriptor = os.open(store.directory(IDENTIFIER), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def owner(store: Store) -> Owner:
    lock = store.lock(IDENTIFIER)
    assert lock is not None
    fd, lock.fd = lock.fd, -1
    return Owner(
        Brief(
            root=store.root,
            state=store.state,
            id=IDENTIFIER,
            run_directory=store.run_directory(IDENTIFIER),
            cgroup="",
            log=None,
            stdin_once=False,
            attach=None,
            starter=-1,
            lock=fd,
            plan=-1,
            namespaces=[],
            named=[],
        )
    )


def test_the_record_is_held_until_it_is_noted_that_it_runs(store: Store) -> None:
    starting = owner(store)
    starting.connect(os.getpid())
    assert is_held(store)
    starting.starting()(os.getpid())
    assert not is_held(store)
    assert store.read_state(IDENTIFIER).status is Status.RUNNING


def test_or_that_it_has_failed(store: Store) -> None:
    starting = owner(store)
    starting.connect(os.getpid())
    assert is_held(store)
    starting.failed(OSError("no"))
    assert not is_held(store)
    assert store.read_state(IDENTIFIER).error == "no"
