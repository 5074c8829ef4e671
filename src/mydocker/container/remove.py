"""Remove a container, with force also one that runs."""

from __future__ import annotations

import time

from ..errors import Conflict, NotFound, Unavailable
from . import events
from .reconcile import destroy, kill_cgroup
from .record import Record
from .state import ALIVE, Status
from .stop import end
from .store import Store

_PATIENCE = 10.0
"""seconds for somebody else who creates, starts or removes the same container to come to an end"""

_STOP = ": stop the container before removing or force remove"
_HINTS = {
    Status.RUNNING: _STOP,
    Status.RESTARTING: _STOP,
    Status.PAUSED: " and must be unpaused first",
}


def remove(store: Store, record: Record, *, force: bool = False, volumes: bool = False) -> None:
    """Remove it; ``Conflict`` if it runs and ``force`` is not given. ``volumes``: the anonymous ones too."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        lock = store.lock(record.id)
        if lock is not None:
            break
        try:
            status = store.read_state(record.id).status
        except NotFound:
            status = Status.REMOVING  # it is being created or removed: see below
        running = status in ALIVE
        if running and not force:
            hint = _HINTS[status]
            raise Conflict(f'cannot remove container "/{record.name}": container is {status}{hint}')
        if running:
            end(store, record)
        elif time.monotonic() > deadline:
            raise Unavailable(f"container {record.id[:12]} is being started or removed by somebody else")
        else:
            time.sleep(0.01)
    with lock:
        try:
            store.read_state(record.id)
        except NotFound:
            # Its monitor removed it (--rm) while it was being ended here, or somebody else did.
            store.release(record.id, lock)
            if force:
                return
            raise NotFound(f"No such container: {record.id}") from None
        # if the state says running, its monitor died and nobody has written that down yet
        kill_cgroup(record, record.id)
        record = store.read_record(record.id)  # it may have a new name
        destroy(
            store,
            record.id,
            record,
            lock,
            with_volumes=volumes or record.host_config.auto_remove,
        )
        events.container(store, record, "destroy")
