"""Log files: rotation, compression, readers beside it, and what happens when nothing can be written."""

from __future__ import annotations

import gzip
import os
import threading
import time
from pathlib import Path

import pytest

from mydocker.monitor import log, log_file
from mydocker.monitor.plan import LogFiles


def line(number: int) -> bytes:
    return b"line %05d\n" % number


def lines(path: Path, **options: object) -> list[str]:
    return [entry.log for entry in log.read(str(path), **options)]  # type: ignore[arg-type]


def wanted(first: int, last: int) -> list[str]:
    return [line(number).decode() for number in range(first, last)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def write(path: Path, numbers: range, *, size: int = 1000, count: int = 3, compress: bool = False) -> None:
    writer = log_file.Writer(LogFiles(path=str(path), size=size, count=count, compress=compress))
    for number in numbers:
        writer.write("stdout", line(number))
    writer.finish()


@pytest.mark.parametrize("compress", [False, True])
def test_the_newest_stay_within_the_limits(path: Path, compress: bool) -> None:
    write(path, range(200), compress=compress)
    ending = ".gz" if compress else ""
    files = sorted(each.name for each in path.parent.iterdir())
    assert files == ["log", f"log.1{ending}", f"log.2{ending}"]
    assert all(each.stat().st_size <= 1000 for each in path.parent.iterdir())
    found = lines(path)
    assert 20 < len(found) < 200
    assert found == wanted(200 - len(found), 200)


def test_one_file_starts_again(path: Path) -> None:
    write(path, range(100), count=1)
    assert [each.name for each in path.parent.iterdir()] == ["log"]
    found = lines(path)
    assert found == wanted(100 - len(found), 100)


def test_without_a_limit_there_is_one_file(path: Path) -> None:
    write(path, range(500), size=-1)
    assert lines(path) == wanted(0, 500)
    assert [each.name for each in path.parent.iterdir()] == ["log"]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("tail", [0, 1, 5, 15, 30, 999])
def test_the_last_lines_over_several_files(path: Path, compress: bool, tail: int) -> None:
    write(path, range(100), compress=compress)
    every = lines(path)
    assert lines(path, tail=tail) == every[len(every) - min(tail, len(every)) :]


@pytest.mark.parametrize("compress", [False, True])
def test_a_follower_misses_nothing_of_a_rotation(path: Path, compress: bool) -> None:
    over = threading.Event()
    found: list[str] = []

    def follow() -> None:
        found.extend(entry.log for entry in log.read(str(path), over.is_set))

    thread = threading.Thread(target=follow)
    thread.start()
    writer = log_file.Writer(LogFiles(path=str(path), size=1000, count=20, compress=compress))
    for number in range(200):
        writer.write("stdout", line(number))
        if number % 10 == 0:
            time.sleep(0.01)
    writer.finish()
    over.set()
    thread.join()
    assert found == wanted(0, 200)


def test_rotation_halts_a_compression_and_waits_for_none(path: Path) -> None:
    asked: list[str] = []
    writer = log_file.Writer(
        LogFiles(path=str(path), size=200, count=3, compress=True),
        lambda which: asked.append(f"compress {which}"),
        lambda: asked.append("halt"),
    )
    for number in range(20):
        writer.write("stdout", line(number))
    writer.finish()
    assert asked == ["halt", f"compress {path}"] * (len(asked) // 2) != []
    assert all(each.stat().st_size <= 200 for each in path.parent.iterdir())
    assert lines(path) == wanted(20 - len(lines(path)), 20)


def test_what_was_not_compressed_in_time_is_so_later(path: Path) -> None:
    for number, text in enumerate(("now", "one", "two", "three")):
        path.with_name(f"log.{number}" if number else "log").write_text(text)
    path.with_name("log.3.gz").write_text("half")
    log_file.compress_rotated(str(path))
    found = sorted(each.name for each in path.parent.iterdir())
    assert found == ["log", "log.1.gz", "log.2.gz", "log.3.gz"]
    assert gzip.decompress(path.with_name("log.3.gz").read_bytes()) == b"three"


def test_clear_while_it_is_written_and_followed(path: Path) -> None:
    writer = log_file.Writer(LogFiles(path=str(path), size=500, count=3))
    for number in range(50):
        writer.write("stdout", line(number))
    entries = log.read(str(path), lambda: False)
    before = [next(entries).log for _ in lines(path)]
    assert before[-1] == "line 00049\n"
    writer.clear()
    assert lines(path) == []
    writer.write("stdout", b"after\n")
    assert next(entries).log == "after\n"
    assert lines(path) == ["after\n"]
    assert [each.name for each in path.parent.iterdir()] == ["log"]


def test_attributes_go_with_each_line(path: Path) -> None:
    writer = log_file.Writer(LogFiles(path=str(path), attributes='{"tag":"web"}'))
    writer.write("stderr", b"a\nb\n")
    writer.finish()
    assert [(entry.log, entry.attrs) for entry in log.read(str(path))] == [
        ("a\n", {"tag": "web"}),
        ("b\n", {"tag": "web"}),
    ]


def test_what_cannot_be_written_is_lost_and_nothing_else(path: Path) -> None:
    path.mkdir()
    writer = log_file.Writer(LogFiles(path=str(path), size=1000))
    writer.write("stdout", b"lost\n")
    path.rmdir()
    writer.write("stdout", b"kept\n")
    writer.finish()
    assert lines(path) == ["kept\n"]


def test_a_full_disk_loses_lines(path: Path) -> None:
    path.symlink_to("/dev/full")
    writer = log_file.Writer(LogFiles(path=str(path)))
    writer.write("stdout", b"lost\n")
    writer.write("stdout", b"lost too\n")
    path.unlink()
    writer.write("stdout", b"kept\n")
    writer.finish()
    assert lines(path) == ["kept\n"]


def test_a_line_that_a_killed_monitor_has_torn(path: Path) -> None:
    write(path, range(1))
    with path.open("ab") as file:
        file.write(b'{"log":"torn')
    write(path, range(1, 3))
    assert lines(path) == wanted(0, 3)


def test_a_compressed_file_keeps_the_time_of_its_last_line(path: Path) -> None:
    path.write_bytes(b"x" * 100)
    os.utime(path, ns=(1, 2))
    log_file.compress_file(str(path))
    assert os.stat(f"{path}.gz").st_mtime_ns == 2
    assert not path.exists()
