"""``rename``: give a container another name."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli.command import Command, Invocation


def run(invocation: Invocation) -> int:
    old, new = (argument.strip() for argument in invocation.arguments)
    if not old or not new:
        raise errors.InvalidArgument("Neither old nor new names may be empty")
    invocation.engine.containers.get(old).rename(new)
    return 0


COMMAND = Command("rename CONTAINER NEW_NAME", "Rename a container", run, least=2, most=2)
