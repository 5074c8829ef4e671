"""``create``: make a container and print its id."""

from __future__ import annotations

import os

from mydocker import errors
from mydocker.cli import output, transfer
from mydocker.cli.command import USAGE_ERROR, Command, Invocation, WordsError
from mydocker.cli.flags import config
from mydocker.cli.flags.container import CONTAINER, REFUSED
from mydocker.cli.flags.image import check_content_trust, wanted_platform
from mydocker.engine import Config, Container, EndpointConfig, HostConfig
from mydocker.oci import digest as digests
from mydocker.oci import reference as references


def make(invocation: Invocation, *, starting: bool = False) -> Container:
    """The container that the flags of ``run`` and ``create`` describe, and its ``--cidfile``.

    ``starting``: this process starts it next.
    """
    check_content_trust(
        disabled=invocation["disable-content-trust"], given="disable-content-trust" in invocation.given
    )
    config.check_rootfs(invocation.flags, invocation.arguments)
    try:
        documents = config.build(invocation.flags, invocation.arguments)
    except errors.InvalidArgument as error:
        raise WordsError(str(error), USAGE_ERROR, see_help=True) from error
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


def _create(
    invocation: Invocation, documents: tuple[Config, HostConfig, dict[str, EndpointConfig]], starting: bool
) -> Container:
    """Make it, from an image that is pulled as ``--pull`` says."""
    config, host, endpoints = documents
    policy = invocation["pull"]

    def make() -> Container:
        return invocation.engine.containers.create(
            config,
            host,
            name=invocation["name"] or None,
            starting=starting,
            platform=wanted_platform(invocation["platform"]),
            endpoints=endpoints,
        )

    def pull_and_make() -> Container:
        with invocation.engine.images.reserved(config.image):
            _pull(invocation, config.image)
            return make()

    try:
        container = pull_and_make() if policy == "always" and not host.rootfs else make()
    except errors.ImageNotFound:
        if policy != "missing" or _is_id(config.image):
            raise
        if not invocation["quiet"]:
            name = references.parse(config.image).tagged().familiar()
            output.err(f"Unable to find image '{name}' locally")
        container = pull_and_make()
    for warning in container.warnings:
        output.err(f"WARNING: {warning}")
    return container


def _is_id(image: str) -> bool:
    """Whether it is an image's full identifier, by which nothing can be pulled."""
    bare = image.removeprefix("sha256:")
    return len(bare) == 64 and digests.is_hex(bare)


def _pull(invocation: Invocation, image: str) -> None:
    """Standard output is the container's, or its identifier's."""
    with transfer.shown(output.STDERR, quiet=invocation["quiet"]) as report:
        invocation.engine.images.pull(
            image, platform=wanted_platform(invocation["platform"]), progress=report
        )


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
