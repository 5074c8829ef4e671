"""``push``, ``image push``: send an image, or all tags of a repository, to a registry."""

from __future__ import annotations

from mydocker.cli import output, transfer
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.image import check_content_trust, content_trust, target
from mydocker.cli.flags.pflag import switch, text


def run(invocation: Invocation) -> int:
    quiet, every = invocation["quiet"], invocation["all-tags"]
    check_content_trust(
        disabled=invocation["disable-content-trust"], given="disable-content-trust" in invocation.given
    )
    reference = target(invocation.arguments[0], every=every, quiet=quiet)
    images = invocation.engine.images
    with transfer.shown(quiet=quiet) as report:
        push = images.push_all if every else images.push
        push(str(reference), platform=invocation["platform"], progress=report)
    if quiet:
        output.out(str(reference))
    return 0


COMMAND = Command(
    "push [OPTIONS] NAME[:TAG]",
    "Upload an image to a registry",
    run,
    flags=(
        switch("all-tags", "a", "Push all tags of an image to the repository"),
        content_trust(),
        text("platform", "", "Refuse to push an image that is not for this platform (os/arch[/variant])"),
        switch("quiet", "q", "Suppress verbose output"),
    ),
    least=1,
    most=1,
)
