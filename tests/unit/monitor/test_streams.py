"""The pump between a process's pipes and its clients, with real pipes and sockets and no process."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mydocker.monitor import log, log_file, streams
from mydocker.monitor.client import Session
from mydocker.monitor.loop import Loop
from mydocker.monitor.plan import LogFiles
from mydocker.monitor.protocol import Kind
from mydocker.monitor.streams import Client, Streams


class Rig:
    """A pump whose "process" is the test."""

    def __init__(self, tmp_path: Path, *, close_on_leave: bool = False) -> None:
        self.loop = Loop()
        self.sessions: list[Session] = []
        self.path = tmp_path / "log"
        self.stdin, stdin = os.pipe()
        stdout, self.stdout = os.pipe()
        stderr, self.stderr = os.pipe()
        self.streams = Streams(
            self.loop,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            log=log_file.Writer(LogFiles(path=str(self.path))),
            close_on_leave=close_on_leave,
        )

    def client(self, *, owner: bool = False, keys: bytes = b"") -> Session:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.streams.join(Client(theirs, stdin=True, stdout=True, stderr=True, owner=owner))
        session = Session(ours, "/nonexistent", 0, keys)
        self.sessions.append(session)  # one that nobody holds would close itself
        return session

    def turn(self, times: int = 20) -> None:
        for _ in range(times):
            self.loop.turn(0)

    def logged(self) -> list[str]:
        return [entry.log for entry in log.read(str(self.path))]

    def end(self) -> None:
        for fd in (self.stdin, self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.streams.drain()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_output_goes_to_the_log_and_to_every_client(rig: Rig) -> None:
    first, second = rig.client(), rig.client()
    os.write(rig.stdout, b"out\n")
    os.write(rig.stderr, b"err\n")
    rig.turn()
    for client in (first, second):
        assert {client.receive(), client.receive()} == {(Kind.STDOUT, b"out\n"), (Kind.STDERR, b"err\n")}
    assert sorted(rig.logged()) == ["err\n", "out\n"]
    rig.end()


def test_input_reaches_the_process(rig: Rig) -> None:
    client = rig.client()
    client.send(b"hello")
    rig.turn()
    assert os.read(rig.stdin, 100) == b"hello"
    rig.end()


def test_input_ends_with_its_client_only_if_it_is_asked_to(tmp_path: Path) -> None:
    once = Rig(tmp_path, close_on_leave=True)
    once.client().close()
    once.turn()
    assert os.read(once.stdin, 1) == b""
    once.end()
    stays = Rig(tmp_path)
    stays.client().close()
    stays.turn()
    os.set_blocking(stays.stdin, False)
    with pytest.raises(BlockingIOError):
        os.read(stays.stdin, 1)
    stays.end()


def test_the_end_of_the_input_comes_after_the_input(tmp_path: Path) -> None:
    rig = Rig(tmp_path, close_on_leave=True)
    client = rig.client()
    sent = os.urandom(1 << 17)
    rig.loop.turn(0)
    client._socket.setblocking(False)
    received = bytearray()
    position = 0
    ended = False
    while True:
        if position < len(sent):
            try:
                client._socket.send(bytes((Kind.STDIN,)) + sent[position : position + 8192])
                position += 8192
            except BlockingIOError:
                pass
        elif not ended:
            client._socket.setblocking(True)
            client.close_stdin()
            ended = True
        rig.turn(3)
        os.set_blocking(rig.stdin, False)
        try:
            data = os.read(rig.stdin, 1 << 16)
        except BlockingIOError:
            continue
        if not data:
            break
        received += data
    assert bytes(received) == sent
    rig.end()


def fill(rig: Rig) -> int:
    """Write until nobody takes it any more."""
    os.set_blocking(rig.stdout, False)
    total = 0
    stuck = 0
    while stuck < 5 and total < 8 << 20:
        try:
            total += os.write(rig.stdout, b"x" * 4095 + b"\n")
            stuck = 0
        except BlockingIOError:
            stuck += 1
        rig.turn(3)
    return total


def test_a_client_that_does_not_read_holds_the_output_back(rig: Rig) -> None:
    rig.client(owner=True)
    total = fill(rig)
    assert total < 1 << 20
    assert rig.streams.impatience() is None
    rig.end()


def test_and_takes_all_of_it_later(rig: Rig) -> None:
    client = rig.client(owner=True)
    total = fill(rig)
    client._socket.setblocking(False)
    received = 0
    idle = 0
    while idle < 5:
        try:
            received += len(client.receive()[1])
            idle = 0
        except BlockingIOError:
            idle += 1
        rig.turn(3)
    assert received == total
    rig.end()


def test_a_late_client_that_does_not_read_is_let_go(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.client()
    fill(rig)
    left = rig.streams.impatience()
    assert left is not None
    assert 0 < left <= streams.PATIENCE
    monkeypatch.setattr(streams, "PATIENCE", 0.0)
    assert rig.streams.impatience() is None
    assert rig.streams.clients == []
    assert fill(rig) >= 8 << 20, "the output flows again"
    rig.end()


def test_what_is_left_in_the_pipe_at_the_end_is_told(rig: Rig) -> None:
    client = rig.client()
    os.write(rig.stdout, b"last words")
    rig.end()
    assert client.receive() == (Kind.STDOUT, b"last words")
    assert rig.logged() == ["last words"]


def test_a_client_that_was_killed_is_forgotten(rig: Rig) -> None:
    rig.client().close()
    other = rig.client()
    os.write(rig.stdout, b"a")
    rig.turn()
    assert other.receive() == (Kind.STDOUT, b"a")
    assert len(rig.streams.clients) == 1
    rig.end()


@pytest.mark.parametrize(
    ("pieces", "passed", "detached"),
    [
        ([b"abc"], b"abc", False),
        ([b"a\x10\x11b"], b"a", True),
        ([b"a\x10", b"\x11b"], b"a", True),
        ([b"a\x10b"], b"a\x10b", False),
        ([b"\x10", b"\x10\x11"], b"\x10", True),
        ([b"\x10"], b"", False),
    ],
)
def test_detach_keys(rig: Rig, pieces: list[bytes], passed: bytes, detached: bool) -> None:
    client = rig.client(keys=b"\x10\x11")
    for piece in pieces:
        client.send(piece)
    rig.turn()
    os.set_blocking(rig.stdin, False)
    try:
        found = os.read(rig.stdin, 100)
    except BlockingIOError:
        found = b""
    assert found == passed
    assert client.detached is detached
    if detached:
        assert client.receive() == (Kind.DETACHED, b"")
    rig.end()
