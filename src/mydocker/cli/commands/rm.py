"""``rm``: remove containers."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import PROGRAM, Command, Invocation
from mydocker.cli.commands.each import all_at_once
from mydocker.cli.flags.pflag import switch


def run(invocation: Invocation) -> int:
    force = invocation["force"]
    containers = invocation.engine.containers

    def remove(reference: str) -> str | None:
        if invocation["link"]:
            containers.unlink(reference)
            return reference
        try:
            containers.get(reference).remove(force=force, volumes=invocation["volumes"])
        except errors.NotFound as error:
            if force:  # the wish is fulfilled already, maybe by the container's own --rm this instant
                output.err(f"{PROGRAM}: {error}")
                return None
            raise
        return reference

    return all_at_once(invocation.arguments, remove)


COMMAND = Command(
    "rm [OPTIONS] CONTAINER [CONTAINER...]",
    "Remove one or more containers",
    run,
    flags=(
        switch("force", "f", "Force the removal of a running container (uses SIGKILL)"),
        switch("link", "l", "Remove the specified link"),
        switch("volumes", "v", "Remove anonymous volumes associated with the container"),
    ),
    least=1,
    most=None,
)
