"""``top``: the processes of a container, as the host's ps sees them."""

from __future__ import annotations

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.format.tabs import align

_WIDTH = 20


def run(invocation: Invocation) -> int:
    reference, *options = invocation.arguments
    titles, rows = invocation.engine.containers.get(reference).top(options)
    output.out(align("\n".join("\t".join(row) for row in (titles, *rows)), minimum=_WIDTH))
    return 0


COMMAND = Command(
    "top CONTAINER [ps OPTIONS]",
    "Display the running processes of a container",
    run,
    least=1,
    most=None,
    interspersed=False,
)
