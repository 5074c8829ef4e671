"""``create``: make a container and print its id."""

from __future__ import annotations

import os

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags import config
from mydocker.cli.flags.container import CONTAINER, REFUSED
from mydocker.engine import Config, Container, HostConfig


def make(invocation: Invocation, *, starting: bool = False) -> Container:
    """The container that the flags of ``run`` and ``create`` describe, and its ``--cidfile``.

    ``starting``: this process starts it next.
    """
    config.check_rootfs(invocation.flags, invocation.arguments)
    documents = config.build(invocation.flags, invocation.arguments)
    path = invocation["cidfile"]
    if not path:
        return _create(invocation, documents, starting)
    try:
        file = open(path, "x")  # noqa: SIM115 - claimed before the container is made, closed below
    except FileExistsError as error:
        raise errors.Conflict(
            f"container ID file found, make sure the other container isn't running or delete {path}"
        ) from error
    except OSError as error:
        raise errors.InvalidArgument(
            f"failed to create the container ID file: open {path}: {(error.strerror or '').lower()}"
        ) from error
    with file:
        try:
            container = _create(invocation, documents, starting)
            file.write(container.id)
        except BaseException:
            os.unlink(path)
            raise
    return container


def _create(invocation: Invocation, documents: tuple[Config, HostConfig], starting: bool) -> Container:
    return invocation.engine.containers.create(*documents, name=invocation["name"] or None, starting=starting)


def run(invocation: Invocation) -> int:
    output.out(make(invocation).id)
    return 0


COMMAND = Command(
    "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
    "Create a new container",
    run,
    flags=(*CONTAINER, *REFUSED),
    least=1,
    most=None,
    interspersed=False,
)
