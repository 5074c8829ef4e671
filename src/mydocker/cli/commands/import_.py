"""``import``: an image from the tar archive of a root file system."""

from __future__ import annotations

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import text, values


def run(invocation: Invocation) -> int:
    source, *rest = invocation.arguments
    identifier = invocation.engine.images.import_(
        0 if source == "-" else source,
        rest[0] if rest else "",
        changes=list(invocation["change"]),
        message=invocation["message"],
        platform=invocation["platform"],
    )
    output.out(identifier)
    return 0


COMMAND = Command(
    "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
    run,
    flags=(
        values("change", "c", "Apply Dockerfile instruction to the created image"),
        text("message", "m", "Set commit message for imported image"),
        text("platform", "", "Set platform of the image (linux/ARCH[/VARIANT])"),
    ),
    least=1,
    most=2,
)
