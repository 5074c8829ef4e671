"""syslog's and journald's messages, and the process that sends them, over sockets of the test's own."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mydocker.monitor import log, log_pump, log_remote
from mydocker.monitor.loop import Loop
from mydocker.monitor.plan import LogFiles, LogPlan, LogRemote

NOW = time.mktime((2024, 5, 7, 9, 30, 0, 0, 0, -1)) + 0.25


@pytest.mark.parametrize(
    ("format", "pattern"),
    [
        ("", r"<30>May  7 09:30:00 web\[\d+\]: hello\n"),
        ("rfc3164", r"<30>May  7 09:30:00 \S+ web\[\d+\]: hello\n"),
        ("rfc5424", r"<30>1 2024-05-07T09:30:00(Z|[+-]\d\d:\d\d) \S+ web \d+ web - hello\n"),
        ("rfc5424micro", r"<30>1 2024-05-07T09:30:00\.250000(Z|[+-]\d\d:\d\d) \S+ web \d+ web - hello\n"),
    ],
)
def test_syslog_formats(format: str, pattern: str) -> None:
    remote = LogRemote(address="/", facility=3, format=format, tag="web")
    assert re.fullmatch(pattern, log_remote.syslog(remote, 6, b"hello\n", NOW).decode())
    assert log_remote.syslog(remote, 3, b"hello", NOW).startswith(b"<27>")


def test_journal_entries() -> None:
    remote = LogRemote(address="/", journal=True, fields={"CONTAINER_NAME": "web", "LABEL": "a\nb"})
    assert log_remote.journal(remote, 6, b"hello\n") == (
        b"MESSAGE=hello\nCONTAINER_NAME=web\nLABEL\n\x03\0\0\0\0\0\0\0a\nb\nPRIORITY=6\n"
    )
    assert b"CONTAINER_PARTIAL_MESSAGE=true\n" in log_remote.journal(remote, 3, b"no newline")


def test_a_stream_where_datagrams_are_not_taken(tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(tmp_path / "log"))
    server.listen()
    remote = log_remote.Remote(LogRemote(address=str(tmp_path / "log"), either=True, tag="x"))
    remote.write("stdout", b"a\nb")
    remote.finish()
    connection, _ = server.accept()
    assert connection.recv(4096).count(b"\n") >= 1
    server.close()
    connection.close()


def test_a_lost_connection_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_remote, "_PAUSE", 0.0)

    def listen() -> socket.socket:
        server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        server.bind(str(tmp_path / "log"))
        return server

    first = listen()
    remote = log_remote.Remote(LogRemote(address=str(tmp_path / "log"), tag="x"))
    remote.write("stdout", b"one\n")
    assert first.recv(4096).endswith(b": one\n")
    first.close()
    remote.write("stdout", b"lost\n")
    os.unlink(tmp_path / "log")
    second = listen()
    remote.write("stdout", b"two\n")
    assert second.recv(4096).endswith(b": two\n")
    second.close()


def in_thread(
    served: list[threading.Thread], plan: LogPlan
) -> Callable[[Callable[[socket.socket], None]], socket.socket]:
    """In place of a process; it serves what the process would."""

    def fork(_: Callable[[socket.socket], None]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        served.append(threading.Thread(target=log_pump.serve, args=(theirs, plan), daemon=True))
        served[0].start()
        return ours

    return fork


def test_the_pump_writes_to_files_and_is_waited_for_at_the_end(tmp_path: Path) -> None:
    plan = LogPlan(files=LogFiles(path=str(tmp_path / "log")), pumped=True)
    served: list[threading.Thread] = []
    pump = log_pump.start(plan, Loop(), in_thread(served, plan))
    pump.write("stdout", b"one\ntw")
    pump.write("stderr", b"err\n")
    pump.finish()
    assert [(each.stream, each.log) for each in log.read(plan.files.path if plan.files else "")] == [
        ("stdout", "one\n"),
        ("stderr", "err\n"),
        ("stdout", "tw"),
    ]
    pump.clear()
    assert list(log.read(str(tmp_path / "log"))) == []


def everything(connection: socket.socket, loop: Loop) -> list[bytes]:
    connection.setblocking(False)
    found = []
    while True:
        try:
            found.append(connection.recv(1 << 16))
        except BlockingIOError:
            return found
        loop.turn(0)


def test_what_does_not_fit_is_lost_and_nobody_waits() -> None:
    """The other end takes nothing."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = Loop()
    pump = log_pump.Pump(ours, LogPlan(buffer=100_000, pumped=True), loop)
    for _ in range(200):
        pump.write("stdout", b"x" * 10_000)
    taken = sum(len(message) for message in everything(theirs, loop))
    assert 100_000 < taken < 1_900_000
    pump.write("stdout", b"again")
    assert theirs.recv(100) == b"\0again"
    theirs.close()
    pump.write("stdout", b"nobody there")


def test_blocking_waits_once_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_pump, "PATIENCE", 0.05)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pump = log_pump.Pump(ours, LogPlan(pumped=True), Loop())
    for _ in range(1000):
        pump.write("stdout", b"x" * 10_000)
    assert theirs.recv(1 << 16) == b"\0" + b"x" * 10_000
    pump.write("stdout", b"again")
    assert everything(theirs, Loop())[-1] == b"\0again"
    theirs.close()
