"""After a boot: start what its restart policy says, though no monitor has outlived the machine.

There is no daemon that could see the machine come up; ``system start`` is called by whoever does (a systemd
unit comes with the package). What the record says decides, and it may be called again at any time: what runs
is left alone, and so is what somebody has stopped, except with ``always``.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Error, NotFound
from . import restart
from .reconcile import sweep
from .record import Record
from .start import start
from .store import Store


def boot(store: Store) -> Iterator[tuple[Record, Error | None]]:
    """Start them, each after those whose namespaces it joins; what was started, and what was not and why."""
    sweep(store)
    waiting = {record.id: record for record in _to_start(store)}
    while waiting:
        ready = [record for record in waiting.values() if not (_joins(record) - {record.id}) & waiting.keys()]
        # of containers that join each other in a circle, none can be first: they say so themselves
        for record in ready or [*waiting.values()]:
            del waiting[record.id]
            try:
                start(store, record)
            except Error as error:
                yield record, error
            else:
                yield record, None


def _to_start(store: Store) -> list[Record]:
    found = []
    for identifier in store.ids():
        try:
            state, record = store.read_state(identifier), store.read_record(identifier)
        except NotFound:
            continue  # removed meanwhile
        if restart.starts_at_boot(record, state):
            found.append(record)
    return sorted(found, key=lambda record: record.created)


def _joins(record: Record) -> set[str]:
    host = record.host_config
    modes = (mode.partition(":") for mode in (host.network_mode, host.ipc_mode, host.pid_mode))
    return {other for kind, _, other in modes if kind == "container"}
