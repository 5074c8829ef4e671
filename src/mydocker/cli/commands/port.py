"""``port``: which addresses of the host lead to which ports of a container."""

from __future__ import annotations

from typing import Any

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import Command, Invocation


def run(invocation: Invocation) -> int:
    reference, *wanted = invocation.arguments
    ports = invocation.engine.containers.get(reference).inspect()["NetworkSettings"]["Ports"]
    if not wanted:
        lines = [f"{port} -> {address(binding)}" for port in ports for binding in ports[port] or ()]
        if lines:
            output.out("\n".join(sorted(lines)))
        return 0
    number, slash, protocol = wanted[0].partition("/")
    if not (number.isascii() and number.isdigit()):
        raise errors.InvalidArgument(
            f'invalid port ({number}): strconv.ParseUint: parsing "{number}": invalid syntax'
        )
    bindings = ports.get(f"{number}/{protocol if slash else 'tcp'}")
    if not bindings:
        raise errors.NotFound(f"No public port '{wanted[0]}' published for {reference}")
    output.out("\n".join(address(binding) for binding in bindings))
    return 0


def address(binding: dict[str, Any]) -> str:
    """``0.0.0.0:8080``, ``[::]:8080``."""
    host = binding["HostIp"]
    return f"[{host}]:{binding['HostPort']}" if ":" in host else f"{host}:{binding['HostPort']}"


COMMAND = Command(
    "port CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
    run,
    least=1,
    most=2,
)
