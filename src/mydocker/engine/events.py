"""``Engine.events``: the journal of ``container/events.py``, from and to a moment, through Docker's filters.

    type, scope               is one of them
    event                     the action, of ``exec_create: ls`` the part before the colon
    container, image, volume  identifier, its beginning, or name, of things of that type; an image also by
      network, plugin, …      what containers were made from it
    label                     of the thing that it happened to: a key, or a key and a value

Values of one filter are alternatives, filters all have to fit. Source: Docker Engine API, ``GET /events``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from ..container.events import Message, decoder, journal
from ..container.store import Store
from ..errors import InvalidArgument

_TYPES = (
    "container",
    "image",
    "volume",
    "network",
    "plugin",
    "daemon",
    "service",
    "node",
    "secret",
    "config",
)
_FILTERS = frozenset(("type", "scope", "event", "label", *_TYPES))


def events(
    store: Store,
    *,
    since: float | None = None,
    until: float | None = None,
    filters: Mapping[str, Sequence[str]] | None = None,
    going_on: Callable[[], bool] = lambda: True,
) -> Iterator[Message]:
    """Events as they come; with ``since`` (Unix time) also those that were, and with ``until`` no later ones.

    It ends at ``until``, or soon after ``going_on`` says no. InvalidArgument for a filter that there is not.
    """
    for name in filters or {}:
        if name not in _FILTERS:
            raise InvalidArgument(f"invalid filter '{name}'")

    def more() -> bool:
        return going_on() and (until is None or time.time() < until)

    history = since is not None or (until is not None and until <= time.time())
    lines = journal(store).read(more, history=history)
    return _selected(lines, since, until, filters or {})


def _selected(
    lines: Iterator[bytes], since: float | None, until: float | None, filters: Mapping[str, Sequence[str]]
) -> Iterator[Message]:
    for line in lines:
        try:
            message = decoder.decode(line)
        except msgspec.MsgspecError:
            continue  # half a line, of a writer that had no room for the rest
        instant = message.time_nano / 1e9
        in_time = (since is None or instant >= since) and (until is None or instant <= until)
        if in_time and all(_fits(message, name, values) for name, values in filters.items()):
            yield message


def _fits(message: Message, name: str, values: Sequence[str]) -> bool:
    return any(_TESTS.get(name, _of_type(name))(message, value) for value in values)


def _of_type(kind: str) -> Callable[[Message, str], bool]:
    def test(message: Message, value: str) -> bool:
        named = message.actor.attributes.get("name")
        return message.type == kind and (message.actor.id.startswith(value) or named == value)

    return test


def _image(message: Message, value: str) -> bool:
    attributes = message.actor.attributes
    names = [attributes.get("name" if message.type == "image" else "image", "")]
    if message.type == "image":
        names.append(message.actor.id)
    return any(name == value or name.rpartition(":")[0] == value for name in names if name)


def _label(message: Message, value: str) -> bool:
    key, equals, wanted = value.partition("=")
    attributes = message.actor.attributes
    return key in attributes and (not equals or attributes[key] == wanted)


_TESTS: dict[str, Callable[[Message, str], bool]] = {
    "type": lambda message, value: message.type == value,
    "scope": lambda message, value: message.scope == value,
    "event": lambda message, value: value in (message.action, message.action.partition(":")[0]),
    "image": _image,
    "label": _label,
}
