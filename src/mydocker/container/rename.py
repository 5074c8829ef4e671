"""Give a container another name.

The new name is claimed, then the record says it, then the old name is freed. Whoever is killed in between
leaves a name too many, which counts for nothing: the record decides, and ``Store.claim`` and
``Containers.get`` take such a name for free.
"""

from __future__ import annotations

import msgspec

from ..errors import Conflict, InvalidArgument
from . import events, names
from .record import Record
from .store import Store


def rename(store: Store, record: Record, name: str) -> Record:
    """The record with its new name. ``Conflict`` if somebody has it, ``InvalidArgument`` for no name."""
    if not name:
        raise InvalidArgument("Neither old nor new names may be empty")
    try:
        name = names.check(name)
    except InvalidArgument as error:
        reason = str(error).replace(f"({name})", f"(/{name.removeprefix('/')})")
        raise InvalidArgument(f"Error when allocating new name: {reason}") from None
    while True:
        if store.read_record(record.id).name == name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        try:
            store.claim(name, record.id)
        except Conflict as error:
            raise Conflict(f"Error when allocating new name: {error}") from None
        with store.editing(record.id) as current:
            if store.named(name) != record.id:
                continue  # somebody took it for one that was left over
            changed = msgspec.structs.replace(current, name=name)
            store.write_record(changed)
            store.disclaim(current.name, record.id)
        events.container(store, changed, "rename", oldName=f"/{current.name}")
        return changed


def forget(store: Store, identifier: str, name: str) -> bool:
    """Free ``name`` if it leads to a container that has another one; whether it did."""
    with store.editing(identifier) as current:
        if current.name == name:
            return False
        store.disclaim(name, identifier)
        return True
