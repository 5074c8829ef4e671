"""Locks, names and lookups in two directories, without a container."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mydocker.container.config import Config, HostConfig
from mydocker.container.reconcile import attend, look_around, reconcile, sweep
from mydocker.container.record import Record
from mydocker.container.state import State, Status
from mydocker.container.store import Store
from mydocker.errors import Conflict, CorruptData, InvalidArgument, NotFound

A, B = "a1" * 32, "a2" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "root"), str(tmp_path / "state"))
    made.make()
    return made


def record(identifier: str, name: str) -> Record:
    return Record(
        id=identifier,
        created="2024-01-01T00:00:00Z",
        path="true",
        args=[],
        name=name,
        config=Config(),
        host_config=HostConfig(),
    )


def finished(store: Store, identifier: str, name: str, status: Status = Status.CREATED) -> Record:
    os.mkdir(store.directory(identifier))
    made = record(identifier, name)
    store.write_record(made)
    store.claim(name, identifier)
    store.write_state(identifier, State(status=status), durable=False)
    return made


def entries(store: Store) -> set[str]:
    return {*os.listdir(store.containers), *os.listdir(store.names), *os.listdir(store.running)}


def test_documents_come_back(store: Store) -> None:
    made = finished(store, A, "web")
    assert store.read_record(A) == made
    assert store.read_state(A) == State()


def test_a_torn_document_is_named(store: Store) -> None:
    finished(store, A, "web")
    Path(store.directory(A), "state.json").write_bytes(b'{"Status":')
    with pytest.raises(CorruptData, match=r"state\.json"):
        store.read_state(A)


@pytest.mark.parametrize("reference", [A, "web", "/web", "a1", A[:12]])
def test_resolve(store: Store, reference: str) -> None:
    finished(store, A, "web")
    finished(store, B, "db")
    assert store.resolve(reference) == A


def test_a_name_goes_before_a_prefix(store: Store) -> None:
    finished(store, A, "a2")
    finished(store, B, "db")
    assert store.resolve("a2") == A


def test_resolve_refused(store: Store) -> None:
    finished(store, A, "web")
    finished(store, B, "db")
    with pytest.raises(InvalidArgument, match=r"^multiple IDs found with provided prefix: a$"):
        store.resolve("a")
    with pytest.raises(NotFound, match=r"^No such container: nope$"):
        store.resolve("nope")
    for odd in ("", "..", "../x", "a/b", "x" * 300):
        with pytest.raises((InvalidArgument, NotFound)):
            store.resolve(odd)


def test_a_name_is_claimed_once(store: Store) -> None:
    finished(store, A, "web")
    with pytest.raises(Conflict) as caught:
        store.claim("web", B)
    assert str(caught.value) == (
        f'Conflict. The container name "/web" is already in use by container "{A}". You have to remove '
        "(or rename) that container to be able to reuse that name."
    )
    store.disclaim("web", B)
    assert store.named("web") == A
    store.disclaim("web", A)
    store.claim("web", B)


def test_a_name_without_its_container_is_free(store: Store) -> None:
    store.claim("web", A)
    store.claim("web", B)
    assert store.named("web") == B


def test_lock(store: Store) -> None:
    lock = store.lock(A)
    assert lock is not None
    assert store.held(A)
    assert store.lock(A) is None
    assert store.worked_on() == [A]
    store.release(A, lock)
    assert not store.held(A)
    assert store.worked_on() == []


def test_a_lock_lives_in_a_forked_process(store: Store) -> None:
    lock = store.lock(A)
    assert lock is not None
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    lock.close()
    assert store.held(A)
    os.close(writing)
    os.waitpid(child, 0)
    assert not store.held(A)


def test_an_unfinished_container_is_removed(store: Store) -> None:
    """SIGKILL at each step of a creation: what is left, and that looking removes it."""
    steps: list[Callable[[], object]] = [
        lambda: None,
        lambda: os.mkdir(store.directory(A)),
        lambda: store.write_record(record(A, "web")),
        lambda: store.claim("web", A),
        lambda: os.makedirs(f"{store.directory(A)}/rw/diff"),
    ]
    clean = entries(store)
    for count in range(1, len(steps) + 1):
        lock = store.lock(A)
        assert lock is not None
        for step in steps[:count]:
            step()
        reconcile(store)
        assert store.worked_on() == [A], "the creator is alive"
        lock.close()
        reconcile(store)
        assert entries(store) == clean


def test_a_container_that_is_not_being_worked_on_stays(store: Store) -> None:
    finished(store, A, "web", Status.EXITED)
    lock = store.lock(A)
    assert lock is not None
    lock.close()
    reconcile(store)
    sweep(store)
    assert store.resolve("web") == A
    assert store.worked_on() == []


def test_after_a_reboot_nothing_runs(store: Store) -> None:
    finished(store, A, "web", Status.RUNNING)
    os.mkdir(store.directory(B))
    sweep(store)
    state = store.read_state(A)
    assert (state.status, state.exit_code, state.pid) == (Status.EXITED, 137, 0)
    assert state.finished_at > "2024"
    assert not os.path.exists(store.directory(B))


def abandoned(store: Store, identifier: str) -> None:
    """What is left of somebody who was killed while he created a container."""
    lock = store.lock(identifier)
    assert lock is not None
    os.mkdir(store.directory(identifier))
    lock.close()


def test_one_is_attended_to(store: Store) -> None:
    clean = entries(store)
    abandoned(store, A)
    abandoned(store, B)
    assert attend(store, A)
    assert entries(store) == clean | {B}
    lock = store.lock(A)
    assert lock is not None
    assert not attend(store, A), "somebody is at work on it"
    store.release(A, lock)
    assert not attend(store, A), "there is nothing to put right"
    assert store.worked_on() == [B]


def test_now_and_then_somebody_looks_around(store: Store) -> None:
    clean = entries(store)
    abandoned(store, A)
    look_around(store)
    assert entries(store) == clean
    abandoned(store, A)
    look_around(store)
    assert entries(store) == clean | {A}
    for instant in (time.time() - 11, time.time() + 100):  # the clock may have been put back
        os.utime(f"{store.state}/looked", (instant, instant))
        look_around(store)
        assert entries(store) == clean
        abandoned(store, A)


def test_who_looks_around_passes_over_what_cannot_be_put_right(store: Store) -> None:
    finished(store, A, "web", Status.RUNNING)
    clean = entries(store)
    lock = store.lock(A)
    assert lock is not None
    lock.close()
    Path(store.directory(A), "state.json").write_text("{")
    abandoned(store, B)
    look_around(store)
    assert entries(store) == clean | {A}
    with pytest.raises(CorruptData, match=r"state\.json"):
        reconcile(store)
