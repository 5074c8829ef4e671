"""``wait``: the exit codes of containers, when they have ended."""

from __future__ import annotations

from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import each
from mydocker.cli.flags.pflag import text


def run(invocation: Invocation) -> int:
    def wait(reference: str) -> str:
        return str(invocation.engine.containers.get(reference).wait(invocation["condition"]))

    return each(invocation.arguments, wait)


COMMAND = Command(
    "wait [OPTIONS] CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    run,
    flags=(
        text(
            "condition",
            "",
            "What to wait for: not-running, next-exit (an end that is still to come) or removed",
            default="not-running",
        ),
    ),
    least=1,
    most=None,
)
