"""``system start``: after a boot, start what its restart policy says; ``system unit``: have systemd do it.

docker has a daemon for that.
"""

from __future__ import annotations

from importlib import resources

from mydocker.cli import output
from mydocker.cli.command import PROGRAM, Command, Invocation


def run(invocation: Invocation) -> int:
    code = 0
    for container, error in invocation.engine.start():
        if error is None:
            output.out(container.name)
        else:
            output.err(f"{PROGRAM}: {container.name}: {error}")
            code = 1
    return code


def unit(_: Invocation) -> int:
    text = resources.files("mydocker").joinpath("mydocker.service").read_text()
    output.out(text.removesuffix("\n"))
    return 0


COMMAND = Command(
    "start",
    "Start containers whose restart policy is always or unless-stopped, as after a boot",
    run,
)
UNIT = Command("unit", "Print a systemd unit that runs `system start` at boot", unit)
