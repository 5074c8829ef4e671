"""A threaded HTTP server whose replies can be spoiled: the base of the fake registry, tokens and proxy.

    server.when("GET", "/blobs/", truncate(1000), times=2)     the next two such replies end after 1000 bytes
    server.when("GET", "/manifests/", status(503))             all of them
    server.requests                                            what has been asked, in order

``Proxy(upstream)`` passes everything on to a real registry, and spoils what comes back.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.threaded import Threaded

TLS_HANDSHAKE = 0x16


@dataclass(frozen=True)
class Asked:
    """A request as it came in."""

    method: str
    target: str
    headers: Mapping[str, str]
    """names in lower case"""
    body: bytes = b""
    peer: int = 0
    """the client's port: one connection, one port"""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    def query(self, name: str) -> str:
        return self.queries(name)[0] if self.queries(name) else ""

    def queries(self, name: str) -> list[str]:
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True).get(name, [])


@dataclass(frozen=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    """bytes of the body after which the connection is closed"""
    reset: bool = False
    """by RST, which may also take what the client has not read yet"""
    silent: bool = False
    """the connection is closed in place of a reply"""


Spoil = Callable[[Asked, Answer], Answer]


def status(code: int, body: bytes = b"", **headers: str) -> Spoil:
    """``status(429, retry_after="1")``"""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _asked, _answer: Answer(code, named, body)


def truncate(after: int, *, reset: bool = False) -> Spoil:
    """The reply ends after so many bytes of its body."""
    return lambda _asked, answer: replace(answer, cut=after, reset=reset)


def hang_up() -> Spoil:
    return lambda _asked, answer: replace(answer, silent=True)


def delay(seconds: float) -> Spoil:
    def wait(_asked: Asked, answer: Answer) -> Answer:
        time.sleep(seconds)
        return answer

    return wait


def corrupt(at: int = 0) -> Spoil:
    """Flip the bits of one byte of the body."""

    def flip(_asked: Asked, answer: Answer) -> Answer:
        body = bytearray(answer.body)
        if body:
            body[at % len(body)] ^= 0xFF
        return replace(answer, body=bytes(body))

    return flip


def redirect(location: str, code: int = 307) -> Spoil:
    """``{target}`` in the location becomes the path and query that was asked for."""
    return lambda asked, _answer: Answer(code, {"Location": location.replace("{target}", asked.target)})


def header(name: str, value: str | None) -> Spoil:
    """Put a header in place of the right one, or leave it out."""

    def put(_asked: Asked, answer: Answer) -> Answer:
        kept = {key: old for key, old in answer.headers.items() if key.lower() != name.lower()}
        return replace(answer, headers=kept if value is None else {**kept, name: value})

    return put


def body(data: bytes) -> Spoil:
    """Another body, of its own length."""
    return lambda asked, answer: replace(header("Content-Length", None)(asked, answer), body=data)


def without_length() -> Spoil:
    """The body goes out in chunks (RFC 9112, 7.1), so its length is not known beforehand."""
    return header("Transfer-Encoding", "chunked")


@dataclass
class Fault:
    method: str
    part: str
    """of the path"""
    spoil: Spoil
    times: int
    upload_limit: int | None = None
    """bytes of the request's body after which the connection is reset"""
    instead: bool = False
    """whether the request is not acted upon"""

    def matches(self, asked: Asked) -> bool:
        return self.times > 0 and self.method in ("*", asked.method) and self.part in asked.target


class Server(Threaded):
    """``with Fake(...) as server:`` serves on loopback; ``server.address`` is host:port."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.requests: list[Asked] = []
        self.faults: list[Fault] = []
        self.tunnel = ""
        """host:port that CONNECT leads to, whatever is asked for: then this is a proxy"""
        self.lock = threading.RLock()
        outer = self

        class Handler(_Handler):
            owner = outer

        self._server = _Listener((host, 0), Handler)
        self._server.tls = tls
        self.scheme = "https" if tls else "http"
        self.port: int = self._server.server_address[1]
        self.address = f"{host}:{self.port}"
        self.url = f"{self.scheme}://{self.address}"
        self.serve(self._server)

    def answer(self, asked: Asked) -> Answer:
        raise NotImplementedError

    def interrupted(self, asked: Asked) -> None:
        """The request's body ended early; ``asked.body`` is what came."""

    def when(
        self,
        method: str,
        part: str,
        spoil: Spoil = lambda _asked, answer: answer,
        *,
        times: int = 1 << 30,
        upload_limit: int | None = None,
        instead: bool = False,
    ) -> None:
        """Spoil the next ``times`` replies to ``method`` (``*``: any) whose target has ``part`` in it.

        The request is acted upon before that, unless ``instead`` says that the spoiled reply is all there is.
        """
        self.faults.append(Fault(method, part, spoil, times, upload_limit, instead))

    def asked(self, method: str, part: str = "") -> list[Asked]:
        return [one for one in self.requests if method in ("*", one.method) and part in one.target]


class Proxy(Server):
    """Everything is answered by the registry at ``upstream`` (host:port, plain HTTP)."""

    def __init__(self, upstream: str, **options: Any) -> None:
        super().__init__(**options)
        self.upstream = upstream

    def answer(self, asked: Asked) -> Answer:
        connection = http.client.HTTPConnection(self.upstream)
        try:
            kept = {name: value for name, value in asked.headers.items() if name != "transfer-encoding"}
            connection.request(asked.method, asked.target, asked.body or None, kept)
            response = connection.getresponse()
            headers = {
                name: value
                for name, value in response.getheaders()
                if name.lower() not in ("connection", "transfer-encoding", "date")
            }
            return Answer(response.status, headers, response.read())
        finally:
            connection.close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        connection.settimeout(30)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is nothing to report."""


class _Handler(BaseHTTPRequestHandler):
    owner: Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        tls = self.server.tls  # type: ignore[attr-defined]
        if tls is not None:
            self.request = tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle_one_request(self) -> None:
        if isinstance(self.connection, ssl.SSLSocket):
            super().handle_one_request()
            return
        first = self.connection.recv(1, socket.MSG_PEEK)
        if first and first[0] == TLS_HANDSHAKE:  # a real server sees that this is no HTTP, too
            self.close_connection = True
            return
        super().handle_one_request()

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        owner = self.owner
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, peer=self.client_address[1])
        with owner.lock:
            faults = [fault for fault in owner.faults if fault.matches(asked)]
            for fault in faults:
                fault.times -= 1
        limit = next((fault.upload_limit for fault in faults if fault.upload_limit is not None), None)
        asked = replace(asked, body=self._body(limit))
        with owner.lock:
            owner.requests.append(asked)
        if limit is not None or len(asked.body) < int(headers.get("content-length", 0)):
            owner.interrupted(asked)
            self._reset()
            return
        answer = Answer() if any(fault.instead for fault in faults) else owner.answer(asked)
        for fault in faults:
            answer = fault.spoil(asked, answer)
        self._send(asked, answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

    def do_CONNECT(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.owner.requests.append(Asked("CONNECT", self.path, headers))
        self.close_connection = True
        if not self.owner.tunnel:
            self.send_error(405)
            return
        host, _, port = self.owner.tunnel.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pass_on, args=(far, self.connection), daemon=True)
            back.start()
            _pass_on(self.connection, far)
            back.join()

    def _body(self, limit: int | None) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        length = int(self.headers.get("Content-Length") or 0)
        return self.rfile.read(length if limit is None else min(length, limit))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, asked: Asked, answer: Answer) -> None:
        if answer.silent:
            self._reset()
            return
        chunked = "Transfer-Encoding" in answer.headers
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            if not (chunked and name.lower() == "content-length"):
                self.send_header(name, value)
        if not chunked and not any(name.lower() == "content-length" for name in answer.headers):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if asked.method == "HEAD":
            return
        data = answer.body if answer.cut is None else answer.body[: answer.cut]
        if chunked:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if data else b"")
            self.wfile.write(b"0\r\n\r\n" if answer.cut is None else b"")
        else:
            self.wfile.write(data)
        if answer.reset:
            self._reset()
        elif answer.cut is not None:
            self.close_connection = True

    def _reset(self) -> None:
        """Close with RST: a close alone would tell the client that this was the end (man 7 socket)."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def free_port() -> Iterator[int]:
    """A port that nobody listens on, and nobody can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
