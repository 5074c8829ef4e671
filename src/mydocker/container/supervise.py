"""The container's side of its monitor: what a start, a failure and an end mean for the record.

``stand_by`` is where the process begins that ``start.py`` asks the forkserver for, ``main`` one that it forks
itself. Nothing is read or decided before it has to be: the record is looked at by the builder that makes the
container, and by the monitor when it has ended.
"""

from __future__ import annotations

import _socket
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from typing import Any

from .. import errors
from ..forkserver.zygote import hear
from ..linux import process
from ..linux.memory import own_pages
from ..monitor import build, dormant, spawn
from ..monitor.dormant import Handed
from ..monitor.monitor import Monitor
from ..monitor.owner import Connected
from ..monitor.plan import Brief, Plan, decode_brief
from ..monitor.protocol import encode
from ..monitor.resolver import UNKNOWN
from ..monitor.timestamp import now, parse_rfc3339
from ..oci.signals import signal_number
from ..runtime import cgroup
from . import events, execute, health, links, names, networks, restart, volumes
from .config import Config
from .directory import Directory
from .reconcile import destroy, finish, reconcile, set_aside
from .record import Record
from .state import HealthResult, State, Status
from .store import HEALTH, Lock, Store
from .waiting import Waiting


def main(brief: Brief) -> None:
    """The whole life of a monitor that was forked by a caller."""

    def run() -> None:
        spawn.detach(brief.descriptors)
        Monitor(brief, Owner(brief)).run()

    spawn.guarded(run, _crash_log(brief))


def stand_by(channel: int, own_identity: bytes, directory: str, in_advance: bool) -> None:
    """Be about to become a monitor, and then be one; called in a child of the forkserver.

    Its builder hears what for, at the ``channel`` (``forkserver/zygote.py``). ``in_advance``: that may take a
    while, so it can make an init for the next container, which is noted in ``directory``.
    """
    waiting = f"{directory}/waiting" if in_advance else ""
    live(spawn.NAME, [channel], _build, channel, own_identity, waiting)


def live(name: bytes, kept: Sequence[int], work: Callable[..., None], *arguments: object) -> None:
    """Be a monitor: of what a builder hands over, which has the descriptors ``kept`` and does ``work``, with
    its end of a connection and the ``arguments``. ``name`` is what the process is called then."""
    builder, connection = dormant.fork_builder(kept)
    if builder == 0:
        monitor = socket.socket(fileno=connection.detach())
        try:
            work(monitor, *arguments)
        finally:
            spawn.leave(monitor)
    orders = dormant.receive(connection)
    made = dormant.receive(connection)
    if not made[0]:
        return  # nobody came; or owner and starter know why not; or the builder was killed
    process.set_name(name)
    if dormant.is_quiet(made[0]) and dormant.sleep(builder, connection, made[1]):
        _awake(orders, made, None)
    else:
        _awake(orders, made, (builder, connection))


def _awake(orders: Handed, made: Handed, builder: tuple[int, _socket.socket] | None) -> None:
    brief = decode_brief(orders[0]).renumbered(orders[1])
    spawn.guarded(lambda: Monitor(brief, Owner(brief)).go_on(builder, *made), _crash_log(brief))


def _build(monitor: socket.socket, channel: int, own_identity: bytes, directory: str) -> None:
    """What a monitor's first builder does, when it has heard what for. With a ``directory`` there is time
    before, and it has an init wait as well."""
    identifier = names.identifier()
    with Waiting(directory, identifier) if directory else nullcontext() as waiting:
        try:
            if directory:
                own_pages("builder")
                _wait(channel, monitor)
            argument, descriptors = hear(channel, own_identity, identifier, in_advance=bool(directory))
        except EOFError:
            return
        process.set_name(spawn.NAME)
        brief = decode_brief(argument).renumbered(descriptors)
        starter = socket.socket(fileno=brief.starter)
        init = waiting.init(brief.id) if waiting is not None else None
        spawn.guarded(
            lambda: build.container(brief, Owner(brief), starter, monitor, init, orders=True),
            _crash_log(brief),
        )


def _wait(channel: int, monitor: socket.socket) -> None:
    """Until somebody wants a container. ``EOFError`` if there is no monitor any more."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(monitor, 0)
    if any(descriptor == monitor.fileno() for descriptor, _ in poll.poll()):
        raise EOFError


def _crash_log(brief: Brief) -> str:
    return f"{brief.state}/monitor-crash.log"


def exit_code_of(error: Exception) -> int:
    """What ``State.ExitCode`` says after a start that failed, as in Docker."""
    if isinstance(error, errors.CommandNotFound):
        return 127
    if isinstance(error, errors.CommandNotExecutable):
        return 126
    return 128


class Owner:
    """See ``monitor/owner.py``. The lock comes with the process; ``failed`` and ``ended`` give it up."""

    __slots__ = (
        "_aside",
        "_brief",
        "_delay",
        "_editing",
        "_forced",
        "_kept",
        "_links",
        "_released",
        "_signals",
        "_store",
    )

    def __init__(self, brief: Brief) -> None:
        self._brief = brief
        self._aside = False
        self._editing = ExitStack()
        self._kept = False
        self._links = False
        self._released = True
        self._delay = 0.0
        self._forced = False
        self._signals: list[int] = []
        self._store = Store(brief.root, brief.state)

    def trees(self, spec: Mapping[str, Any]) -> AbstractContextManager[None]:
        return volumes.trees(self._store, self._brief.id, spec)

    def connect(self, pid: int) -> Connected:
        """The record is held from here until the monitor has the container, or it has failed: who changes its
        networks or ports meanwhile would find nothing that runs, or nobody who takes what he makes."""
        if not self._released:
            networks.release(self._store, self._brief.id)  # of the last run: what says so is written anew
            self._released = True
        with suppress(errors.Conflict, errors.Forbidden, errors.Unavailable):
            return networks.connect(self._store, self._edit(), pid)
        self._editing.close()
        reconcile(self._store)  # who has the address, or the port, may have been killed
        networks.release(self._store, self._brief.id)
        return networks.connect(self._store, self._edit(), pid)

    def _edit(self) -> Record:
        return self._editing.enter_context(self._store.editing(self._brief.id))

    def directory(self) -> Directory:
        return Directory(self._store, self._brief.id)

    def starting(self) -> Callable[[int], None]:
        record, state = self._read()
        self._links = bool(record.host_config.links)

        def note(pid: int) -> None:
            running = state.to(
                Status.RUNNING,
                pid=pid,
                exit_code=0,
                error="",
                oom_killed=False,
                started_at=now(),
                restart_count=state.restart_count if state.status is Status.RESTARTING else 0,
                stopped_by_hand=False,
                health=health.begun(record.config, state.health),
            )
            self._store.write_state(record.id, running, durable=record.durable)
            events.mounted(self._store, record)
            events.container(self._store, record, "start")

        return note

    def begun(self) -> None:
        """Not before: of those who are told, some may be held by who waits for this container's monitor."""
        with self._editing, suppress(*UNKNOWN):
            if self._links:
                links.refresh(self._store, self._brief.id)
        with suppress(*UNKNOWN):
            links.tell(self._store, self._brief.id)

    def failed(self, error: Exception) -> int:
        self._editing.close()
        record, state = self._read()
        released = not record.host_config.networked or self._release()
        fail(self._store, record, state, Lock(self._brief.lock), error, released=released)
        return exit_code_of(error)

    def plan(self) -> Plan:
        from .start import plan  # which begins what this goes on with

        return plan(self._store, self._store.read_record(self._brief.id))

    def clear(self) -> bool:
        try:
            group = cgroup.open(self._brief.cgroup)
            oom_killed = group.oom_kills() > 0
            group.remove()
        except errors.NotFound:
            oom_killed = False  # somebody has removed it by hand
        self._released = self._release(known=True)
        return oom_killed

    def _release(self, *, known: bool = False) -> bool:
        """Whether that could be: how it has ended comes first, and who looks next gives it back."""
        try:
            networks.release(self._store, self._brief.id, known=known)
        except (errors.Error, OSError):
            return False
        return True

    def ended(self, code: int, *, oom_killed: bool) -> float | None:
        record, state = self._read()
        by_hand = any(ends(record, number) for number in self._signals)
        policy = record.host_config.restart_policy
        again = not by_hand and (self._forced or restart.wanted(policy, code, state.restart_count))
        ended = state.to(
            Status.RESTARTING if again else Status.EXITED,
            pid=0,
            exit_code=code,
            oom_killed=oom_killed,
            finished_at=now(),
            restart_count=state.restart_count + again,
            stopped_by_hand=by_hand,
            health=health.ended(state.health),
        )
        if oom_killed:
            events.container(self._store, record, "oom")
        lasted = max(0, parse_rfc3339(ended.finished_at) - parse_rfc3339(ended.started_at)) / 1e9
        events.container(self._store, record, "die", exitCode=str(code), execDuration=str(int(lasted)))
        events.unmounted(self._store, record)
        if again:
            self._delay = restart.delay(self._delay, lasted)
            self._signals = []
            self._forced = False
            self._forget_health()
            self._store.write_state(record.id, ended, durable=record.durable)
            return self._delay
        self._end(record, ended)
        return None

    def _end(self, record: Record, state: State) -> None:
        if not self._released:
            if not record.host_config.auto_remove:
                self._store.write_state(record.id, state, durable=record.durable)
            Lock(self._brief.lock).close()
            return
        if record.host_config.auto_remove and not self._kept:
            set_aside(self._store, record)
            events.container(self._store, record, "destroy")
            self._aside = True
            return
        self._store.write_state(record.id, state, durable=record.durable)
        self._store.release(record.id, Lock(self._brief.lock))

    def finish(self) -> None:
        if self._aside:
            with suppress(errors.Unavailable):  # it is dead then, which is for ``rm`` to report
                finish(self._store, self._brief.id, Lock(self._brief.lock))

    def signalled(self, number: int) -> None:
        self._signals.append(number)

    def stopped(self) -> bool:
        record, state = self._read()
        if not any(ends(record, number) for number in self._signals):
            return False
        ended = state.to(Status.EXITED, stopped_by_hand=True)
        self._end(record, ended)
        return True

    def probe(self) -> bytes:
        record, _ = self._read()
        command = health.command(record.config)
        request = execute.probe(self._store, record, command)
        words = " ".join(command)
        events.container(self._store, record, f"exec_create: {words}", execID=request.id)
        events.container(self._store, record, f"exec_start: {words}", execID=request.id)
        return encode(request)

    def probed(self, start: str, end: str, code: int, output: str) -> tuple[bool, str]:
        try:
            record, state = self._read()
        except (errors.Error, OSError):
            return False, ""  # the next one is noted again
        result = HealthResult(start=start, end=end, exit_code=code, output=output)
        found = health.judged(record.config, state, result)
        with suppress(OSError):  # where there is no room, only those who look do not see it
            self._store.write_health(record.id, found)
        before = state.health.status if state.health is not None else ""
        action = ""
        if found.status != before:
            events.container(self._store, record, f"health_status: {found.status}")
            if found.status == health.UNHEALTHY and record.host_config.health_on_failure != "none":
                action = record.host_config.health_on_failure
        if action == "stop":
            self._signals.append(signal.SIGKILL)  # as by hand
        elif action == "restart":
            self._forced = True
        return found.status == health.STARTING, action

    def _forget_health(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(f"{self._brief.run_directory}/{HEALTH}")

    def stop_signal(self) -> tuple[int, int]:
        try:
            config = self._store.read_record(self._brief.id).config
        except (errors.Error, OSError):
            config = Config()
        patience = config.stop_timeout
        return signal_number(config.stop_signal or "TERM"), 10 if patience is None else patience

    def pause(self, *, paused: bool) -> None:
        record, state = self._read()
        changed = state.to(Status.PAUSED if paused else Status.RUNNING)
        self._store.write_state(record.id, changed, durable=record.durable)

    def keep(self) -> None:
        self._kept = True

    def exec_ended(self, identifier: str, code: int) -> None:
        with suppress(errors.Error, OSError):  # nobody is told, and the container goes on
            record, _ = self._read()
            events.container(self._store, record, "exec_die", execID=identifier, exitCode=str(code))

    def _read(self) -> tuple[Record, State]:
        record = self._store.read_record(self._brief.id)
        try:
            return record, self._store.read_state(record.id)
        except errors.NotFound:
            return record, State()  # created to be started at once: see create.py


def ends(record: Record, number: int) -> bool:
    """Whether a signal by hand is to end the container for good.

    As in Docker (``daemon/kill.go``): SIGKILL and its stop signal, and every one if it has no stop signal.
    """
    stop = record.config.stop_signal
    return number == signal.SIGKILL or not stop or number == signal_number(stop)


def fail(
    store: Store, record: Record, state: State, lock: Lock, error: Exception, *, released: bool = True
) -> None:
    """Note that a start has failed, or remove the container that removes itself; give up the lock.

    Of one whose networks could not be ``released``, who looks next does it, and finds it below <state>.
    """
    if state.running:  # it failed after it was noted as running
        state = state.to(Status.EXITED, pid=0, finished_at=now())
    failed = state.to(state.status, exit_code=exit_code_of(error), error=str(error))
    if not released:
        if record.host_config.auto_remove:
            failed = failed.to(Status.REMOVING, volumes_go=True)
        store.write_state(record.id, failed, durable=record.durable)
        lock.close()
        return
    if record.host_config.auto_remove:
        with suppress(errors.Unavailable):  # it is dead then, which is for ``rm`` to report
            destroy(store, record.id, record, lock)
            events.container(store, record, "destroy")
        return
    store.write_state(record.id, failed, durable=record.durable)
    store.release(record.id, lock)
