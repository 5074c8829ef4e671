"""``ps --filter``: Docker's filters over records and states.

A container has to match every key that is given, and for each key one of its values; of ``label``, all.
Source: Docker CLI reference, ``docker container ls --filter``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..errors import InvalidArgument, NotFound
from ..image import filters as filtering
from ..image.store import ImageStore
from . import attached
from .record import Record
from .state import State, Status
from .store import Store

Pair = tuple[Record, State]


def matches(
    containers: list[Pair], filters: dict[str, list[str]], store: Store, images: ImageStore
) -> set[str]:
    """The identifiers of those that match; ``InvalidArgument`` for a filter or value that does not exist."""
    kept = containers
    for key, values in filters.items():
        if key in ("before", "since"):
            instants = [_created(store, value) for value in values]
            if key == "before":
                kept = [pair for pair in kept if pair[0].created < min(instants)]
            else:
                kept = [pair for pair in kept if pair[0].created > max(instants)]
        elif key == "ancestor":
            wanted = {identifier for value in values for identifier in _images(images, value)}
            kept = [pair for pair in kept if pair[0].image in wanted]
        elif key == "network":
            names = {_network(store, value) for value in values}
            kept = [
                pair
                for pair in kept
                if not names.isdisjoint((*pair[0].networks, pair[0].host_config.network_mode))
            ]
        elif key == "publish":
            ports = {port for value in values for port in _ports("publish", value)}
            kept = [pair for pair in kept if not ports.isdisjoint(_published(store, pair))]
        elif key in _TESTS:
            test = _TESTS[key]
            combine = all if key == "label" else any
            kept = [pair for pair in kept if combine(test(pair, value) for value in values)]
        else:
            raise InvalidArgument(f"invalid filter '{key}'")
    return {record.id for record, _ in kept}


def _created(store: Store, reference: str) -> str:
    try:
        return store.read_record(store.resolve(reference)).created
    except NotFound:
        raise NotFound(f"no such container {reference}") from None


def _images(images: ImageStore, reference: str) -> list[str]:
    try:
        return [images.resolve(reference).id]
    except (NotFound, InvalidArgument):
        return []


def _name(pair: Pair, value: str) -> bool:
    """With the slash that Docker's names have, or without."""
    pattern = filtering.pattern("name", value)
    return any(pattern.search(name) for name in (f"/{pair[0].name}", pair[0].name))


def _status(pair: Pair, value: str) -> bool:
    if value not in list(Status):
        raise InvalidArgument(f"invalid filter 'status={value}'")
    return pair[1].status == value


def _exited(pair: Pair, value: str) -> bool:
    if not value.removeprefix("-").isdecimal():
        raise InvalidArgument(f"invalid filter 'exited={value}'")
    return pair[1].status is Status.EXITED and pair[1].exit_code == int(value)


def _label(pair: Pair, value: str) -> bool:
    labels = pair[0].config.labels or {}
    key, equals, wanted = value.partition("=")
    return key in labels and (not equals or labels[key] == wanted)


def _volume(pair: Pair, value: str) -> bool:
    return any(value in (point.name, point.source, point.destination) for point in pair[0].mounts)


def _health(pair: Pair, value: str) -> bool:
    if value not in ("starting", "healthy", "unhealthy", "none"):
        raise InvalidArgument(f"unrecognized filter value for health: {value}")
    health = pair[1].health
    return value == (health.status if health is not None else "none")


def _exposed(pair: Pair, value: str) -> bool:
    """Whether a port that the container exposes is among those of ``value``."""
    return not _ports("expose", value).isdisjoint(pair[0].config.exposed_ports or {})


def _published(store: Store, pair: Pair) -> Iterator[str]:
    """The ports of the host that lead to a container now."""
    if pair[1].running and pair[0].networks:
        for port in attached.read(store, pair[0].id).ports:
            yield f"{port.host_port}/{port.protocol}"


def _ports(key: str, value: str) -> set[str]:
    """``80``, ``80/udp``, ``80-90/tcp``"""
    numbers, _, protocol = value.partition("/")
    first, _, last = numbers.partition("-")
    for text in (first, last or first):
        if not text.isdecimal():
            raise InvalidArgument(
                f"error while looking up for {key} {value}: "
                f'strconv.ParseUint: parsing "{text}": invalid syntax'
            )
    span = range(int(first), min(int(last or first), 65535) + 1)
    return {f"{number}/{protocol or 'tcp'}" for number in span}


def _task(_: Pair, value: str) -> bool:
    """Whether a service has made it, which none has."""
    if value not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"invalid filter 'is-task=[{value}]'")
    return value in ("false", "0")


def _network(store: Store, value: str) -> str:
    """The name of the network that has it, or an identifier that begins so; or what was given."""
    try:
        return attached.of(store).resolve(value).name
    except (NotFound, InvalidArgument):
        return value


_TESTS: dict[str, Callable[[Pair, str], bool]] = {
    "id": lambda pair, value: pair[0].id.startswith(value),
    "name": _name,
    "status": _status,
    "exited": _exited,
    "label": _label,
    "volume": _volume,
    "health": _health,
    "expose": _exposed,
    "is-task": _task,
}
