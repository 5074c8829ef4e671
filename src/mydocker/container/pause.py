"""Hold a container still: for a moment while somebody reads its files, or until it is unpaused.

    <state>/container/<id>/pause.lock     flock: held by who has frozen the container

The file is made and locked before the container is frozen, and removed after it is thawed. Who comes second
waits for who was first, so that no one thaws what another has frozen. Against SIGKILL there are two:

    the guard     a process that holds the lock too, and does nothing but wait for the end of a pipe; if that
                  comes without a word, it thaws the container
    reconcile     a file whose lock is free was left by a guard that was killed as well, and the container is
                  thawed (``thaw_abandoned``)

``pause`` and ``unpause`` use the same lock. The state, which the monitor writes, says ``paused`` only while
the container is frozen: whoever is killed before that is written, or after it is taken back, leaves a
container that is frozen and ``running``, which is what the two above thaw. Out of scope: how a freezer works
(``runtime/cgroup.py``).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..content.lock import locked
from ..errors import Conflict, NotFound, Unavailable
from ..monitor import client, spawn
from ..monitor.protocol import ControlRequest
from ..runtime import cgroup
from . import events
from .record import Record
from .spec import cgroup_path
from .state import Status
from .store import PAUSE_LOCK, Store


@contextmanager
def frozen(store: Store, record: Record) -> Iterator[None]:
    """No process of the container runs inside of the ``with`` block; nothing happens if none runs anyway."""
    path = f"{store.run_directory(record.id)}/{PAUSE_LOCK}"
    lock = _lock(path)
    if lock is None:
        yield
        return
    try:
        group = _running(store, record)
        if group is None:
            yield
            return
        guard = _start_guard(group, path, lock)
        try:
            group.freeze()
            yield
        finally:
            _thaw(group)
            os.write(guard, b"thawed")
            os.close(guard)
    finally:
        _unlock(path, lock)


def pause(store: Store, record: Record) -> None:
    """Freeze every process and say so in the state; ``Conflict`` if it does not run, or is paused already."""
    path = f"{store.run_directory(record.id)}/{PAUSE_LOCK}"
    not_running = Conflict(f"container {record.id} is not running")
    lock = _lock(path)
    if lock is None:
        raise not_running
    try:
        group = _running(store, record)
        if group is None:
            status = store.read_state(record.id).status
            if status is Status.RESTARTING:
                raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
            paused = status is Status.PAUSED
            raise Conflict(f"container {record.id} is already paused") if paused else not_running
        guard = _start_guard(group, path, lock)
        try:
            group.freeze()
            _note(store, record, paused=True)
        except BaseException as error:
            _thaw(group)
            if isinstance(error, (NotFound, Unavailable)):
                raise not_running from error  # it has just ended
            raise
        finally:
            os.write(guard, b"decided")
            os.close(guard)
    finally:
        _unlock(path, lock)
    events.container(store, record, "pause")


def unpause(store: Store, record: Record) -> None:
    """Let it go on; ``Conflict`` if it is not paused."""
    path = f"{store.run_directory(record.id)}/{PAUSE_LOCK}"
    not_paused = Conflict(f"container {record.id} is not paused")
    lock = _lock(path)
    if lock is None:
        raise not_paused
    try:
        if store.read_state(record.id).status is not Status.PAUSED:
            raise not_paused
        try:
            _note(store, record, paused=False)
            _thaw(cgroup.open(cgroup_path(record)))
        except (NotFound, Unavailable) as error:
            raise not_paused from error
    finally:
        _unlock(path, lock)
    events.container(store, record, "unpause")


def _note(store: Store, record: Record, *, paused: bool) -> None:
    with client.connect(store.run_directory(record.id)) as connection:
        client.control(connection, ControlRequest(paused=paused))


def thaw_abandoned(store: Store, identifier: str) -> None:
    """Thaw the container if who has frozen it is gone."""
    path = f"{store.run_directory(identifier)}/{PAUSE_LOCK}"
    if not os.access(path, os.F_OK):  # as nearly always, of each container, with each command
        return
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return
    try:
        with suppress(NotFound):
            group = _running(store, store.read_record(identifier))
            if group is not None:
                _thaw(group)
    finally:
        _unlock(path, lock)


def _lock(path: str) -> int | None:
    """The lock, when it is free; None if the container does not run."""
    try:
        return locked(path)
    except FileNotFoundError:
        return None


def _unlock(path: str, lock: int) -> None:
    if os.fstat(lock).st_nlink:  # else it went with the container's directory
        with suppress(FileNotFoundError):
            os.unlink(path)
    os.close(lock)


def _start_guard(group: cgroup.Cgroup, path: str, lock: int) -> int:
    """The writing end of the guard's pipe. It is to be written to when the container is thawed."""
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def watch() -> None:
        spawn.detach([reader, lock])
        if os.read(reader, 1) == b"":
            _thaw(group)
            _unlock(path, lock)

    spawn.spawn(watch)
    os.close(reader)
    return writer


def _running(store: Store, record: Record) -> cgroup.Cgroup | None:
    """The container's cgroup, if it runs and is not paused."""
    with suppress(NotFound):
        if store.read_state(record.id).status is Status.RUNNING:
            return cgroup.open(cgroup_path(record))
    return None


def _thaw(group: cgroup.Cgroup) -> None:
    with suppress(NotFound):  # it has ended meanwhile
        group.thaw()
