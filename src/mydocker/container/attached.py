"""What a running container has of networks at this moment: ``<state>/container/<id>/network.json``.

It is written before anything in it is done, so whoever finds the container dead knows what to undo.
"""

from __future__ import annotations

import os

import msgspec

from ..content.files import write_all
from ..errors import NotFound
from ..network.document import Attached, attached
from ..network.store import Networks
from .record import Record
from .store import NETWORKS, Store


def of(store: Store) -> Networks:
    """The networks of the same engine."""
    return Networks(store.root, store.state)


def read(store: Store, identifier: str) -> Attached:
    """Nothing when it does not run."""
    try:
        with open(path(store, identifier), "rb", buffering=0) as file:
            return attached.decode(file.read())
    except FileNotFoundError:
        return Attached()


def path(store: Store, identifier: str) -> str:
    return f"{store.run_directory(identifier)}/{NETWORKS}"


def write(store: Store, identifier: str, document: Attached) -> None:
    place = path(store, identifier)
    fd = os.open(f"{place}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, msgspec.json.encode(document))
    finally:
        os.close(fd)
    os.rename(f"{place}.new", place)


def whose(store: Store, record: Record) -> str:
    """The container whose network namespace it is in: by ``container:ID``, which may be in another one's.

    ``NotFound`` if one of these is gone.
    """
    while (mode := record.host_config.network_mode).startswith("container:"):
        record = store.read_record(mode.removeprefix("container:"))
    return record.id


def target(store: Store, identifier: str) -> tuple[int, int] | None:
    """The running container's init and a descriptor of its network namespace; ``None`` if it does not run.

    The lock is looked at after the namespace was opened: if it is held, the process was the container's.
    """
    try:
        state = store.read_state(identifier)
    except NotFound:
        return None
    if not state.running:
        return None
    try:
        fd = os.open(f"/proc/{state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if not store.held(identifier):
        os.close(fd)
        return None
    return state.pid, fd
