"""``events``: what happens to containers, images and volumes, as it happens."""

from __future__ import annotations

import time
from typing import Any

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.filter import parse_filter, to_filters
from mydocker.cli.flags.pflag import text, values
from mydocker.cli.flags.timestamp import parse_timestamp
from mydocker.cli.format.rows import Document
from mydocker.cli.template.structs import Strings, Struct
from mydocker.container.events import Message

_NANO = 1_000_000_000


def run(invocation: Invocation) -> int:
    now = time.time()
    since, until = (parse_timestamp("", invocation[name], now) for name in ("since", "until"))
    format = Document(invocation["format"])
    for message in invocation.engine.events(
        since=since, until=until, filters=to_filters(invocation["filter"])
    ):
        if invocation["format"]:
            output.out(format.inspect(document(message), _value(message)))
        else:
            output.out(line(message))
    return 0


def _value(message: Message) -> Struct:
    """What a template is executed over."""
    shown = document(message)
    actor = Struct({"ID": message.actor.id, "Attributes": Strings(message.actor.attributes)})
    actor.raw = shown["Actor"]
    value = Struct(
        {
            "Status": message.status,
            "ID": message.id,
            "From": message.from_,
            "Type": message.type,
            "Action": message.action,
            "Actor": actor,
            "Scope": message.scope,
            "Time": message.time,
            "TimeNano": message.time_nano,
        }
    )
    value.raw = shown
    return value


def document(message: Message) -> dict[str, Any]:
    """As the Engine API sends it: the fields for old clients only where they say something."""
    old = {"status": message.status, "id": message.id, "from": message.from_}
    return {
        **{name: value for name, value in old.items() if value},
        "Type": message.type,
        "Action": message.action,
        "Actor": {"ID": message.actor.id, "Attributes": message.actor.attributes},
        "scope": message.scope,
        "time": message.time,
        "timeNano": message.time_nano,
    }


def line(message: Message) -> str:
    """``2024-05-30T12:07:14.123456789+00:00 container start 4af… (image=alpine, name=x)``."""
    second, fraction = divmod(message.time_nano, _NANO)
    moment = time.localtime(second)
    zone = time.strftime("%z", moment)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{fraction:09d}"
    stamp += "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    attributes = ", ".join(f"{name}={value}" for name, value in sorted(message.actor.attributes.items()))
    shown = f"{stamp} {message.type} {message.action} {message.actor.id}"
    return f"{shown} ({attributes})" if attributes else shown


COMMAND = Command(
    "events [OPTIONS]",
    "Get real time events from the engine",
    run,
    flags=(
        values("filter", "f", "Filter output based on conditions provided", parse_filter, "filter"),
        text("format", "", "Format output using a custom template: 'json' or a Go TEMPLATE"),
        text("since", "", "Show all events created since timestamp"),
        text("until", "", "Stream events until this timestamp"),
    ),
)
