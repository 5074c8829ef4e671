"""Signals to a container, and waiting for its end.

A signal is sent by the monitor, which holds init's pidfd, so it can never reach a process that took over a
number. Waiting is an attached session without streams: EXIT comes when the state is written, or when the
container is removed.

A container that is being started or is just ending has a lock that is held and no monitor that listens; that
takes milliseconds, and is waited for. One that is paused is let go when it is to end: a frozen process takes
no signal.
"""

from __future__ import annotations

import select
import signal
import time
from contextlib import suppress

from ..errors import Conflict, InvalidArgument, NotFound, Unavailable
from ..monitor import client
from ..monitor.client import AttachOptions, Session
from ..monitor.protocol import ControlRequest, Kind
from ..oci.signals import signal_number
from . import events
from .pause import unpause
from .reconcile import GONE, settle
from .record import Record
from .state import ALIVE, Status
from .store import Store

DEFAULT_TIMEOUT = 10
"""seconds between the stop signal and SIGKILL, as in Docker"""

CONDITIONS = ("not-running", "next-exit", "removed")

_PATIENCE = 10.0
_PAUSE = 0.005
_POLL = 0.02


def kill(store: Store, record: Record, number: int = signal.SIGKILL) -> None:
    """Send a signal to init; ``Conflict`` if the container does not run."""
    session = _attach(store, record)
    if session is None:
        raise Conflict(f"cannot kill container: {record.name}: container {record.id} is not running")
    with session:
        _send(store, record, session, number)


def resize(store: Store, record: Record, rows: int, columns: int) -> None:
    try:
        with client.connect(store.run_directory(record.id)) as connection:
            client.control(connection, ControlRequest(rows=rows, columns=columns))
    except Unavailable:
        raise Conflict(f"container {record.id} is not running") from None
    events.container(store, record, "resize", height=str(rows), width=str(columns))


def stop(
    store: Store,
    record: Record,
    timeout: int | None = None,
    number: int | None = None,
    *,
    keep: bool = False,
) -> None:
    """Ask it to end, and after ``timeout`` seconds (``None``: the container's own; negative: never) make it.

    ``number`` takes the place of the container's stop signal. With ``keep`` one with ``--rm`` stays.
    """
    if timeout is None:
        timeout = record.config.stop_timeout
    if timeout is None:
        timeout = DEFAULT_TIMEOUT
    session = _attach(store, record)
    if session is None:
        return
    with session:
        try:
            if keep:
                with client.connect(store.run_directory(record.id)) as connection:
                    client.control(connection, ControlRequest(keep=True))
            _send(store, record, session, number or _stop_signal(record))
            if not _ended(session, None if timeout < 0 else timeout):
                _send(store, record, session, signal.SIGKILL)
                _ended(session, None)
        except Unavailable:
            settle(store, record.id, patience=GONE)
    events.container(store, record, "stop")


def wait(store: Store, record: Record, condition: str = "not-running") -> int:
    """The exit code, when it has ended; at once if it does not run.

    ``condition``: ``not-running``, or ``next-exit`` (an end that has not come yet), or ``removed``.
    """
    if condition not in CONDITIONS:
        raise InvalidArgument(f'invalid condition: "{condition}" (use {", ".join(CONDITIONS)})')
    state = store.read_state(record.id)
    before, code = state.finished_at, state.exit_code
    while True:
        session = None
        with suppress(NotFound):
            session = _attach(store, record)
        if session is not None:
            with session, suppress(Unavailable):
                _ended(session, None)
            if session.exit_code is not None:
                code = session.exit_code
                if condition != "removed":
                    return code
            else:
                settle(store, record.id, patience=GONE)
        try:
            state = store.read_state(record.id)
        except NotFound:
            return code
        if state.status not in ALIVE:
            code = state.exit_code
            if condition == "not-running" or (condition == "next-exit" and state.finished_at != before):
                return code
            time.sleep(_POLL)


def end(store: Store, record: Record) -> None:
    """Kill it and wait until its monitor has written that down."""
    session = _attach(store, record)
    if session is None:
        return
    with session:
        try:
            _send(store, record, session, signal.SIGKILL)
            _ended(session, None)
        except Unavailable:
            settle(store, record.id, patience=GONE)


_NOTHING = AttachOptions(stdin=False, stdout=False, stderr=False)


def _attach(store: Store, record: Record) -> Session | None:
    """A session without streams; None if it does not run. ``NotFound`` when it is gone."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return client.attach(store.run_directory(record.id), _NOTHING, terminal=False)
        except Unavailable:
            if not store.held(record.id):
                settle(store, record.id, patience=GONE)
                if store.read_state(record.id).status not in ALIVE:
                    return None
        if store.read_state(record.id).status is Status.REMOVING or time.monotonic() > deadline:
            return None
        time.sleep(_PAUSE)


def _send(store: Store, record: Record, session: Session, number: int) -> None:
    events.container(store, record, "kill", signal=str(int(number)))
    session.signal(number)
    if number in (signal.SIGKILL, _stop_signal(record)) or not record.config.stop_signal:
        with suppress(Conflict, NotFound):
            if store.read_state(record.id).status is Status.PAUSED:
                unpause(store, record)


def _stop_signal(record: Record) -> int:
    return signal_number(record.config.stop_signal or "TERM")


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
