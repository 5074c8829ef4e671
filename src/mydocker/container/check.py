"""Verify the containers: what ``system check`` says about records, states, names and what they stand on.

    container   config.json and state.json can be read and fit what runs; its directories and files are there
    name        each link in ``by-name`` leads to the container that has the name, and each has one
    volume      those that a record names are there

What a command that was killed has left is put right first, as by whoever lists containers (``reconcile``):
it is no fault. A container that somebody creates, runs or removes now is left alone but for what cannot
change. One whose record cannot be read is given up only when somebody says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from ..content.fault import Fault
from ..errors import CorruptData, NotFound
from ..monitor.timestamp import now
from ..oci import digest as digests
from . import files
from .reconcile import KILLED, destroy, finish_abandoned, settle
from .record import Record
from .state import State, Status
from .store import Store

_REPAIR = "`mydocker system check --repair` "
_GIVE_UP = "`mydocker system check --repair --remove-broken` removes the container"


def check(store: Store) -> tuple[list[Fault], list[tuple[Record, bool]]]:
    """All faults, and the records that can be read, each with whether the container runs."""
    faults: list[Fault] = []
    found: list[tuple[Record, bool]] = []
    finish_abandoned(store)
    for name in _entries(store):
        if not (len(name) == 64 and digests.is_hex(name)):
            path = f"{store.containers}/{name}"
            faults.append(Fault("leftover", path, "is not named after a container", "remove it"))
            continue
        _tend(store, name)
        one = _container(store, name, faults)
        if one is not None:
            found.append(one)
    faults += _names(store, {record.name: record.id for record, _ in found})
    return faults, found


def _entries(store: Store) -> list[str]:
    try:
        return sorted(set(os.listdir(store.containers)) - {os.path.basename(store.names)})
    except FileNotFoundError:
        return []


def _tend(store: Store, identifier: str) -> None:
    """Settle a container that nobody works on and that is not what its documents say, if they can be read."""
    try:
        interrupted = store.read_state(identifier).attended
    except NotFound:
        interrupted = True
    except CorruptData:
        return
    if interrupted and not store.held(identifier):
        try:
            store.read_record(identifier)
        except NotFound:
            pass  # it never was one
        except CorruptData:
            return
        settle(store, identifier)


def _container(store: Store, identifier: str, faults: list[Fault]) -> tuple[Record, bool] | None:
    held = store.held(identifier)
    try:
        record = store.read_record(identifier)
    except NotFound:
        return None  # it is being removed, or has been
    except CorruptData as error:
        faults.append(
            Fault(
                "container", identifier, str(error), _GIVE_UP, sacrifice=lambda: _destroy(store, identifier)
            )
        )
        return None
    try:
        store.read_state(identifier)
    except NotFound:
        return None  # it is being created: not all that it stands on need be there yet
    except CorruptData as error:
        remedy = _REPAIR + "writes down that it has ended"
        repair = None if held else lambda: _end(store, record)
        faults.append(Fault("container", identifier, str(error), remedy, repair))
        return record, held
    missing = list(_parts(store, record))
    try:
        state = store.read_state(identifier)  # again: it may be being removed by now
    except NotFound:
        return record, held
    if state.status is Status.DEAD:
        remedy = f"remove what is in the way, and it again: `mydocker rm {record.short_id}`"
        faults.append(Fault("container", identifier, f"is dead: {state.error}", remedy))
    elif state.status is not Status.REMOVING and not (held and record.host_config.auto_remove):
        faults += missing  # what removes itself may be at it, and what is missing of it goes with it
    return record, held


def _stands(store: Store, identifier: str) -> bool:
    try:
        return store.read_state(identifier).status is not Status.REMOVING
    except NotFound:
        return False


def _destroy(store: Store, identifier: str) -> None:
    lock = store.lock(identifier)
    if lock is not None:
        with lock:
            destroy(store, identifier, None, lock)


def _end(store: Store, record: Record) -> None:
    ended = State(status=Status.EXITED, exit_code=KILLED, finished_at=now())
    store.write_state(record.id, ended, durable=record.durable)


def _parts(store: Store, record: Record) -> Iterator[Fault]:
    """What a container has on disk besides its documents, and what it stands on that is no layer of ours."""
    directory = store.directory(record.id)
    missing = [name for name in ("rw/diff", "rw/work") if not os.path.isdir(f"{directory}/{name}")]
    if not record.host_config.network_mode.startswith("container:"):
        missing += [name for name in files.NAMES if not os.path.isfile(f"{directory}/{name}")]
    remedy = f"remove it: `mydocker rm {record.id[:12]}`"
    for name in missing:
        yield Fault("container", record.id, f"{directory}/{name} is missing", remedy)
    for layer in record.layers:
        if not layer.startswith(f"{store.root}/layer/") and not os.path.isdir(layer):
            yield Fault("container", record.id, f"{layer}, its root directory, is missing", remedy)
    for point in record.mounts:
        if point.type == "volume" and not os.path.isdir(point.source):
            yield Fault("volume", point.name, f"{point.source} is missing", f"{remedy}, which needs it")


def _names(store: Store, owners: dict[str, str]) -> Iterator[Fault]:
    try:
        links = sorted(os.listdir(store.names))
    except FileNotFoundError:
        links = []
    for name in links:
        owner = store.named(name)
        path = f"{store.names}/{name}"
        if owner is None:
            if os.path.lexists(path):
                yield Fault("name", name, "is not a symbolic link", f"remove {path}")
        elif not os.path.lexists(store.directory(owner)):
            if store.held(owner) or store.named(name) != owner:
                continue  # it has just been removed
            problem = f"leads to container {owner[:12]}, which does not exist"
            yield Fault("name", name, problem, _REPAIR + "frees it", _disclaim(store, name, owner))
        elif owner in owners.values() and owners.get(name) != owner:
            other = next(theirs for theirs, identifier in owners.items() if identifier == owner)
            problem = f"leads to container {owner[:12]}, whose name is {other}"
            yield Fault("name", name, problem, _REPAIR + "frees it", _disclaim(store, name, owner))
    for name, owner in sorted(owners.items()):
        # who removes a container frees its name first, and holds its lock until all is gone
        if name not in links and not store.held(owner) and _stands(store, owner):
            problem = f"does not lead to container {owner[:12]}, whose name it is"
            yield Fault("name", name, problem, _REPAIR + "makes the link", _claim(store, name, owner))


def _disclaim(store: Store, name: str, owner: str) -> Callable[[], None]:
    return lambda: store.disclaim(name, owner)


def _claim(store: Store, name: str, owner: str) -> Callable[[], None]:
    return lambda: store.claim(name, owner)
