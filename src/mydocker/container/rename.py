"""Give a container another name.

The new name is claimed, then the record says it, then the old name is freed. Whoever is killed in between
leaves a name too many, which counts for nothing: the record decides, and ``Store.claim`` and
``Containers.get`` take such a name for free. So that it does not stay, there is a note meanwhile:

    <root>/renaming/<random>     "<id> <old name> <new name>"; flock: held by who renames

A note whose lock is free was left by somebody who died: ``reconcile`` frees whichever of the two names the
record does not have.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from ..errors import Conflict, InvalidArgument, NotFound
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
        current = store.read_record(record.id).name
        if current == name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        with _noted(store, record.id, current, name):
            try:
                store.claim(name, record.id)
            except Conflict as error:
                raise Conflict(f"Error when allocating new name: {error}") from None
            with store.editing(record.id) as before:
                if store.named(name) != record.id or before.name != current:
                    continue  # somebody took it for one that was left over, or has renamed it as well
                changed = msgspec.structs.replace(before, name=name)
                store.write_record(changed)
                store.disclaim(current, record.id)
        events.container(store, changed, "rename", oldName=f"/{current}")
        return changed


def forget(store: Store, identifier: str, name: str) -> bool:
    """Free ``name`` if it leads to a container that has another one; whether it did."""
    with store.editing(identifier) as current:
        if current.name == name:
            return False
        store.disclaim(name, identifier)
        return True


def settle_notes(store: Store) -> None:
    """Finish what somebody who renamed a container and was killed has left."""
    directory = _directory(store)
    try:
        left = os.listdir(directory)
    except FileNotFoundError:
        return
    for note in left:
        path = f"{directory}/{note}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            _settle(store, path, os.read(fd, 1 << 16).decode())
        finally:
            os.close(fd)


@contextmanager
def _noted(store: Store, identifier: str, before: str, after: str) -> Iterator[None]:
    directory = _directory(store)
    os.makedirs(directory, 0o700, exist_ok=True)
    while True:
        path = f"{directory}/{os.urandom(8).hex()}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            break
        os.close(fd)  # it was taken for one that was left
    text = f"{identifier} {before} {after}"
    try:
        os.write(fd, text.encode())
        yield
    finally:
        _settle(store, path, text)
        os.close(fd)


def _settle(store: Store, path: str, text: str) -> None:
    """Free the name that is not the record's, and remove the note; it may be empty, or cut short."""
    identifier, *both = text.split(" ")
    if len(both) == 2:
        for name in both:
            try:
                forget(store, identifier, name)
            except NotFound:
                store.disclaim(name, identifier)
    with suppress(FileNotFoundError):
        os.unlink(path)


def _directory(store: Store) -> str:
    return f"{store.root}/renaming"
