"""A renaming that was cut short, at each of its steps, and what the next command makes of it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from mydocker.container import rename
from mydocker.container.config import Config, HostConfig
from mydocker.container.record import Record
from mydocker.container.store import Store
from mydocker.errors import Conflict

ID = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "root"), str(tmp_path / "state"))
    store.make()
    os.mkdir(store.directory(ID))
    record = Record(
        id=ID, created="", path="", args=[], name="old", config=Config(), host_config=HostConfig()
    )
    store.write_record(record)
    store.claim("old", ID)
    return store


def names(store: Store) -> list[str]:
    return sorted(os.listdir(store.names))


def left(store: Store, text: str) -> None:
    """The note of somebody who died."""
    os.makedirs(f"{store.root}/renaming", exist_ok=True)
    with open(f"{store.root}/renaming/note", "w") as file:
        file.write(text)


def test_a_whole_one(store: Store) -> None:
    changed = rename.rename(store, store.read_record(ID), "new")
    assert (changed.name, store.read_record(ID).name, names(store)) == ("new", "new", ["new"])
    assert os.listdir(f"{store.root}/renaming") == []


def test_killed_before_the_record_says_so(store: Store) -> None:
    store.claim("new", ID)
    left(store, f"{ID} old new")
    rename.settle_notes(store)
    assert names(store) == ["old"]
    assert os.listdir(f"{store.root}/renaming") == []


def test_killed_before_the_old_name_is_free(store: Store) -> None:
    store.claim("new", ID)
    store.write_record(msgspec.structs.replace(store.read_record(ID), name="new"))
    left(store, f"{ID} old new")
    rename.settle_notes(store)
    assert names(store) == ["new"]


@pytest.mark.parametrize("text", ["", ID, f"{ID} old"])
def test_a_note_that_is_not_whole(store: Store, text: str) -> None:
    left(store, text)
    rename.settle_notes(store)
    assert names(store) == ["old"]
    assert os.listdir(f"{store.root}/renaming") == []


def test_the_container_is_gone(store: Store) -> None:
    os.unlink(f"{store.directory(ID)}/config.json")
    os.rmdir(store.directory(ID))
    left(store, f"{ID} old new")
    rename.settle_notes(store)
    assert names(store) == []


def test_a_name_in_use_leaves_nothing(store: Store) -> None:
    other = "b" * 64
    os.mkdir(store.directory(other))
    record = msgspec.structs.replace(store.read_record(ID), id=other, name="taken")
    store.write_record(record)
    store.claim("taken", other)
    with pytest.raises(Conflict, match='name "/taken" is already in use'):
        rename.rename(store, store.read_record(ID), "taken")
    assert names(store) == ["old", "taken"]
    assert os.listdir(f"{store.root}/renaming") == []
