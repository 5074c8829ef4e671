"""The json-file log: what is written for which output, and read back."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from mydocker.monitor import log, log_file, timestamp
from mydocker.monitor.plan import LogFiles


def written(path: Path, pieces: list[bytes], stream: str = "stdout") -> list[str]:
    writer = log_file.Writer(LogFiles(path=str(path)))
    for piece in pieces:
        writer.write(stream, piece)
    writer.finish()
    return [json.loads(line)["log"] for line in path.read_text().splitlines()] if path.exists() else []


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], ["a\n", "b\n"]),
        ([b"a", b"b\nc"], ["ab\n", "c"]),
        ([b"\n\n"], ["\n", "\n"]),
        ([b"a\r\nb\rc\n"], ["a\r\n", "b\rc\n"]),
        ([b"\xff\xfe\n"], ["\ufffd\ufffd\n"]),
        ([b'"\\\x00\x1b\n'], ['"\\\x00\x1b\n']),
        ([b"x" * 40000 + b"\n"], ["x" * 16384, "x" * 16384, "x" * 7232 + "\n"]),
        ([b"x" * 10000, b"y" * 10000], ["x" * 10000 + "y" * 6384, "y" * 3616]),
    ],
)
def test_lines(tmp_path: Path, pieces: list[bytes], lines: list[str]) -> None:
    assert written(tmp_path / "log", pieces) == lines


def test_a_silent_container_has_no_file(tmp_path: Path) -> None:
    assert written(tmp_path / "log", []) == []
    assert not (tmp_path / "log").exists()
    assert list(log.read(str(tmp_path / "log"))) == []


def test_form(tmp_path: Path) -> None:
    written(tmp_path / "log", [b"hello\n"], "stderr")
    entry = json.loads((tmp_path / "log").read_text())
    assert list(entry) == ["log", "stream", "time"]
    assert entry["stream"] == "stderr"
    assert timestamp.parse_rfc3339(entry["time"]) > 0


@pytest.mark.parametrize("count", [0, 1, 2, 5, 999, 1000, 1001, 5000])
def test_tail(tmp_path: Path, count: int) -> None:
    path = tmp_path / "log"
    written(path, [b"".join(b"line %d %s\n" % (n, b"x" * (n % 200)) for n in range(1000))])
    found = [entry.log for entry in log.read(str(path), tail=count)]
    every = [entry.log for entry in log.read(str(path))]
    assert len(every) == 1000
    assert found == (every[-count:] if count else [])


def test_follow_sees_everything_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "log"
    over = threading.Event()

    def write() -> None:
        writer = log_file.Writer(LogFiles(path=str(path)))
        for number in range(50):
            writer.write("stdout", b"%d\n" % number)
        writer.finish()
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    found = [entry.log for entry in log.read(str(path), over.is_set)]
    thread.join()
    assert found == [f"{number}\n" for number in range(50)]


def test_a_torn_last_line_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'{"log":"a\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}\n{"log":"b')
    assert [entry.log for entry in log.read(str(path))] == ["a\n"]


def test_select(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "".join(
            f'{{"log":"{n}\\n","stream":"{stream}","time":"2024-01-01T00:00:0{n}Z"}}\n'
            for n, stream in enumerate(("stdout", "stderr", "stdout", "stderr", "stdout"))
        )
    )
    start = timestamp.parse_rfc3339("2024-01-01T00:00:00Z") / 1e9
    chosen = log.select_entries(log.read(str(path)), since=start + 1, until=start + 3)
    assert [entry.log for entry in chosen] == ["1\n", "2\n", "3\n"]
    chosen = log.select_entries(log.read(str(path)), stdout=False)
    assert [entry.log for entry in chosen] == ["1\n", "3\n"]


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1_715_938_200_123_456_789, "2024-05-17T09:30:00.123456789Z"),
        (1_715_938_200_000_000_010, "2024-05-17T09:30:00.00000001Z"),
    ],
)
def test_instants(nanoseconds: int, text: str) -> None:
    assert timestamp.rfc3339(nanoseconds) == text
    assert timestamp.parse_rfc3339(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "2024-01-01", "2024-01-01T00:00:00+01:00", "Z" * 30])
def test_no_instants(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        timestamp.parse_rfc3339(text)


def test_append_is_one_write_of_whole_lines(tmp_path: Path) -> None:
    """Two writers (an old and a new monitor never overlap, but a reader may look at any time)."""
    path = tmp_path / "log"
    writer = log_file.Writer(LogFiles(path=str(path)))
    writer.write("stdout", b"a\nb\n")
    assert path.read_bytes().endswith(b"}\n")
    assert path.read_bytes().count(b"\n") == 2
    writer.finish()
    assert os.stat(path).st_mode & 0o777 == 0o640
