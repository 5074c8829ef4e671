"""``diff``: what a container has changed in its file system."""

from __future__ import annotations

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation


def run(invocation: Invocation) -> int:
    changes = invocation.engine.containers.get(invocation.arguments[0]).diff()
    if changes:
        output.out("\n".join(f"{change.kind} {change.path}" for change in changes))
    return 0


COMMAND = Command(
    "diff CONTAINER",
    "Inspect changes to files or directories on a container's filesystem",
    run,
    least=1,
    most=1,
)
