"""``tag``, ``image tag``: give an image another name."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli.command import Command, Invocation
from mydocker.oci import reference as references


def run(invocation: Invocation) -> int:
    source, target = invocation.arguments
    try:
        references.parse_tagged(target)
    except errors.InvalidArgument as error:
        if "digest reference" in str(error):
            raise
        raise errors.InvalidArgument(
            f'error parsing reference: "{target}" is not a valid repository/tag: {error}'
        ) from error
    invocation.engine.images.tag(source, target)
    return 0


COMMAND = Command(
    "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    run,
    least=2,
    most=2,
)
