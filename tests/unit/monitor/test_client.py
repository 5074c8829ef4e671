"""What is handed to a monitor, and monitors that do not answer."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.monitor import client
from mydocker.monitor.protocol import Kind, PortRequest, packet

REQUEST = PortRequest(held=True, protocol="tcp", host="127.0.0.1", host_port=80)


@pytest.fixture
def init() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with client.listen(str(tmp_path)) as found:
        found.setblocking(True)
        yield found


def test_a_monitor_that_waits_for_the_record(
    tmp_path: Path, listener: socket.socket, init: subprocess.Popen[bytes]
) -> None:
    """It answers nothing until who asks lets go of the container; the end of init says so."""

    def end() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1000)
            init.send_signal(signal.SIGKILL)
            ended.wait(20)

    ended = threading.Event()
    thread = threading.Thread(target=end)
    thread.start()
    try:
        with pytest.raises(errors.Unavailable, match="has just ended"):
            client.port(str(tmp_path), init.pid, REQUEST)
    finally:
        ended.set()
        thread.join()


def test_an_answer(tmp_path: Path, listener: socket.socket, init: subprocess.Popen[bytes]) -> None:
    def answer() -> None:
        with listener.accept()[0] as connection:
            _, descriptors, _, _ = socket.recv_fds(connection, 1000, 2)
            got.extend(descriptors)
            connection.send(packet(Kind.DONE))

    got: list[int] = []
    thread = threading.Thread(target=answer)
    thread.start()
    with socket.socket() as handle:
        client.port(str(tmp_path), init.pid, REQUEST, handle)
    thread.join()
    assert len(got) == 1
    os.close(got[0])


def test_a_container_that_has_ended(tmp_path: Path, listener: socket.socket) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert listener.fileno() > 0
    with pytest.raises(errors.Unavailable, match="has just ended"):
        client.port(str(tmp_path), gone.pid, REQUEST)
