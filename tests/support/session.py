"""An attached session driven by a test: everything that comes until the end, by kind."""

from __future__ import annotations

import select
import threading
import time

from mydocker.monitor.client import Session
from mydocker.monitor.protocol import Kind


class Heard:
    """What a session said. ``code`` is the exit status, ``None`` after the detach keys."""

    def __init__(self) -> None:
        self.stdout = b""
        self.stderr = b""
        self.code: int | None = None

    def take(self, kind: Kind, body: bytes) -> bool:
        """Whether it was the last word."""
        if kind is Kind.STDOUT:
            self.stdout += body
        elif kind is Kind.STDERR:
            self.stderr += body
        elif kind is Kind.EXIT:
            self.code = int(body)
        return kind in (Kind.EXIT, Kind.DETACHED)


def _say(session: Session, stdin: bytes) -> None:
    session.send(stdin)
    session.close_stdin()


def hear(session: Session | None, *, stdin: bytes | None = None, patience: float = 30) -> Heard:
    """Send ``stdin`` and its end (from a thread, as it may have to wait), and listen to the last word."""
    assert session is not None
    sender = None
    if stdin is not None:
        sender = threading.Thread(target=_say, args=(session, stdin))
        sender.start()
    heard = Heard()
    with session:
        while not heard.take(*_within(session, patience)):
            pass
    if sender is not None:
        sender.join()
    return heard


def hear_until(session: Session, text: bytes, patience: float = 30) -> bytes:
    """Standard output up to ``text``."""
    heard = Heard()
    end = time.monotonic() + patience
    while text not in heard.stdout:
        assert not heard.take(*_within(session, end - time.monotonic())), heard.stdout
    return heard.stdout


def _within(session: Session, patience: float) -> tuple[Kind, bytes]:
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    assert session.detached or poll.poll(patience * 1000), f"nothing was heard for {patience} s"
    return session.receive()
