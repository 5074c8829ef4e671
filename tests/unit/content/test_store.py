"""Blobs: what has a name is whole, what failed is gone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.content import files
from mydocker.content.lock import Lock
from mydocker.content.store import ContentStore
from mydocker.oci import digest


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    found = ContentStore(str(tmp_path / "image"))
    found.initialise()
    return found


def test_layout(store: ContentStore) -> None:
    assert sorted(os.listdir(store.root)) == ["blobs", "download", "ingest", "oci-layout"]
    assert Path(store.root, "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'


def test_add_and_read(store: ContentStore) -> None:
    name = store.add(b"content")
    assert name == digest.of(b"content")
    assert store.read(name) == b"content"
    assert b"".join(store.chunks(name)) == b"content"
    assert store.size(name) == 7
    assert list(store.all()) == [name]
    assert Path(store.path(name)).name == name.removeprefix("sha256:")
    assert store.add(b"content") == name
    store.remove(name)
    store.remove(name)
    assert not store.has(name)


def test_absent(store: ContentStore) -> None:
    name = digest.of(b"absent")
    for read in (store.read, store.size, lambda d: list(store.chunks(d))):
        with pytest.raises(errors.NotFound, match=name):
            read(name)


@pytest.mark.parametrize("name", ["sha256:../../etc/passwd", "sha256:..", "../x", "sha512:" + "0" * 128])
def test_a_name_is_no_path(store: ContentStore, name: str) -> None:
    with pytest.raises((errors.InvalidArgument, errors.NotSupported)):
        store.path(name)


def test_ingest_checks(store: ContentStore) -> None:
    wrong = digest.of(b"other")
    with store.ingest() as blob:
        blob.write(b"content")
        with pytest.raises(errors.CorruptData, match=wrong):
            blob.commit(wrong)
        with pytest.raises(errors.CorruptData, match="7 bytes, expected 8"):
            blob.commit(digest.of(b"content"), 8)
        assert store.noted()
    assert list(store.all()) == []
    assert not store.noted()


def test_leftovers(store: ContentStore) -> None:
    child = os.fork()
    if child == 0:
        store.ingest().__enter__().write(b"half of it")
        store.note()
        os._exit(0)  # as after SIGKILL: nothing is cleaned up
    os.waitpid(child, 0)
    assert store.noted()
    store.remove_leftovers()
    assert not store.noted()
    note = store.note()
    assert store.noted()
    store.forget(note)
    store.forget(note)
    assert not store.noted()


def test_a_large_document_is_refused(store: ContentStore) -> None:
    name = store.add(b"x" * 100)
    with pytest.raises(errors.CorruptData, match="larger than 99 bytes"):
        store.read(name, limit=99)


def test_replace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.replace(str(path), b"one")
    before = path.stat().st_ino
    files.replace(str(path), b"two", 0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_ino != before, "a reader of the old file still has it whole"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_locks(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with Lock(path):
        assert not Lock(path).acquire_now()
        assert not Lock(path, shared=True).acquire_now()
    with Lock(path, shared=True):
        assert not Lock(path).acquire_now()
        second = Lock(path, shared=True)
        assert second.acquire_now()
        second.release()
    again = Lock(path)
    assert again.acquire_now()
    again.release()
