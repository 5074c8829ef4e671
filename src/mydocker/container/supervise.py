"""The container's side of its monitor: what a start, a failure and an end mean for the record.

``main`` is where the process begins that ``start.py`` asks for. Nothing is read or decided before it has to
be: the record is looked at by the builder that makes the container, and by the monitor when it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from .. import errors
from ..monitor import spawn
from ..monitor.monitor import Monitor
from ..monitor.plan import Brief, decode_brief
from ..monitor.timestamp import now, parse_rfc3339
from ..runtime import cgroup
from . import events
from .reconcile import destroy
from .record import Record
from .spec import cgroup_path
from .state import State, Status
from .store import Lock, Store

ENTRY = "mydocker.container.supervise:prepare"


def main(brief: Brief) -> None:
    """The whole life of a monitor that was forked by a caller."""
    _live(brief, Monitor(brief, Owner(brief)), spawn.detach)


def prepare(argument: bytes, descriptors: Sequence[int]) -> Callable[[], None]:
    """In the forkserver: what is to be called in the monitor. ``argument`` is the caller's ``Brief``."""
    brief = decode_brief(argument).renumbered(descriptors)
    monitor = Monitor(brief, Owner(brief))
    return lambda: _live(brief, monitor, spawn.leave_server)


def _live(brief: Brief, monitor: Monitor, detach: Callable[[list[int]], None]) -> None:
    def run() -> None:
        detach(brief.descriptors)
        monitor.run()

    spawn.guarded(run, f"{brief.state}/monitor-crash.log")


def exit_code_of(error: Exception) -> int:
    """What ``State.ExitCode`` says after a start that failed, as in Docker."""
    if isinstance(error, errors.CommandNotFound):
        return 127
    if isinstance(error, errors.CommandNotExecutable):
        return 126
    return 128


class Owner:
    """See ``monitor.Owner``. The lock comes with the process, and is given up by ``failed`` and ``ended``."""

    __slots__ = ("_brief", "_kept", "_store")

    def __init__(self, brief: Brief) -> None:
        self._brief = brief
        self._kept = False
        self._store = Store(brief.root, brief.state)

    def started(self, pid: int) -> None:
        record, state = self._read()
        running = state.to(Status.RUNNING, pid=pid, exit_code=0, error="", oom_killed=False, started_at=now())
        self._store.write_state(record.id, running, durable=record.durable)
        events.mounted(self._store, record)
        events.container(self._store, record, "start")

    def failed(self, error: Exception) -> None:
        record, state = self._read()
        fail(self._store, record, state, Lock(self._brief.lock), error)

    def clear(self) -> bool:
        record, _ = self._read()
        try:
            group = cgroup.open(cgroup_path(record))
        except errors.NotFound:
            return False  # somebody has removed it by hand
        oom_killed = group.oom_kills() > 0
        group.remove()
        return oom_killed

    def ended(self, code: int, *, oom_killed: bool) -> None:
        record, state = self._read()
        ended = state.to(Status.EXITED, pid=0, exit_code=code, oom_killed=oom_killed, finished_at=now())
        if oom_killed:
            events.container(self._store, record, "oom")
        lasted = (parse_rfc3339(ended.finished_at) - parse_rfc3339(ended.started_at)) // 1_000_000_000
        events.container(self._store, record, "die", exitCode=str(code), execDuration=str(max(0, lasted)))
        events.unmounted(self._store, record)
        _end(self._store, record, ended, Lock(self._brief.lock), keep=self._kept)

    def pause(self, *, paused: bool) -> None:
        record, state = self._read()
        changed = state.to(Status.PAUSED if paused else Status.RUNNING)
        self._store.write_state(record.id, changed, durable=record.durable)

    def keep(self) -> None:
        self._kept = True

    def exec_ended(self, identifier: str, code: int) -> None:
        record, _ = self._read()
        events.container(self._store, record, "exec_die", execID=identifier, exitCode=str(code))

    def _read(self) -> tuple[Record, State]:
        record = self._store.read_record(self._brief.id)
        try:
            return record, self._store.read_state(record.id)
        except errors.NotFound:
            return record, State()  # created to be started at once: see create.py


def fail(store: Store, record: Record, state: State, lock: Lock, error: Exception) -> None:
    """Note that a start has failed, or remove the container that removes itself; give up the lock."""
    if state.running:  # it failed after it was noted as running
        state = state.to(Status.EXITED, pid=0, finished_at=now())
    failed = state.to(state.status, exit_code=exit_code_of(error), error=str(error))
    _end(store, record, failed, lock)


def _end(store: Store, record: Record, state: State, lock: Lock, *, keep: bool = False) -> None:
    if record.host_config.auto_remove and not keep:
        with suppress(errors.Unavailable):  # it is dead then, which is for ``rm`` to report
            destroy(store, record.id, record, lock)
            events.container(store, record, "destroy")
        return
    store.write_state(record.id, state, durable=record.durable)
    store.release(record.id, lock)
