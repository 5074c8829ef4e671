"""``rmi``, ``image rm``: remove names, and images that have none left."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import PROGRAM, Command, Invocation
from mydocker.cli.commands.each import each
from mydocker.cli.flags.pflag import switch, values


def run(invocation: Invocation) -> int:
    force, platform = invocation["force"], invocation["platform"]
    if len(platform) > 1:
        raise errors.InvalidArgument("an image here is of one platform: give --platform once")

    def remove(reference: str) -> str | None:
        try:
            removals = invocation.engine.images.remove(reference, force=force, platform="".join(platform))
        except errors.NotFound as error:
            if not force:
                raise
            output.err(f"{PROGRAM}: {error}")  # the wish is fulfilled already
            return None
        lines = [f"Untagged: {r.untagged}" if r.untagged else f"Deleted: {r.deleted}" for r in removals]
        return "\n".join(lines) or None

    return each(invocation.arguments, remove)


COMMAND = Command(
    "rmi [OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    run,
    flags=(
        switch("force", "f", "Force removal of the image"),
        switch(
            "no-prune", "", "Do not delete untagged parents; images here have none, so this is all the same"
        ),
        values("platform", "", "Remove only the image for the given platform (os[/arch[/variant]])"),
    ),
    least=1,
    most=None,
)
