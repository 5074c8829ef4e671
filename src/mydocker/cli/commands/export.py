"""``export``: the root file system of a container as a tar."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import output, terminal
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import text


def check_target(path: str) -> None:
    """Refuse to write an archive to a person's terminal."""
    if not path and terminal.is_terminal(output.STDOUT):
        raise errors.InvalidArgument("cowardly refusing to save to a terminal. Use the -o flag or redirect")


def run(invocation: Invocation) -> int:
    path = invocation["output"]
    check_target(path)
    invocation.engine.containers.get(invocation.arguments[0]).export(path or output.STDOUT)
    return 0


COMMAND = Command(
    "export [OPTIONS] CONTAINER",
    "Export a container's filesystem as a tar archive",
    run,
    flags=(text("output", "o", "Write to a file, instead of STDOUT"),),
    least=1,
    most=1,
)
