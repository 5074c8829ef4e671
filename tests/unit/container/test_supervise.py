"""A start and who changes the record at the same time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec
import pytest

from mydocker import errors
from mydocker.container import links, networks
from mydocker.container.config import Config, HostConfig
from mydocker.container.reconcile import attend, reconcile
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


def test_the_record_is_held_until_the_monitor_has_the_container(store: Store) -> None:
    starting = owner(store)
    starting.connect(os.getpid())
    assert is_held(store)
    starting.starting()(os.getpid())
    assert store.read_state(IDENTIFIER).status is Status.RUNNING
    assert is_held(store)
    starting.begun()
    assert not is_held(store)


def test_who_cannot_be_told_is_nobodys_business(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(_: Store, identifier: str) -> None:
        assert identifier == IDENTIFIER
        assert not is_held(store)
        raise OSError

    monkeypatch.setattr(links, "tell", tell)
    starting = owner(store)
    starting.connect(os.getpid())
    starting.begun()


@pytest.mark.parametrize("linking", [[], ["db:db"]])
def test_it_looks_for_what_it_links_to_in_the_end(
    store: Store, monkeypatch: pytest.MonkeyPatch, linking: list[str]
) -> None:
    """Who was given an address meanwhile has not waited for the record."""
    held: list[bool] = []
    monkeypatch.setattr(links, "refresh", lambda *_: held.append(is_held(store)))
    record = store.read_record(IDENTIFIER)
    host = msgspec.structs.replace(record.host_config, links=linking)
    store.write_record(msgspec.structs.replace(record, host_config=host))
    starting = owner(store)
    starting.connect(os.getpid())
    starting.starting()(os.getpid())
    starting.begun()
    assert held == [True] * bool(linking)


def test_or_that_it_has_failed(store: Store) -> None:
    starting = owner(store)
    starting.connect(os.getpid())
    assert is_held(store)
    starting.failed(OSError("no"))
    assert not is_held(store)
    assert store.read_state(IDENTIFIER).error == "no"


def refuse(*_: object, **__: object) -> None:
    raise errors.NotSupported("the packet filter refuses")


@pytest.mark.parametrize("auto_remove", [False, True])
def test_a_failure_is_told_whatever_cannot_be_released(
    store: Store, monkeypatch: pytest.MonkeyPatch, auto_remove: bool
) -> None:
    host = HostConfig(network_mode="bridge", auto_remove=auto_remove)
    store.write_record(msgspec.structs.replace(store.read_record(IDENTIFIER), host_config=host))
    starting = owner(store)
    with monkeypatch.context() as context:
        context.setattr(networks, "release", refuse)
        assert starting.failed(errors.CommandNotFound("no")) == 127
    state = store.read_state(IDENTIFIER)
    assert (state.exit_code, state.error) == (127, "no")
    assert store.worked_on() == [IDENTIFIER]
    assert attend(store, IDENTIFIER)
    assert store.worked_on() == []
    assert os.path.exists(store.directory(IDENTIFIER)) == (not auto_remove)


def test_what_the_last_run_has_left_is_released_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    again = owner(store)
    monkeypatch.setattr(networks, "release", refuse)
    assert not again._release()
    again._released = False
    with pytest.raises(errors.NotSupported):
        again.connect(os.getpid())
    monkeypatch.setattr(networks, "release", lambda *_, **__: told.append("release"))
    monkeypatch.setattr(networks, "connect", lambda *_: told.append("connect"))
    again.connect(os.getpid())
    assert told == ["release", "connect"]
    again.failed(OSError())


def test_one_that_cannot_be_settled_keeps_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkdir(store.run_directory(IDENTIFIER))
    monkeypatch.setattr(networks, "release", refuse)
    reconcile(store)
    with pytest.raises(errors.NotSupported):
        attend(store, IDENTIFIER)
