"""The flags of the commands that talk to registries, and what an argument that names an image becomes."""

from __future__ import annotations

import os

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.flags import go
from mydocker.cli.flags.pflag import Flag, switch
from mydocker.oci import reference as references
from mydocker.oci.reference import Reference

POLICIES = ("always", "missing", "never")


def content_trust() -> Flag:
    """``--disable-content-trust``: no signature is verified, as there is no Notary any more.

    To ask for it, by the flag or as Docker by DOCKER_CONTENT_TRUST, is refused: better than to seem to do it.
    """
    return switch("disable-content-trust", "", "Skip image verification", default=True)


def check_content_trust(*, disabled: bool, given: bool) -> None:
    wanted = not given and os.environ.get("DOCKER_CONTENT_TRUST", "") not in ("", *go.FALSE)
    if wanted or not disabled:
        raise errors.NotSupported(
            "content trust is not built: signatures of images cannot be verified "
            "(--disable-content-trust, or unset DOCKER_CONTENT_TRUST)"
        )


def wanted_platform(given: str) -> str:
    """That of ``--platform``, or Docker's DOCKER_DEFAULT_PLATFORM; empty: this machine's."""
    return given or os.environ.get("DOCKER_DEFAULT_PLATFORM", "")


def parse_policy(given: str) -> str:
    if given not in POLICIES:
        quoted = ", ".join(f'"{policy}"' for policy in POLICIES[:-1])
        raise ValueError(f'must be one of {quoted} or "{POLICIES[-1]}"')
    return given


def target(text: str, *, every: bool, quiet: bool) -> Reference:
    """The reference to pull or push; says, as Docker does, when a tag is assumed. ``every``: all tags."""
    reference = references.parse(text)
    if every:
        return reference
    if not (reference.tag or reference.digest or quiet):
        output.out(f"Using default tag: {references.DEFAULT_TAG}")
    return reference.tagged()
