"""``port``: which addresses of the host lead to which ports of a container; one more, or one less.

Docker's ``port CONTAINER [PORT]`` has two arguments at most, so those of ``port add`` and ``port rm``, which
are ours, are told by their number, and a container may be called ``add``.
"""

from __future__ import annotations

from typing import Any

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags import network
from mydocker.cli.format.order import natural
from mydocker.network.ports import shown


def run(invocation: Invocation) -> int:
    reference, *wanted = invocation.arguments
    if len(wanted) > 1:
        if reference not in _CHANGES:
            raise errors.InvalidArgument(f"unknown change of ports: {reference} (use add or rm)")
        return _change(invocation, reference, *wanted)
    ports = invocation.engine.containers.get(reference).inspect()["NetworkSettings"]["Ports"]
    if not wanted:
        lines = [f"{port} -> {address(binding)}" for port in ports for binding in ports[port] or ()]
        if lines:
            output.out("\n".join(sorted(lines, key=natural)))
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


def _change(invocation: Invocation, verb: str, reference: str, *ports: str) -> int:
    """Each is done by itself, the first that fails is the last."""
    for _, pairs in [network.parse_publish(text) for text in ports]:
        for port, binding in pairs:
            container = invocation.engine.containers.get(reference)
            found = container.publish(port, binding) if verb == "add" else container.unpublish(port, binding)
            for each in found if verb == "add" else ():
                output.out(f"{port} -> {shown(each.host, each.host_port)}")
    return 0


_CHANGES = ("add", "rm")


def address(binding: dict[str, Any]) -> str:
    """``0.0.0.0:8080``, ``[::]:8080``."""
    return shown(binding["HostIp"], binding["HostPort"])


COMMAND = Command(
    "port CONTAINER [PRIVATE_PORT[/PROTO]] | port add|rm CONTAINER [[ADDRESS:]HOST_PORT:]PORT[/PROTO]...",
    "List port mappings or a specific mapping for the container; publish one more, or one less",
    run,
    least=1,
    most=None,
)
