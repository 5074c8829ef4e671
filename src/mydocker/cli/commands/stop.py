"""``stop``: ask containers to end, and end those that do not."""

from __future__ import annotations

from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import all_at_once
from mydocker.cli.flags.go import parse_int
from mydocker.cli.flags.pflag import text, value

FLAGS = (
    text("signal", "s", "Signal to send to the container"),
    value("timeout", "t", "Seconds to wait before killing the container", parse_int, "int"),
    value("time", "", "", parse_int, "int"),
)


def timeout_of(invocation: Invocation) -> int | None:
    """``--time`` is what ``--timeout`` was called before."""
    timeout: int | None = invocation["timeout"] if invocation["timeout"] is not None else invocation["time"]
    return timeout


def run(invocation: Invocation) -> int:
    timeout, signal = timeout_of(invocation), invocation["signal"] or None

    containers = invocation.engine.containers

    def stop(reference: str) -> str:
        containers.get(reference).stop(timeout, signal=signal)
        return reference

    return all_at_once(invocation.arguments, stop)


COMMAND = Command(
    "stop [OPTIONS] CONTAINER [CONTAINER...]",
    "Stop one or more running containers",
    run,
    flags=FLAGS,
    least=1,
    most=None,
)
