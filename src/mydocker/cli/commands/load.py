"""``load``: take images in from an archive."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import output, terminal
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import switch, text
from mydocker.cli.progress import layers


def run(invocation: Invocation) -> int:
    path = invocation["input"]
    if not path and terminal.is_terminal(0):
        raise errors.InvalidArgument("requested load from stdin, but stdin is empty")
    with layers(quiet=invocation["quiet"]) as progress:
        lines = invocation.engine.images.load(path or 0, progress, platform=invocation["platform"])
    output.out("\n".join(lines))
    return 0


COMMAND = Command(
    "load [OPTIONS]",
    "Load an image from a tar archive or STDIN",
    run,
    flags=(
        text("input", "i", "Read from tar archive file, instead of STDIN"),
        text("platform", "", 'Load only the given platform (e.g., "linux/amd64")'),
        switch("quiet", "q", "Suppress the load output"),
    ),
)
