"""``save``: images as one archive."""

from __future__ import annotations

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.export import check_target
from mydocker.cli.flags.pflag import text


def run(invocation: Invocation) -> int:
    path = invocation["output"]
    check_target(path)
    images = invocation.engine.images
    images.save(invocation.arguments, path or output.STDOUT, platform=invocation["platform"])
    return 0


COMMAND = Command(
    "save [OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    run,
    flags=(
        text("output", "o", "Write to a file, instead of STDOUT"),
        text("platform", "", 'Save only the given platform (e.g., "linux/amd64")'),
    ),
    least=1,
    most=None,
)
