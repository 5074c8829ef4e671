"""Start a container: ask for a monitor, and hear from it how the start went.

Here the transition is checked, namespaces of other containers are opened and the runtime document is made, so
that most mistakes are found before there is another process. What the monitor is told is in
``monitor/plan.py``, what it does in ``supervise.py``; the lock goes over to it as a descriptor.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

import msgspec

from .. import errors
from ..forkserver.spawn import reserve
from ..forkserver.spawn import spawn as spawn_by_server
from ..monitor import client, protocol, spawn
from ..monitor.build import write_plan
from ..monitor.client import AttachOptions, Session
from ..monitor.plan import Brief, Plan, encode
from ..monitor.protocol import AttachRequest, Event, Kind
from . import (
    events,
    files,
    health,
    links,
    logs,
    propagation,
    rootfs,
    sources,
    spec,
    supervise,
    volumes,
)
from .reconcile import GONE, attend, look_around, settle
from .record import Record
from .state import STARTABLE, State, Status
from .store import Lock, Store

_PATIENCE = 10.0
"""seconds for somebody else who starts or ends the same container"""

_NAMESPACES = {"network": "net", "ipc": "ipc", "pid": "pid"}


def start(
    store: Store,
    record: Record,
    lock: Lock | None = None,
    *,
    attach: AttachOptions | None = None,
    size: tuple[int, int] | None = None,
    observer: Callable[[Event], None] | None = None,
) -> Session | None:
    """Start it, and with ``attach`` return the session of its standard streams. ``lock`` is create's.

    A container that runs already is not started again: ``attach`` then joins it, otherwise nothing is done.
    Raises what the runtime raised, ``CommandNotFound`` for example.
    """
    if lock is None:
        state, lock = _take(store, record)
        if lock is None:
            if attach is None:
                return None
            events.container(store, record, "attach")
            return client.attach(store.run_directory(record.id), attach, terminal=record.config.tty)
        record = store.read_record(record.id)  # it may have other limits by now
        reserve()
        look_around(store)
    else:
        state = State()
    opened: list[int] = []
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory = os.memfd_create("plan", os.MFD_CLOEXEC)
    try:
        try:
            made = plan(store, record, opened, size, explain=observer is not None)
            log = logs.plan(store, record)
        except BaseException as error:
            if isinstance(error, Exception):
                supervise.fail(store, record, state, lock, error)
            raise
        write_plan(memory, made)
        request = None
        if attach is not None:
            request = AttachRequest(stdin=attach.stdin, stdout=attach.stdout, stderr=attach.stderr)
        brief = Brief(
            root=store.root,
            state=store.state,
            id=record.id,
            run_directory=store.run_directory(record.id),
            cgroup=spec.cgroup_path(record),
            log=log,
            stdin_once=record.config.stdin_once,
            timeout=record.host_config.timeout,
            health=health.schedule(record.config),
            attach=request,
            starter=theirs.fileno(),
            lock=lock.fd,
            plan=memory,
            namespaces=opened,
            named=opened,
        )
        if attach is not None:
            events.container(store, record, "attach")
        _launch(brief)
    except BaseException:
        ours.close()
        lock.close()  # for ``settle`` to have
        settle(store, record.id)  # if there is no monitor, which has the lock too
        raise
    finally:
        theirs.close()
        lock.close()
        for fd in (memory, *opened):
            os.close(fd)
    return _hear(store, record, ours, attach, observer)


def _launch(brief: Brief) -> None:
    """A process for the monitor: from the forkserver if there is one, else by two forks."""
    if not spawn_by_server(encode(brief), brief.descriptors):
        spawn.spawn(lambda: supervise.main(brief))


def _hear(
    store: Store,
    record: Record,
    connection: socket.socket,
    attach: AttachOptions | None,
    observer: Callable[[Event], None] | None,
) -> Session | None:
    """Events and then the outcome, from the monitor that was just forked."""
    session: Session | None = None
    try:
        while True:
            try:
                kind, body = client.receive(connection)
            except errors.Unavailable:
                settle(store, record.id, patience=GONE)
                raise errors.Unavailable(
                    f"the monitor of container {record.id[:12]} died before the container was started"
                ) from None
            if kind is Kind.EVENT and observer is not None:
                observer(protocol.event.decode(body))
            elif kind is Kind.ERROR:
                raise protocol.failure.decode(body).exception()
            elif kind is Kind.STARTED:
                break
        if attach is not None:
            # without a terminal, bytes that look like the keys are data
            keys = attach.detach_keys if attach.stdin and record.config.tty else b""
            session = Session(connection, store.run_directory(record.id), 0, keys)
        return session
    finally:
        if session is None:
            connection.close()


def _take(store: Store, record: Record) -> tuple[State, Lock | None]:
    """The state and the lock of a container that can be started; no lock if it runs already.

    Somebody else who starts it, or ends it, at this moment is waited for.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        lock = store.lock(record.id)
        try:
            state = store.read_state(record.id)
        except errors.NotFound:
            if lock is not None:
                store.release(record.id, lock)
            raise
        if lock is None and state.status is Status.PAUSED:
            raise errors.Conflict("cannot start a paused container, try unpause instead")
        if lock is None and state.running:
            return state, None
        if lock is not None and not state.running:
            break
        if lock is not None:
            lock.close()
            settle(store, record.id, patience=GONE)
        elif state.status is Status.REMOVING or time.monotonic() > deadline:
            raise errors.Conflict("container is marked for removal and cannot be started")
        else:
            time.sleep(0.005)
    if state.status not in STARTABLE:
        store.release(record.id, lock)
        raise errors.Conflict(f"container is {state.status} and cannot be started")
    return state, lock


def plan(
    store: Store,
    record: Record,
    opened: list[int] | None = None,
    size: tuple[int, int] | None = None,
    *,
    explain: bool = False,
) -> Plan:
    """What it takes to make it now. Descriptors of namespaces that it joins are opened, and added."""
    opened = opened if opened is not None else []
    for link in record.host_config.links or ():
        attend(store, links.split(link)[0])
    links.check(store, record)
    directory = store.directory(record.id)
    stack = rootfs.stack(directory, record)
    namespaces, donors = _join(store, record, opened)
    around = spec.Surroundings(
        root=stack.target,
        files=files.sources(store, record),
        opened=volumes.opened(store, record),
        namespaces=namespaces,
        ipc_donor=donors.get("ipc", 0),
        cgroup_v2=os.path.exists("/sys/fs/cgroup/cgroup.controllers"),
        size=size,
        linked=links.environment(store, record),
    )
    for point in record.mounts:
        sources.make(point)
    points = [propagation.possible(point) for point in record.mounts]
    if points != record.mounts:
        record = msgspec.structs.replace(record, mounts=points)
    return Plan(
        spec={**spec.document(record, around)},
        bundle=directory,
        lowers=stack.lowers,
        upper=stack.upper,
        work=stack.work,
        target=stack.target,
        volatile=stack.volatile,
        seccomp_cache=f"{store.state}/seccomp",
        size=size,
        open_stdin=record.config.open_stdin,
        connected=record.host_config.networked,
        init=bool(record.host_config.init),
        explain=explain,
    )


def _join(store: Store, record: Record, opened: list[int]) -> tuple[dict[str, str], dict[str, int]]:
    """The namespaces of other containers, as paths of descriptors that hold in this process and its forks,
    and the processes that they were taken from.

    The other container's lock is looked at after its namespace was opened: if it is still held by then, and
    it was not started again, the process whose namespace that is was the container's, and no later one with
    the same number.
    """
    host = record.host_config
    modes = {"network": host.network_mode, "ipc": host.ipc_mode, "pid": host.pid_mode}
    result: dict[str, str] = {}
    donors: dict[str, int] = {}
    for kind, mode in modes.items():
        what, _, other = mode.partition(":")
        if what != "container":
            continue
        theirs = store.read_record(other)
        if kind == "ipc" and theirs.host_config.ipc_mode not in ("shareable", "host"):
            raise errors.Conflict(
                f"can't join IPC of container {other}: non-shareable IPC (hint: use IpcMode:shareable for "
                "the donor container)"
            )
        state = store.read_state(other)
        refusal = errors.Conflict(f"cannot join {kind} namespace of a non running container: {other}")
        if not state.running:
            raise refusal
        try:
            fd = os.open(f"/proc/{state.pid}/ns/{_NAMESPACES[kind]}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise refusal from None
        opened.append(fd)
        if store.read_state(other).started_at != state.started_at or not store.held(other):
            raise refusal
        result[kind] = f"/proc/self/fd/{fd}"
        donors[kind] = state.pid
    return result, donors
