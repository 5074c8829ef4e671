"""``pull``, ``image pull``: get an image, or all tags of a repository, from a registry."""

from __future__ import annotations

from mydocker.cli import output, transfer
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.image import check_content_trust, content_trust, target, wanted_platform
from mydocker.cli.flags.pflag import switch, text


def run(invocation: Invocation) -> int:
    quiet, every = invocation["quiet"], invocation["all-tags"]
    check_content_trust(
        disabled=invocation["disable-content-trust"], given="disable-content-trust" in invocation.given
    )
    reference = target(invocation.arguments[0], every=every, quiet=quiet)
    images = invocation.engine.images
    with transfer.shown(quiet=quiet) as report:
        pull = images.pull_all if every else images.pull
        pull(str(reference), platform=wanted_platform(invocation["platform"]), progress=report)
    output.out(str(reference))
    return 0


COMMAND = Command(
    "pull [OPTIONS] NAME[:TAG|@DIGEST]",
    "Download an image from a registry",
    run,
    flags=(
        switch("all-tags", "a", "Download all tagged images in the repository"),
        content_trust(),
        text("platform", "", "Set platform if server is multi-platform capable"),
        switch("quiet", "q", "Suppress verbose output"),
    ),
    least=1,
    most=1,
)
