"""``kill``: send a signal to the init process of containers."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import each
from mydocker.cli.flags.pflag import text


def run(invocation: Invocation) -> int:
    def kill(reference: str) -> str:
        try:
            container = invocation.engine.containers.get(reference)
        except errors.NotFound as error:
            raise errors.NotFound(f"cannot kill container: {reference}: {error}") from None
        container.kill(invocation["signal"] or "KILL")
        return reference

    return each(invocation.arguments, kill)


COMMAND = Command(
    "kill [OPTIONS] CONTAINER [CONTAINER...]",
    "Kill one or more running containers",
    run,
    flags=(text("signal", "s", "Signal to send to the container (default KILL)"),),
    least=1,
    most=None,
)
