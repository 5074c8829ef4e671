"""The loop between the caller's streams and a session: input, output, signals, window size, the end.

    standard input --> session.send        (only while the session takes it: see ``_Loop``)
    session.receive --> standard output or error
    signals        --> session.signal, session.resize, or the end of this client

In scope: moving bytes and signals. Out of scope: terminal modes (``terminal.py``), what detaches (the session
knows its keys), what the exit status means.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from mydocker.cli import output, terminal
from mydocker.linux.signalfd import Received, SignalFd
from mydocker.monitor.protocol import Kind

if TYPE_CHECKING:
    from mydocker.engine import Session

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_INPUT_CHUNK = 16 * 1024

# What ends a client that does not pass it on. SIGPIPE is Python's BrokenPipeError.
_ENDING = frozenset((signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM))
# Never passed on: about this very process, or what job control does to whoever reads the terminal.
_OWN = frozenset(
    (
        signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGSEGV,
        signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS,
        signal.SIGTTIN, signal.SIGTTOU, signal.SIGXFSZ, signal.SIGWINCH,
    )
)  # fmt: skip
_PASSED_ON = frozenset(map(int, signal.valid_signals() - _OWN))


class Detached(Exception):
    """The user has left by the detach keys; what runs goes on."""


class EndedBySignal(Exception):
    """This client has to die by a signal, now that everything is put back."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Manner(NamedTuple):
    """How to attach: pass input on, the other side is a terminal, pass signals on."""

    stdin: bool
    tty: bool
    proxy: bool


class Signals:
    """The signals that a client of this manner wants to see. Entered before the container starts, so that
    none is lost; what arrives meanwhile waits."""

    def __init__(self, manner: Manner) -> None:
        numbers = {int(signal.SIGWINCH)} if manner.tty else set()
        if manner.proxy:
            numbers |= _PASSED_ON
        elif manner.tty and manner.stdin:
            numbers |= _ENDING
        if manner.tty and manner.stdin:
            numbers.add(signal.SIGTSTP)
        self._manner = manner
        self.descriptor = SignalFd(numbers)

    def __enter__(self) -> Signals:
        self.descriptor.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.descriptor.__exit__(None, None, None)


def run(session: Session, manner: Manner, signals: Signals) -> int:
    """Serve the session until it ends; return the exit status.

    Raises ``Detached``, ``EndedBySignal``, ``errors.Unavailable`` when the container's monitor is gone, and
    ``BrokenPipeError`` when nobody reads the output any more.
    """
    with ExitStack() as stack:
        raw = None
        if manner.stdin and manner.tty:
            raw = stack.enter_context(terminal.Raw(_STDIN))
        return _Loop(session, manner, signals.descriptor, raw).run()


class _Loop:
    """Input is read only while the session's socket has room. Otherwise a container that writes before it
    reads (``cat``) would stop for its output, which nobody takes because this side waits to send."""

    def __init__(self, session: Session, manner: Manner, signals: SignalFd, raw: terminal.Raw | None) -> None:
        self.session = session
        self.manner = manner
        self.signals = signals
        self.raw = raw
        self.poll = select.poll()
        self.poll.register(session, select.POLLIN)
        self.poll.register(signals, select.POLLIN)
        self.reading = manner.stdin
        if self.reading:
            self.poll.register(_STDIN, select.POLLIN)

    def run(self) -> int:
        while True:
            for fd, events in self.poll.poll():
                if fd == self.session.fileno():
                    if events & select.POLLOUT:
                        self.accept_input()
                    if events & ~select.POLLOUT:
                        status = self.take_output()
                        if status is not None:
                            return status
                elif fd == self.signals.fileno():
                    for received in self.signals.read():
                        self.handle(received)
                elif self.reading:
                    self.take_input()

    def take_output(self) -> int | None:
        kind, data = self.session.receive()
        if kind is Kind.EXIT:
            return int(data)
        if kind is Kind.DETACHED:
            raise Detached
        if kind in (Kind.STDOUT, Kind.STDERR):
            try:
                output.write(_STDOUT if kind is Kind.STDOUT else _STDERR, data)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                raise EndedBySignal(signal.SIGHUP) from error  # the terminal has been closed
        return None

    def take_input(self) -> None:
        if not self.has_room():
            self.poll.unregister(_STDIN)
            self.poll.modify(self.session, select.POLLIN | select.POLLOUT)
            return
        try:
            data = os.read(_STDIN, _INPUT_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""  # the terminal has been closed
        if data:
            self.session.send(data)
            if self.session.detached:
                raise Detached
        else:
            self.reading = False
            self.poll.unregister(_STDIN)
            self.session.close_stdin()

    def accept_input(self) -> None:
        self.poll.modify(self.session, select.POLLIN)
        self.poll.register(_STDIN, select.POLLIN)

    def has_room(self) -> bool:
        poll = select.poll()
        poll.register(self.session, select.POLLOUT)
        return bool(poll.poll(0))

    def handle(self, received: Received) -> None:
        number = received.number
        if number == signal.SIGWINCH:
            size = terminal.size(_STDIN, _STDOUT)
            if size:
                self.session.resize(*size)
        elif received.from_descriptor:
            raise EndedBySignal(number)  # the launcher is gone, which is no word to the container
        elif number == signal.SIGTSTP and self.raw:
            self.suspend(self.raw)
        elif self.manner.proxy:
            self.session.signal(number)
        else:
            raise EndedBySignal(number)

    def suspend(self, raw: terminal.Raw) -> None:
        """Stop as any program does, with the terminal as it was; go on when continued."""
        raw.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        raw.enter()
        size = terminal.size(_STDIN, _STDOUT)
        if size:
            self.session.resize(*size)
