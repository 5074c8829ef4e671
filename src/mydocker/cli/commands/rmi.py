"""``rmi``, ``image rm``: remove names, and images that have none left."""

from __future__ import annotations

from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import each
from mydocker.cli.flags.pflag import switch, unbuilt


def run(invocation: Invocation) -> int:
    def remove(reference: str) -> str | None:
        removals = invocation.engine.images.remove(reference, force=invocation["force"])
        lines = [f"Untagged: {r.untagged}" if r.untagged else f"Deleted: {r.deleted}" for r in removals]
        return "\n".join(lines) or None

    return each(invocation.arguments, remove)


COMMAND = Command(
    "rmi [OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    run,
    flags=(
        switch("force", "f", "Force removal of the image"),
        unbuilt("no-prune", "an image has no parents to keep", switch=True),
        unbuilt("platform", "an image is of one platform"),
    ),
    least=1,
    most=None,
)
