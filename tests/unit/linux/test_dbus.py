"""The D-Bus protocol: bytes against the specification's own rules, and a conversation with a real bus."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mydocker.linux import dbus
from mydocker.linux.dbus import BusError, Connection
from support import probe

BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


def test_types() -> None:
    assert dbus.types("sa(sv)u") == ["s", "a(sv)", "u"]
    assert dbus.types("ssa(sv)a(sa(sv))") == ["s", "s", "a(sv)", "a(sa(sv))"]
    assert dbus.types("aa{sv}ay") == ["aa{sv}", "ay"]
    assert dbus.types("") == []


@pytest.mark.parametrize(
    ("signature", "values", "encoded"),
    [
        ("y", (5,), b"\x05"),
        ("yu", (5, 258), b"\x05\0\0\0\x02\x01\0\0"),
        ("b", (True,), b"\1\0\0\0"),
        ("s", ("foo",), b"\3\0\0\0foo\0"),
        ("su", ("foo", 1), b"\3\0\0\0foo\0\1\0\0\0"),
        ("g", ("ay",), b"\2ay\0"),
        ("ay", (b"\1\2",), b"\2\0\0\0\1\2"),
        # the padding before the first member does not count for the length
        ("at", ([5],), b"\x08\0\0\0\0\0\0\0\5\0\0\0\0\0\0\0"),
        ("at", ([],), b"\0\0\0\0\0\0\0\0"),
        ("v", (("s", "x"),), b"\1s\0\0\1\0\0\0x\0"),
        ("y(sb)", (1, ("a", False)), b"\1\0\0\0\0\0\0\0\1\0\0\0a\0\0\0\0\0\0\0"),
        ("a(sv)", ([("k", ("u", 9))],), b"\x10\0\0\0\0\0\0\0\1\0\0\0k\0\1u\0\0\0\0\x09\0\0\0"),
        (
            "nqixtd",
            (-1, 1, -1, -1, 1, 0.5),
            b"\xff\xff\1\0\xff\xff\xff\xff" + b"\xff" * 8 + b"\1" + bytes(13) + b"\xe0?",
        ),
    ],
)
def test_values_there_and_back(signature: str, values: tuple[Any, ...], encoded: bytes) -> None:
    assert dbus.encode(signature, values) == encoded
    assert dbus.decode(signature, encoded, 0) == values


def test_alignment_counts_from_the_start_of_the_message() -> None:
    assert dbus.encode("u", (1,), 14) == b"\0\0\1\0\0\0"
    assert dbus.decode("u", bytes(16) + b"\1\0\0\0", 14) == (1,)


def test_what_ends_early() -> None:
    with pytest.raises(ConnectionError, match="ends early"):
        dbus.decode("s", b"\5\0\0\0ab", 0)


@pytest.fixture
def bus() -> Iterator[str]:
    if reason := probe.missing_programs("dbus-daemon"):
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="mdt-bus-") as directory:
        path = os.path.join(directory, "bus")
        argv = ["dbus-daemon", "--session", "--nofork", "--print-address", f"--address=unix:path={path}"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as daemon:
            assert daemon.stdout is not None
            daemon.stdout.readline()  # it listens
            try:
                yield path
            finally:
                daemon.kill()


def test_a_conversation(bus: str) -> None:
    with Connection(bus, 20) as one:
        (name,) = one.call(*BUS, "Hello")
        assert one.call(*BUS, "NameHasOwner", "s", name) == (True,)
        (names,) = one.call(*BUS, "ListNames")
        assert set(names) == {"org.freedesktop.DBus", name}
        assert one.call(*BUS, "GetConnectionUnixProcessID", "s", name) == (os.getpid(),)
        (properties,) = one.call(BUS[0], BUS[1], "org.freedesktop.DBus.Properties", "GetAll", "s", BUS[2])
        assert {key for key, _ in properties} >= {"Features", "Interfaces"}
        with pytest.raises(BusError, match="NoSuch") as caught:
            one.call(*BUS, "NoSuch")
        assert caught.value.name == "org.freedesktop.DBus.Error.UnknownMethod"
        assert one.signal().member == "NameAcquired"


def test_signals_are_kept_until_they_are_asked_for(bus: str) -> None:
    with Connection(bus, 20) as one, Connection(bus, 20) as other:
        one.call(*BUS, "Hello")
        one.call(*BUS, "AddMatch", "s", "type='signal',member='NameOwnerChanged'")
        (name,) = other.call(*BUS, "Hello")
        other.call(*BUS, "RequestName", "su", "org.mydocker.test", 0)
        one.call(*BUS, "GetId")
        assert one.signal().member == "NameAcquired"
        assert one.signal().body == (name, "", name)
        assert one.signal().body == ("org.mydocker.test", "", name)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"REJECTED EXTERNAL\r\n", PermissionError),
        (b"", ConnectionResetError),
        (b"OK 0123\r\nHTTP/1.1 400 Bad Request", ConnectionError),
        (b"OK 0123\r\n" + b"l\2\1\1" + b"\xff" * 12, ConnectionError),
        (b"OK 0123\r\nl\2\1\1", ConnectionResetError),
    ],
)
def test_who_is_no_bus(answer: bytes, error: type[Exception], tmp_path: Any) -> None:
    path = str(tmp_path / "bus")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.recv(1024)
                peer.sendall(answer)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(1024):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(error), Connection(path, 20) as connection:
                connection.call(*BUS, "Hello")
        finally:
            thread.join()


def test_who_does_not_answer(tmp_path: Any) -> None:
    path = str(tmp_path / "bus")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(TimeoutError):
            Connection(path, 0.05)
