"""A server of the tests' own, in a thread for as long as a ``with`` block lasts."""

from __future__ import annotations

import socketserver
import threading
from typing import Self


class Threaded:
    """The base of those that ``serve`` a listener, and close it in the end."""

    def serve(self, server: socketserver.BaseServer) -> None:
        self._listener = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()
