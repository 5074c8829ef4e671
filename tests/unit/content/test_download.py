"""Blobs that come in several attempts, and for several who want them."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.content.store import ContentStore

DATA = os.urandom(3_000_000)
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
SIZE = len(DATA)

Fetch = Callable[[int], Iterator[bytes]]


@pytest.fixture
def content(tmp_path: Path) -> ContentStore:
    store = ContentStore(str(tmp_path / "image"))
    store.initialise()
    return store


def served(data: bytes = DATA, *, until: int | None = None, asked: list[int] | None = None) -> Fetch:
    """What a registry sends, which breaks after the byte ``until``."""

    def fetch(offset: int) -> Iterator[bytes]:
        if asked is not None:
            asked.append(offset)
        for at in range(offset, len(data) if until is None else until, 1 << 16):
            yield data[at : min(at + (1 << 16), until or len(data))]
        if until is not None:
            raise errors.Unavailable("broken")

    return fetch


def take(content: ContentStore, fetch: Fetch) -> bytes:
    with content.download(DIGEST, SIZE) as download:
        data = b"".join(download.stream(fetch))
        download.commit()
    return data


def kept(content: ContentStore) -> int:
    """Bytes of the download so far; -1 if there is none."""
    path = Path(content.root, "download", DIGEST.removeprefix("sha256:"))
    return path.stat().st_size if path.exists() else -1


def test_at_once(content: ContentStore) -> None:
    assert take(content, served()) == DATA
    assert content.read(DIGEST) == DATA
    content.forget_download(DIGEST)
    assert kept(content) == -1
    assert content.read(DIGEST) == DATA


def test_resumed(content: ContentStore) -> None:
    asked: list[int] = []
    for until in (1_000_000, 2_500_000):
        with pytest.raises(errors.Unavailable):
            take(content, served(until=until, asked=asked))
        assert kept(content) == until
        assert not content.has(DIGEST)
    assert take(content, served(asked=asked)) == DATA
    assert asked == [0, 1_000_000, 2_500_000]
    assert content.read(DIGEST) == DATA


def test_complete_but_without_its_name(content: ContentStore) -> None:
    """Killed after the last byte: nothing is asked for."""
    with content.download(DIGEST, SIZE) as download:
        assert b"".join(download.stream(served())) == DATA
    asked: list[int] = []
    assert take(content, served(asked=asked)) == DATA
    assert asked == []


def test_collected_but_still_downloaded(content: ContentStore) -> None:
    take(content, served())
    content.remove(DIGEST)
    asked: list[int] = []
    assert take(content, served(asked=asked)) == DATA
    assert asked == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DATA[:-1] + bytes([DATA[-1] ^ 1]), "its contents have the digest"),
        (DATA + b"x", "more than"),
    ],
)
def test_wrong_bytes_are_not_kept(content: ContentStore, data: bytes, message: str) -> None:
    with pytest.raises(errors.CorruptData, match=f"blob {DIGEST}: .*{message}"):
        take(content, served(data))
    assert not content.has(DIGEST)
    assert kept(content) == 0


def test_too_few_bytes_are_kept(content: ContentStore) -> None:
    with pytest.raises(errors.CorruptData, match=f"ended after 100 bytes, expected {SIZE}"):
        take(content, served(DATA[:100]))
    assert kept(content) == 100


def test_more_than_there_should_be_on_disk(content: ContentStore) -> None:
    path = Path(content.root, "download", DIGEST.removeprefix("sha256:"))
    path.write_bytes(DATA + b"x")
    assert take(content, served()) == DATA


def test_a_full_disk_gets_its_room_back(content: ContentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int, _data: object, offset: int) -> int:
        if offset > 1_000_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(_descriptor, _data, offset)  # type: ignore[arg-type]

    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        take(content, served())
    assert caught.value.filename.startswith(content.root)
    assert kept(content) == 0


def test_the_second_waits_and_finds_it(content: ContentStore) -> None:
    begun, go_on = threading.Event(), threading.Event()
    found: list[bool] = []

    def slow(offset: int) -> Iterator[bytes]:
        begun.set()
        assert go_on.wait(10)
        yield from served()(offset)

    def second() -> None:
        with content.download(DIGEST, SIZE) as download:
            found.append(download.complete)

    first = threading.Thread(target=take, args=(content, slow))
    first.start()
    assert begun.wait(10)
    other = threading.Thread(target=second)
    other.start()
    time.sleep(0.05)
    assert other.is_alive(), "it did not wait"
    go_on.set()
    first.join(10)
    other.join(10)
    assert found == [True]


def test_sweeping(content: ContentStore) -> None:
    with pytest.raises(errors.Unavailable):
        take(content, served(until=1_000_000))
    path = Path(content.root, "download", DIGEST.removeprefix("sha256:"))
    assert not content.noted()
    assert content.sweep_downloads() == 0
    assert kept(content) == 1_000_000
    old = time.time() - 25 * 3600
    os.utime(path, (old, old))
    assert content.noted()
    with content.download(DIGEST, SIZE):
        assert content.sweep_downloads() == 0, "somebody is at it"
    assert content.sweep_downloads() >= 1_000_000
    assert kept(content) == -1


def test_sweeping_all(content: ContentStore) -> None:
    with pytest.raises(errors.Unavailable):
        take(content, served(until=1_000_000))
    content.remove_leftovers()
    assert kept(content) == 1_000_000
    assert content.sweep_downloads(0) >= 1_000_000
    assert kept(content) == -1
