"""Put right what a process that was killed has left: no daemon watches, so every command looks first.

Somebody who creates, runs or removes a container holds its lock for as long as that takes. An entry under
<state>/container whose lock is free therefore belonged to somebody who died, and so does a state ``running``
without a held lock (after a reboot there is no entry). Whoever sees one takes the lock and decides by what is
on disk:

    no record or no state    creation or removal was cut short    remove everything
    running, removes itself  its monitor died                     kill, remove everything
    running                  its monitor died                     kill, exited with 137
    anything else            nothing was going on                 give up the lock

A container that runs may have been frozen by somebody who died: see ``pause.py``.

Looking costs one readdir and a flock attempt for each running container.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from ..errors import CorruptData, NotFound
from ..monitor.timestamp import now
from ..runtime import cgroup
from ..snapshot.tree import remove_tree
from . import volumes
from .pause import thaw_abandoned
from .record import Record
from .spec import CGROUP_PARENT, cgroup_path
from .state import State, Status
from .store import Lock, Store

GONE = 1.0
"""patience, in seconds, with a monitor whose connection has ended or cannot be made"""

KILLED = 137
"""128 + SIGKILL: how every process of the container has ended"""


def reconcile(store: Store) -> None:
    """Settle every container under <state> that nobody works on any more."""
    for identifier in store.worked_on():
        if store.held(identifier):
            thaw_abandoned(store, identifier)
        else:
            settle(store, identifier)


def sweep(store: Store) -> None:
    """The same for what only shows under <root>: after a reboot. Reads every container's state."""
    reconcile(store)
    for identifier in store.ids():
        try:
            interrupted = store.read_state(identifier).running
        except NotFound:
            interrupted = True
        if interrupted and not store.held(identifier):
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
        if record is None or state is None or (state.running and record.host_config.auto_remove):
            destroy(store, identifier, record, lock)
            return
        if state.running:
            ended = state.to(Status.EXITED, pid=0, exit_code=KILLED, finished_at=now())
            store.write_state(identifier, ended, durable=record.durable)
        store.release(identifier, lock)
    finally:
        lock.close()


def destroy(
    store: Store, identifier: str, record: Record | None, lock: Lock, *, with_volumes: bool = True
) -> None:
    """Remove a container or what there is of one, its lock last. Needs the lock, and no process left alive.

    Nothing that is cut short here may be completed wrongly later: volumes that are to stay are forgotten
    first, by removing the record that names them.
    """
    directory = store.directory(identifier)
    if record is not None and record.name:
        store.disclaim(record.name, identifier)
    if not with_volumes:
        _unlink(f"{directory}/config.json")
    _unlink(f"{directory}/state.json")
    if with_volumes and record is not None:
        volumes.remove(store.root, record)
    remove_tree(directory)
    store.release(identifier, lock)


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
