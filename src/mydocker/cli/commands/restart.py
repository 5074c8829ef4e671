"""``restart``: stop containers and start them again."""

from __future__ import annotations

from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import each
from mydocker.cli.commands.stop import FLAGS, timeout_of


def run(invocation: Invocation) -> int:
    timeout, signal = timeout_of(invocation), invocation["signal"] or None

    def restart(reference: str) -> str:
        invocation.engine.containers.get(reference).restart(timeout, signal=signal)
        return reference

    return each(invocation.arguments, restart)


COMMAND = Command(
    "restart [OPTIONS] CONTAINER [CONTAINER...]",
    "Restart one or more containers",
    run,
    flags=FLAGS,
    least=1,
    most=None,
)
