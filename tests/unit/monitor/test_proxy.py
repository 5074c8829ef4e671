"""The proxy of published ports, between a client and a server on loopback."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mydocker.monitor.children import Children
from mydocker.monitor.loop import Loop
from mydocker.monitor.proxy import Proxy, Target

Address = tuple[str, int]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """With a monitor's loop, which begins it when something arrives."""
    loop = Loop()
    made = Proxy(loop, Children(loop, str(tmp_path / "crash.log")))
    ended = threading.Event()

    def turn() -> None:
        while not ended.is_set():
            loop.turn(0.02)

    thread = threading.Thread(target=turn)
    thread.start()
    yield made
    ended.set()
    thread.join()
    made.close()
    assert not (tmp_path / "crash.log").exists()


def in_loop(proxy: Proxy, act: Callable[[], bool]) -> bool:
    """What a monitor does, it does in its loop."""
    done: queue.Queue[bool] = queue.Queue()
    proxy._loop.after("test", 0, lambda: done.put(act()))
    return done.get(timeout=10)


def bound(kind: socket.SocketKind) -> socket.socket:
    handle = socket.socket(type=kind)
    handle.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        handle.listen()
    return handle


def ask(at: Address, message: bytes) -> bytes:
    with socket.create_connection(at, timeout=10) as client:
        client.sendall(message)
        with suppress(OSError):  # ENOTCONN: reset by now, which is told below
            client.shutdown(socket.SHUT_WR)
        answer = b""
        while part := client.recv(1 << 16):
            answer += part
        return answer


def echo(server: socket.socket) -> None:
    """One connection: all that comes, and only then back."""
    peer, _ = server.accept()
    with peer:
        data = b""
        while part := peer.recv(1 << 16):
            data += part
        peer.sendall(data[::-1])


def test_tcp(proxy: Proxy) -> None:
    held = bound(socket.SOCK_STREAM)
    at: Address = held.getsockname()
    with bound(socket.SOCK_STREAM) as server:
        proxy.add(Target(held, *server.getsockname()))
        assert proxy._helper.connection is None, "nothing has arrived"
        message = bytes(range(256)) * 20_000
        thread = threading.Thread(target=echo, args=(server,))
        thread.start()
        assert ask(at, message) == message[::-1]
        thread.join()
    with pytest.raises(ConnectionResetError):
        assert ask(at, b"x") == b"nobody is there any more"


def test_udp_each_client_has_its_own_answers(proxy: Proxy) -> None:
    held = bound(socket.SOCK_DGRAM)
    at: Address = held.getsockname()
    with bound(socket.SOCK_DGRAM) as server, bound(socket.SOCK_DGRAM) as one, bound(socket.SOCK_DGRAM) as two:
        proxy.add(Target(held, *server.getsockname()))
        seen = set()
        for client, message in ((one, b"one"), (two, b"two"), (one, b"one again")):
            client.settimeout(10)
            server.settimeout(10)
            client.sendto(message, at)
            data, peer = server.recvfrom(100)
            seen.add(peer)
            server.sendto(data.upper(), peer)
            assert client.recvfrom(100) == (message.upper(), at)
        assert len(seen) == 2


def test_more_and_less(proxy: Proxy) -> None:
    first, second = bound(socket.SOCK_STREAM), bound(socket.SOCK_STREAM)
    one, two = first.getsockname(), second.getsockname()
    with bound(socket.SOCK_STREAM) as server:
        proxy.add(Target(first, *server.getsockname()))
        proxy.add(Target(second, *server.getsockname()))
        for at in (one, two):
            thread = threading.Thread(target=echo, args=(server,))
            thread.start()
            assert ask(at, b"ab") == b"ba"
            thread.join()
        assert not in_loop(proxy, lambda: proxy.remove("udp", *one))
        assert in_loop(proxy, lambda: proxy.remove("tcp", *one))
        end = time.monotonic() + 10
        while _connects(one):
            assert time.monotonic() < end
        assert _connects(two)


def _connects(at: Address) -> bool:
    with socket.socket() as client:
        return client.connect_ex(at) == 0
