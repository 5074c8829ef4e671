"""A journal with several writers and readers: order, what is seen from when, renaming, half lines."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mydocker.content.journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "events")


def test_what_was_written_comes_back_in_order(path: str) -> None:
    journal = Journal(path)
    for number in range(5):
        journal.append(b"%d" % number)
    assert list(journal.read()) == [b"0", b"1", b"2", b"3", b"4"]


def test_nothing_was_written(path: str) -> None:
    assert list(Journal(path).read()) == []


def test_a_full_file_is_renamed_and_the_one_before_forgotten(path: str) -> None:
    journal = Journal(path, limit=10)
    for number in range(100, 112):
        journal.append(b"%d" % number)  # 4 bytes each, so three fill a file
    assert os.path.exists(f"{path}.1")
    assert not os.path.exists(path)
    journal.append(b"last")
    assert list(journal.read()) == [b"109", b"110", b"111", b"last"]


def test_half_a_line_is_not_shown(path: str) -> None:
    journal = Journal(path)
    journal.append(b"whole")
    with open(path, "ab") as file:
        file.write(b"half")
    assert list(journal.read()) == [b"whole"]


def test_without_history_only_what_is_new(path: str) -> None:
    journal = Journal(path)
    journal.append(b"old")
    looks = iter([True, False])
    lines = journal.read(lambda: next(looks), history=False)
    journal.append(b"new")
    assert list(lines) == [b"new"]


def follow(journal: Journal, wanted: int) -> tuple[list[bytes], threading.Thread]:
    """A thread that reads until it has ``wanted`` lines."""
    found: list[bytes] = []
    lines = journal.read(lambda: len(found) < wanted)

    def run() -> None:
        found.extend(lines)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return found, thread


def test_followers_of_many_writers_miss_and_mix_nothing(path: str) -> None:
    """The file is renamed once meanwhile: a follower sees what comes before, and what comes after."""
    journal = Journal(path, limit=8000)
    journal.append(b"first")
    total = 1 + 4 * 100
    followers = [follow(journal, total) for _ in range(2)]
    gate = threading.Barrier(4)

    def write(name: int) -> None:
        gate.wait()
        for number in range(100):
            journal.append(b"%d:%03d:%s" % (name, number, b"x" * 20))

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert os.path.exists(f"{path}.1")
    for found, thread in followers:
        thread.join(20)
        assert not thread.is_alive()
        assert found[0] == b"first"
        for name in range(4):
            own = [b"%d:%03d:%s" % (name, number, b"x" * 20) for number in range(100)]
            assert [line for line in found if line.startswith(b"%d:" % name)] == own


def test_a_follower_goes_over_to_the_next_file(path: str) -> None:
    journal = Journal(path, limit=8)
    journal.append(b"a")
    found, thread = follow(journal, 4)

    def until(count: int) -> Iterator[None]:
        while len(found) < count:
            thread.join(0.01)
            yield

    for count, line in enumerate([b"1234567", b"c", b"d"], start=1):
        for _ in until(count):
            pass
        journal.append(line)
    thread.join(20)
    assert found == [b"a", b"1234567", b"c", b"d"]


def test_two_who_find_it_full_rename_it_once(path: str) -> None:
    """Whoever comes second finds another file at the path, and leaves it."""
    journal = Journal(path, limit=1)
    late = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(late, b"one\n")
    journal.append(b"two")  # renames
    journal_two = Journal(path, limit=100)
    journal_two.append(b"three")
    journal._rotate(late)
    os.close(late)
    assert list(journal_two.read()) == [b"one", b"two", b"three"]
