"""A server that speaks just enough of the Docker Engine API for docker's own client to talk to.

It answers GET with documents given beforehand and keeps the body of every POST: so tests see what the real
client makes of flags, and what it prints for a document, with no daemon and no container.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

CREATED = "a" * 64


@dataclass
class FakeDaemon:
    """``documents``: by the end of a path. ``posted``: path and decoded body, in order."""

    socket: str
    documents: dict[str, Any] = field(default_factory=dict)
    posted: list[tuple[str, Any]] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, Any]:
        if path.endswith("/_ping"):
            return 200, "OK"
        for end, document in self.documents.items():
            if path.endswith(end):
                return 200, document
        return 404, {"message": f"no such thing: {path}"}


@contextmanager
def serve(path: str) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(path)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the tests look at what was posted."""

        def address_string(self) -> str:
            return "unix"

        def reply(self, status: int, document: Any) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            for name, value in (
                ("Api-Version", "1.41"),
                ("Ostype", "linux"),
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(body))),
            ):
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.reply(200, "OK")

        def do_GET(self) -> None:
            self.reply(*daemon.answer(self.path.partition("?")[0]))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            daemon.posted.append((self.path, json.loads(body) if body else None))
            self.reply(201, {"Id": CREATED, "Warnings": []})

    with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield daemon
        finally:
            server.shutdown()
            thread.join()
