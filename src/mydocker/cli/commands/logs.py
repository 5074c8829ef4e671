"""``logs``: what a container has written, and is writing."""

from __future__ import annotations

import time

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import switch, text, value
from mydocker.cli.flags.timestamp import parse_timestamp


def _parse_tail(given: str) -> int | None:
    """A number of lines; all of them for ``all`` and, as Docker does, for what is no number or below zero."""
    return int(given) if given.isdecimal() and given.isascii() else None


def run(invocation: Invocation) -> int:
    now = time.time()
    since, until = (parse_timestamp(name, invocation[name], now) for name in ("since", "until"))
    container = invocation.engine.containers.get(invocation.arguments[0])
    stamped = invocation["timestamps"]
    # before each line come the attributes that the log driver was told to add, and a space: here none
    details = b" " if invocation["details"] else b""
    entries = container.logs(follow=invocation["follow"], tail=invocation["tail"], since=since, until=until)
    for entry in entries:
        data = details + entry.data
        if stamped:
            data = entry.time.encode() + b" " + data
        output.write(output.STDERR if entry.stream == "stderr" else output.STDOUT, data)
    return 0


COMMAND = Command(
    "logs [OPTIONS] CONTAINER",
    "Fetch the logs of a container",
    run,
    flags=(
        switch("details", "", "Show extra details provided to logs"),
        switch("follow", "f", "Follow log output"),
        text("since", "", "Show logs since timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m)"),
        value(
            "tail",
            "n",
            'Number of lines to show from the end of the logs (default "all")',
            _parse_tail,
            "string",
        ),
        switch("timestamps", "t", "Show timestamps"),
        text("until", "", "Show logs before a timestamp (e.g. 2013-01-02T13:23:37Z) or relative (e.g. 42m)"),
    ),
    least=1,
    most=1,
)
