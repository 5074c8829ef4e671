"""Signals to a container, and waiting for its end.

A signal is sent by the monitor, which holds init's pidfd, so it can never reach a process that took over a
number. Waiting is an attached session without streams: EXIT comes when the state is written, or when the
container is removed.
"""

from __future__ import annotations

import select
import signal
import time

from ..errors import Conflict, NotFound, Unavailable
from ..monitor import client
from ..monitor.client import AttachOptions
from ..monitor.protocol import ControlRequest, Kind
from .reconcile import GONE, settle
from .record import Record
from .store import Store
from .validate import signal_number

DEFAULT_TIMEOUT = 10
"""seconds between the stop signal and SIGKILL, as in Docker"""


def kill(store: Store, record: Record, number: int = signal.SIGKILL) -> None:
    """Send a signal to init; ``Conflict`` if the container does not run."""
    try:
        with client.connect(store.run_directory(record.id)) as connection:
            client.control(connection, ControlRequest(signal=number))
    except Unavailable:
        settle(store, record.id, patience=GONE)
        raise Conflict(
            f"cannot kill container: {record.id[:12]}: container {record.id} is not running"
        ) from None


def resize(store: Store, record: Record, rows: int, columns: int) -> None:
    try:
        with client.connect(store.run_directory(record.id)) as connection:
            client.control(connection, ControlRequest(rows=rows, columns=columns))
    except Unavailable:
        raise Conflict(f"container {record.id} is not running") from None


def stop(store: Store, record: Record, timeout: int | None = None, number: int | None = None) -> None:
    """Ask it to end, and after ``timeout`` seconds (``None``: the container's own; negative: never) make it.

    ``number`` takes the place of the container's stop signal.
    """
    if timeout is None:
        timeout = record.config.stop_timeout
    if timeout is None:
        timeout = DEFAULT_TIMEOUT
    try:
        session = client.attach(store.run_directory(record.id), _NOTHING, terminal=False)
    except Unavailable:
        settle(store, record.id, patience=GONE)
        return
    with session:
        try:
            session.signal(number or signal_number(record.config.stop_signal or "TERM"))
            if not _ended(session, None if timeout < 0 else timeout):
                session.signal(signal.SIGKILL)
                _ended(session, None)
        except Unavailable:
            settle(store, record.id, patience=GONE)


def wait(store: Store, record: Record) -> int:
    """The exit code, when it has ended; at once if it does not run."""
    while True:
        try:
            with client.attach(store.run_directory(record.id), _NOTHING, terminal=False) as session:
                _ended(session, None)
                if session.exit_code is not None:
                    return session.exit_code
        except Unavailable:  # it does not run, or its monitor is about to write that down, or was killed
            settle(store, record.id, patience=GONE)
        try:
            state = store.read_state(record.id)
        except NotFound:
            raise NotFound(f"No such container: {record.id}") from None
        if not state.running:
            return state.exit_code


def end(store: Store, record: Record) -> None:
    """Kill it and wait until its monitor has written that down."""
    try:
        with client.attach(store.run_directory(record.id), _NOTHING, terminal=False) as session:
            session.signal(signal.SIGKILL)
            _ended(session, None)
    except Unavailable:
        settle(store, record.id, patience=GONE)


_NOTHING = AttachOptions(stdin=False, stdout=False, stderr=False)


def _ended(session: client.Session, timeout: float | None) -> bool:
    """Whether EXIT came in time."""
    poll = select.poll()
    poll.register(session.fileno(), select.POLLIN)
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if end is None else max(0.0, end - time.monotonic()) * 1000
        if not poll.poll(left):
            return False
        kind, _ = session.receive()
        if kind is Kind.EXIT:
            return True
