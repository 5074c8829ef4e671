"""A proxy of SOCKS 5 (RFC 1928) that leads everything to one place, and notes what it was asked for.

05 n methods            client: the ways it can show who it is
05 method               02: name and password (RFC 1929), 00: nothing, ff: none of these
01 n name n password -> 01 00
05 01 00 03 n host port -> 05 reply 00 01 0.0.0.0 0
"""

from __future__ import annotations

import socket
import socketserver
import struct
import threading
from contextlib import suppress

from support.threaded import Threaded

NOBODY, PASSWORD, NONE = b"\0", b"\2", b"\xff"
GRANTED, REFUSED = 0, 5


class SocksProxy(Threaded):
    """``with SocksProxy("127.0.0.1:5000") as proxy:`` serves at ``proxy.address``."""

    def __init__(self, target: str, *, user: tuple[str, str] | None = None, reply: int = GRANTED) -> None:
        self.asked: list[tuple[int, str, int]] = []
        """kind of address (3: a name), host and port, of each connection"""
        self.refused = 0
        """how many had the wrong password, or none"""
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._serve(self.request)

        class Listener(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._target = target
        self._user = user
        self._reply = reply
        self._server = Listener(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.serve(self._server)

    def _serve(self, client: socket.socket) -> None:
        _, count = _exactly(client, 2)
        wanted = NOBODY if self._user is None else PASSWORD
        if wanted not in _exactly(client, count):
            self.refused += 1
            client.sendall(b"\5" + NONE)
            return
        client.sendall(b"\5" + wanted)
        if self._user is not None and not self._is_known(client, self._user):
            return
        _, _, _, kind = _exactly(client, 4)
        host = _exactly(client, _exactly(client, 1)[0]).decode() if kind == 3 else ""
        if kind != 3:
            host = str(_exactly(client, 4 if kind == 1 else 16))
        (port,) = struct.unpack("!H", _exactly(client, 2))
        self.asked.append((kind, host, port))
        client.sendall(bytes((5, self._reply, 0, 1)) + bytes(6))
        if self._reply != GRANTED:
            return
        name, _, number = self._target.rpartition(":")
        with socket.create_connection((name, int(number))) as far:
            back = threading.Thread(target=_copy, args=(far, client), daemon=True)
            back.start()
            _copy(client, far)
            back.join()

    def _is_known(self, client: socket.socket, user: tuple[str, str]) -> bool:
        _, length = _exactly(client, 2)
        name = _exactly(client, length).decode()
        password = _exactly(client, _exactly(client, 1)[0]).decode()
        known = (name, password) == user
        self.refused += not known
        client.sendall(bytes((1, 0 if known else 1)))
        return known


def _exactly(client: socket.socket, count: int) -> bytes:
    data = client.recv(count, socket.MSG_WAITALL) if count else b""
    if len(data) != count:
        raise ConnectionError(f"the client left after {len(data)} of {count} bytes")
    return data


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the end of ``source``, or until one of them has gone."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
