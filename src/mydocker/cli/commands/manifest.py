"""``manifest inspect``, ``create``, ``annotate``, ``push`` and ``rm``: one name for several platforms."""

from __future__ import annotations

import json
from typing import Any

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import each
from mydocker.cli.flags.pflag import switch, text, values
from mydocker.image.documents import Platform
from mydocker.image.lists import Member, encode

_INSECURE = switch("insecure", "", "Allow communication with an insecure registry")


def inspect(invocation: Invocation) -> int:
    *lists, reference = invocation.arguments
    found = invocation.engine.manifests.inspect(
        reference,
        within="".join(lists),
        whole=invocation["verbose"],
        insecure=invocation["insecure"],
    )
    output.out(_shown(found, verbose=invocation["verbose"]))
    return 0


def _shown(found: Member | list[Member], *, verbose: bool) -> str:
    """As docker shows it: tabs, but for a list three spaces, as it lies on registries."""
    if isinstance(found, list):
        return _tabs([member.document() for member in found]) if verbose else encode(found)[1].decode()
    return _tabs(found.document() if verbose else json.loads(found.raw))


def _tabs(document: Any) -> str:
    return json.dumps(document, indent="\t", ensure_ascii=False)


def create(invocation: Invocation) -> int:
    target, *members = invocation.arguments
    name = invocation.engine.manifests.create(
        target, members, amend=invocation["amend"], insecure=invocation["insecure"]
    )
    output.out(f"Created manifest list {name}")
    return 0


def annotate(invocation: Invocation) -> int:
    target, member = invocation.arguments
    features = [feature for given in invocation["os-features"] for feature in given.split(",")]
    platform = Platform(
        architecture=invocation["arch"],
        os=invocation["os"],
        variant=invocation["variant"],
        os_version=invocation["os-version"],
        os_features=tuple(features),
    )
    invocation.engine.manifests.annotate(target, member, platform)
    return 0


def push(invocation: Invocation) -> int:
    (target,) = invocation.arguments
    for line in invocation.engine.manifests.push(
        target, purge=invocation["purge"], insecure=invocation["insecure"]
    ):
        output.out(line)
    return 0


def remove(invocation: Invocation) -> int:
    def one(target: str) -> None:
        invocation.engine.manifests.remove(target)

    return each(invocation.arguments, one)


INSPECT = Command(
    "inspect [OPTIONS] [MANIFEST_LIST] MANIFEST",
    "Display an image manifest, or manifest list",
    inspect,
    flags=(_INSECURE, switch("verbose", "v", "Output additional info including layers and platform")),
    least=1,
    most=2,
)
CREATE = Command(
    "create [OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
    "Create a local manifest list for annotating and pushing to a registry",
    create,
    flags=(switch("amend", "a", "Amend an existing manifest list"), _INSECURE),
    least=2,
    most=None,
)
ANNOTATE = Command(
    "annotate [OPTIONS] MANIFEST_LIST MANIFEST",
    "Add additional information to a local image manifest",
    annotate,
    flags=(
        text("arch", "", "Set architecture"),
        text("os", "", "Set operating system"),
        values("os-features", "", "Set operating system feature", kind="strings"),
        text("os-version", "", "Set operating system version"),
        text("variant", "", "Set architecture variant"),
    ),
    least=2,
    most=2,
)
PUSH = Command(
    "push [OPTIONS] MANIFEST_LIST",
    "Push a manifest list to a repository",
    push,
    flags=(
        switch("insecure", "", "Allow push to an insecure registry"),
        switch("purge", "p", "Remove the local manifest list after push"),
    ),
    least=1,
    most=1,
)
REMOVE = Command(
    "rm MANIFEST_LIST [MANIFEST_LIST...]",
    "Delete one or more manifest lists from local storage",
    remove,
    least=1,
    most=None,
)
