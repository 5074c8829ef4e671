"""``commit``: an image from what a container has changed."""

from __future__ import annotations

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import switch, text, values


def run(invocation: Invocation) -> int:
    container, *rest = invocation.arguments
    identifier = invocation.engine.containers.get(container).commit(
        rest[0] if rest else "",
        author=invocation["author"],
        message=invocation["message"],
        changes=list(invocation["change"]),
        pause=invocation["pause"],
    )
    output.out(identifier)
    return 0


COMMAND = Command(
    "commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Create a new image from a container's changes",
    run,
    flags=(
        text("author", "a", 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        values("change", "c", "Apply Dockerfile instruction to the created image"),
        text("message", "m", "Commit message"),
        switch("pause", "p", "Pause container during commit", default=True),
    ),
    least=1,
    most=2,
)
