"""Events: what happens to containers, images and volumes, in Docker's words, for anybody who follows.

``<state>/events`` is a journal (``content/journal.py``) of Docker's messages (``GET /events`` of the Engine
API), one a line. Whoever does something writes one line when it is done, which costs a run of a container
about ten microseconds for each.

A line that cannot be written (a full disk) is left out: nobody should be unable to stop a container because
nobody could be told. Out of scope: filters (``engine/events.py``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from ..content.journal import Journal

if TYPE_CHECKING:
    from ..network.document import Endpoint
    from .record import MountPoint, Record
    from .store import Store


class Actor(msgspec.Struct, rename={"id": "ID", "attributes": "Attributes"}, frozen=True):
    id: str
    attributes: dict[str, str]


class Message(
    msgspec.Struct,
    rename={"from_": "from", "type": "Type", "action": "Action", "actor": "Actor", "time_nano": "timeNano"},
    frozen=True,
    kw_only=True,
    omit_defaults=True,
):
    """One event. ``status``, ``id`` and ``from`` are what old clients of Docker look at."""

    status: str = ""
    id: str = ""
    from_: str = ""
    type: str
    action: str
    actor: Actor
    scope: str = "local"
    time: int
    time_nano: int


encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Message)


def journal(store: Store) -> Journal:
    return Journal(f"{store.state}/events")


def container(store: Store, record: Record, action: str, **attributes: str) -> None:
    """``attributes`` are added to those that Docker gives every event of a container: its labels too."""
    known = {**(record.config.labels or {}), "name": record.name}
    if record.config.image:
        known["image"] = record.config.image
    emit(store, "container", action, record.id, {**known, **attributes}, image=record.config.image)


def image(store: Store, action: str, identifier: str, name: str, labels: Mapping[str, str] | None) -> None:
    """``identifier`` is what the action was about: an image's, or for pull and push a reference."""
    emit(store, "image", action, identifier, {**(labels or {}), "name": name})


def mounted(store: Store, record: Record) -> None:
    for point in _volumes(record):
        attributes = {
            "container": record.id,
            "destination": point.destination,
            "driver": point.driver or "local",
            "propagation": point.propagation,
            "read/write": "true" if point.rw else "false",
        }
        emit(store, "volume", "mount", point.name, attributes)


def unmounted(store: Store, record: Record) -> None:
    for point in _volumes(record):
        attributes = {"container": record.id, "driver": point.driver or "local"}
        emit(store, "volume", "unmount", point.name, attributes)


def pruned(store: Store, kind: str, reclaimed: int) -> None:
    """What nobody used of a kind is gone; ``reclaimed``: bytes on disk."""
    emit(store, kind, "prune", "", {"reclaimed": str(reclaimed)})


def connected(store: Store, endpoint: Endpoint, container: str) -> None:
    _network(store, "connect", endpoint, container)


def disconnected(store: Store, endpoint: Endpoint, container: str) -> None:
    _network(store, "disconnect", endpoint, container)


def _network(store: Store, action: str, endpoint: Endpoint, container: str) -> None:
    attributes = {"container": container, "name": endpoint.network, "type": endpoint.driver}
    emit(store, "network", action, endpoint.network_id, attributes)


def _volumes(record: Record) -> list[MountPoint]:
    return [point for point in record.mounts if point.type == "volume"]


def emit(
    store: Store, kind: str, action: str, identifier: str, attributes: Mapping[str, str], *, image: str = ""
) -> None:
    now = time.time_ns()
    old = kind in ("container", "image")
    line = encoder.encode(
        Message(
            status=action if old else "",
            id=identifier if old else "",
            from_=image,
            type=kind,
            action=action,
            actor=Actor(identifier, {name: attributes[name] for name in sorted(attributes)}),
            time=now // 1_000_000_000,
            time_nano=now,
        )
    )
    with suppress(OSError):
        try:
            journal(store).append(line)
        except FileNotFoundError:
            store.make()
            journal(store).append(line)
