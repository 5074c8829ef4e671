"""``pause`` and ``unpause``: freeze every process of containers, and let them go on."""

from __future__ import annotations

from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import each


def _pause(invocation: Invocation) -> int:
    def pause(reference: str) -> str:
        invocation.engine.containers.get(reference).pause()
        return reference

    return each(invocation.arguments, pause)


def _unpause(invocation: Invocation) -> int:
    def unpause(reference: str) -> str:
        invocation.engine.containers.get(reference).unpause()
        return reference

    return each(invocation.arguments, unpause)


COMMAND = Command(
    "pause CONTAINER [CONTAINER...]",
    "Pause all processes within one or more containers",
    _pause,
    least=1,
    most=None,
)
UNPAUSE = Command(
    "unpause CONTAINER [CONTAINER...]",
    "Unpause all processes within one or more containers",
    _unpause,
    least=1,
    most=None,
)
