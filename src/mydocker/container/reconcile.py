"""Put right what a process that was killed has left: no daemon watches, so commands look.

    at one container   whoever names it, or finds it in the way of a name             (``attend``)
    at all             whoever lists them, or finds one in the way of anything else   (``reconcile``)
    at all             whoever makes or starts one, if nobody has for ten seconds     (``look_around``)

So whatever is about one container takes as long beside a thousand as beside none. What the kernel will not
give back is told who names the container; it keeps nobody else from anything.

Somebody who creates, runs or removes a container holds its lock for as long as that takes. An entry under
<state>/container whose lock is free therefore belonged to somebody who died, and so does a state ``running``
without a held lock (after a reboot there is no entry). Whoever sees one takes the lock and decides by what is
on disk:

    set aside                it was removing itself               remove what is left
    no record or no state    creation or removal was cut short    remove everything
    removing                 rm was cut short                     remove everything, volumes if so asked
    running, removes itself  its monitor died                     kill, remove everything
    running                  its monitor died                     kill, exited with 137
    anything else            nothing was going on                 give up the lock

What cannot be removed stays as ``dead``, and does not keep anybody from anything else.

A container that runs may have been frozen by somebody who died: see ``pause.py``.

Looking at all costs one readdir, and a flock attempt for each that runs (7 to 15 µs).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..errors import Conflict, CorruptData, Error, NotFound, NotSupported, Unavailable
from ..linux.tree import remove_tree
from ..monitor.timestamp import now
from ..runtime import cgroup
from . import events, health, networks, volumes
from .pause import thaw_abandoned
from .record import Record
from .rename import settle_notes
from .rootfs import snapshotter
from .spec import CGROUP_PARENT, cgroup_path
from .state import State, Status
from .store import Lock, Store

GONE = 1.0
"""patience, in seconds, with a monitor whose connection has ended or cannot be made"""

_SECONDS = 10.0
"""for which nobody looks around again"""
_LOOKED = "looked"

_REFUSED = (NotSupported, Unavailable, OSError)
"""of what a container has in the kernel"""

KILLED = 137
"""128 + SIGKILL: how every process of the container has ended"""


def reconcile(store: Store) -> None:
    """Settle every container under <state> that nobody works on any more, and what was being renamed."""
    settle_notes(store)
    for identifier in store.worked_on():
        with suppress(*_REFUSED):
            _attend(store, identifier)


def attend(store: Store, identifier: str) -> bool:
    """Settle one container if nobody works on it any more; whether that was so."""
    return os.path.exists(store.run_directory(identifier)) and _attend(store, identifier)


def _attend(store: Store, identifier: str) -> bool:
    if store.held(identifier):
        thaw_abandoned(store, identifier)
        return False
    settle(store, identifier)
    return True


def look_around(store: Store) -> None:
    """Reconcile, if nobody has for ten seconds. What cannot be put right is nobody's business here: who lists
    it, or names it, is told."""
    path = f"{store.state}/{_LOOKED}"
    try:
        if 0 <= time.time() - os.stat(path).st_mtime < _SECONDS:
            return
        os.utime(path)
    except FileNotFoundError:
        store.make()
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    settle_notes(store)
    for identifier in store.worked_on():
        with suppress(Error, OSError):
            _attend(store, identifier)


def sweep(store: Store) -> None:
    """The same for what only shows under <root>: after a reboot. Reads every container's state."""
    reconcile(store)
    for identifier in store.ids():
        try:
            interrupted = store.read_state(identifier).attended
        except NotFound:
            interrupted = True
        if interrupted and not store.held(identifier):
            with suppress(*_REFUSED):
                settle(store, identifier)
    finish_abandoned(store)
    networks.release_orphans(store)


def finish_abandoned(store: Store) -> None:
    """Remove what was set aside by somebody who is gone."""
    for identifier in store.removed():
        if not store.held(identifier):
            with suppress(*_REFUSED):
                settle(store, identifier)


def settle(store: Store, identifier: str, *, patience: float = 0.0) -> None:
    """Take the lock and put one container right; if somebody else has it meanwhile, it is their business.

    Who has just seen a monitor's connection end waits up to ``patience`` seconds: of a process that was
    killed, the kernel closes one descriptor after the other.
    """
    end = time.monotonic() + patience
    while (lock := store.lock(identifier)) is None:
        if time.monotonic() >= end:
            return
        time.sleep(0.002)
    try:
        record: Record | None
        state: State | None
        try:
            record = store.read_record(identifier)
        except (NotFound, CorruptData):
            record = None
        try:
            state = store.read_state(identifier)
        except NotFound:
            state = None
        kill_cgroup(record, identifier)
        networks.release(store, identifier)
        if os.path.lexists(store.aside(identifier)):
            with suppress(Unavailable):  # the same
                finish(store, identifier, lock)
            return
        removing = state is not None and state.status is Status.REMOVING
        if record is None or state is None or removing or (state.running and record.host_config.auto_remove):
            with suppress(Unavailable):  # it is dead now, which is for ``rm`` to report
                with_volumes = state is None or not removing or state.volumes_go
                destroy(store, identifier, record, lock, with_volumes=with_volumes)
            return
        if state.running:
            ended = state.to(
                Status.EXITED,
                pid=0,
                exit_code=KILLED,
                finished_at=now(),
                health=health.ended(state.health),
            )
            store.write_state(identifier, ended, durable=record.durable)
            events.container(store, record, "die", exitCode=str(KILLED))
            events.unmounted(store, record)
        store.release(identifier, lock)
    finally:
        lock.close()


def destroy(
    store: Store, identifier: str, record: Record | None, lock: Lock, *, with_volumes: bool = True
) -> None:
    """Remove a container or what there is of one, its lock last. Needs the lock, and no process left alive.

    Nothing that is cut short here may be completed wrongly later: the state says first that it is being
    removed, and volumes that are to stay are forgotten by removing the record that names them.
    ``Unavailable`` if its files cannot be removed: then it is dead, and the lock is given up too.
    """
    directory = store.directory(identifier)
    with _edited(directory):
        removing = _removing(store, identifier, record, with_volumes)
        try:
            snapshotter.remove(directory)
        except OSError as error:
            reason = f"{(error.strerror or str(error)).lower()}: {error.filename}"
            if record is not None:
                store.write_state(identifier, removing.to(Status.DEAD, error=reason), durable=record.durable)
            store.release(identifier, lock)
            raise _stays(identifier, reason) from error
        if record is not None and record.name:
            store.disclaim(record.name, identifier)
        if not with_volumes:
            _unlink(f"{directory}/config.json")
        _unlink(f"{directory}/state.json")
        if with_volumes and record is not None:
            volumes.remove_anonymous(store, record)
        remove_tree(directory)
    store.release(identifier, lock)


def set_aside(store: Store, record: Record) -> None:
    """Have one that has ended be gone for everybody at once; ``finish`` removes it. Needs the lock."""
    os.makedirs(os.path.dirname(store.aside(record.id)), 0o700, exist_ok=True)
    with _edited(store.directory(record.id)):
        os.rename(store.directory(record.id), store.aside(record.id))
        _disown(store, record)


def finish(store: Store, identifier: str, lock: Lock) -> None:
    """Remove what was set aside, the lock last. ``Unavailable`` if that cannot be: it is back, and dead."""
    aside = store.aside(identifier)
    record = store.record_at(aside)
    if record is not None:
        _disown(store, record)  # again: whoever was killed may not have
    try:
        snapshotter.remove(aside)
        remove_tree(aside)
    except OSError as error:
        os.rename(aside, store.directory(identifier))
        reason = f"{(error.strerror or str(error)).lower()}: {error.filename}"
        if record is not None:
            store.write_state(
                identifier, State().to(Status.REMOVING).to(Status.DEAD, error=reason), durable=record.durable
            )
            with suppress(Conflict):  # somebody else is called so by now
                store.claim(record.name, identifier)
        store.release(identifier, lock)
        raise _stays(identifier, reason) from error
    store.release(identifier, lock)


def _disown(store: Store, record: Record) -> None:
    if record.name:
        store.disclaim(record.name, record.id)
    volumes.remove_anonymous(store, record)


def _stays(identifier: str, reason: str) -> Unavailable:
    return Unavailable(
        f"container {identifier}: failed to remove root filesystem: {reason} (it is dead; remove what is in "
        "the way, and the container again)"
    )


def _removing(store: Store, identifier: str, record: Record | None, with_volumes: bool) -> State:
    """The state, written down unless what is there leads to the same end anyway."""
    try:
        state = store.read_state(identifier)
    except (NotFound, CorruptData):
        return State().to(Status.REMOVING)
    clear = state.running and record is not None and record.host_config.auto_remove
    if state.running:
        state = state.to(Status.EXITED, pid=0, finished_at=now())
    removing = state.to(Status.REMOVING, volumes_go=with_volumes)
    if not clear:
        store.write_state(identifier, removing, durable=False)
    return removing


@contextmanager
def _edited(directory: str) -> Iterator[None]:
    """The directory's lock, so that nobody who edits the record puts a file back; see ``Store.editing``."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def kill_cgroup(record: Record | None, identifier: str) -> None:
    """End every process of the container and remove its cgroup."""
    path = cgroup_path(record) if record is not None else f"{CGROUP_PARENT}/{identifier}"
    try:
        group = cgroup.open(path)
    except NotFound:
        return
    group.remove()


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
