"""``images``, ``image ls``: list images, one line for each name."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mydocker import errors
from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.ps import FORMAT_HELP
from mydocker.cli.flags import go
from mydocker.cli.flags.filter import parse_filter, to_filters
from mydocker.cli.flags.pflag import switch, text, values
from mydocker.cli.format import rows
from mydocker.cli.format.units import ago, human_size, local_time, parse_rfc3339

if TYPE_CHECKING:
    from mydocker.image.store import Image

_COLUMNS = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_DIGEST_COLUMNS = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_HEADINGS = {
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "Digest": "DIGEST",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Size": "SIZE",
    "VirtualSize": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}
_TYPE = "*formatter.imageContext"
_NONE, _UNKNOWN = "<none>", "N/A"
_ID_WIDTH = 12


def row(image: Image, tag: str, *, truncate: bool, now: float) -> rows.Row:
    repository, _, version = tag.rpartition(":")
    created = parse_rfc3339(image.created)
    return {
        "ID": short(image.id) if truncate else image.id,
        "Repository": repository or _NONE,
        "Tag": version or _NONE,
        "Digest": _NONE,
        "CreatedSince": ago(created, now),
        "CreatedAt": local_time(created),
        "Size": human_size(image.size, 3),
        "VirtualSize": human_size(image.size, 3),
        "SharedSize": _UNKNOWN,
        "UniqueSize": _UNKNOWN,
        "Containers": _UNKNOWN,
    }


def short(identifier: str) -> str:
    return identifier.removeprefix("sha256:")[:_ID_WIDTH]


def _matches(pattern: str, tag: str) -> bool:
    """``busybox``, ``busybox:1.*``, ``*/busybox`` (path.Match of Go: a star stops at a slash)."""
    repository = tag.rpartition(":")[0]
    return any(
        name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)
        for name in (tag, repository)
    )


def _label(image: Image, wanted: str) -> bool:
    labels = (image.config.config.labels if image.config.config else None) or {}
    name, equals, value = wanted.partition("=")
    return name in labels and (not equals or labels[name] == value)


def select(
    images: list[Image], filters: Mapping[str, list[str]], names: list[str]
) -> list[tuple[Image, str]]:
    """Each image with each of its names that is wanted; an empty name for one without."""
    unknown = set(filters) - {"dangling", "label", "reference", "before", "since"}
    if unknown:
        raise errors.InvalidArgument(f"invalid filter '{min(unknown)}'")
    images = _by_age(images, filters)
    for value in filters.get("dangling", []):
        wanted = _bool("dangling", value)
        images = [image for image in images if bool(image.repo_tags) is not wanted]
    images = [image for image in images if all(_label(image, label) for label in filters.get("label", []))]
    patterns = [*filters.get("reference", []), *names]
    found = []
    for image in images:
        tags = [tag for tag in image.repo_tags if not patterns or any(_matches(p, tag) for p in patterns)]
        found += [(image, tag) for tag in tags]
        if not image.repo_tags and not patterns:
            found.append((image, ""))
    return found


def _by_age(images: list[Image], filters: Mapping[str, list[str]]) -> list[Image]:
    for name in ("before", "since"):
        for reference in filters.get(name, []):
            other = next((i for i in images if reference in i.repo_tags or _is_id(i, reference)), None)
            if other is None:
                raise errors.NotFound(f"no such image: {reference}")
            edge = parse_rfc3339(other.created)
            before = name == "before"
            images = [i for i in images if i is not other and (parse_rfc3339(i.created) < edge) is before]
    return images


def _is_id(image: Image, reference: str) -> bool:
    return image.id.startswith((reference, f"sha256:{reference}")) or f"{reference}:latest" in image.repo_tags


def _bool(name: str, text: str) -> bool:
    try:
        return go.parse_bool(text)
    except ValueError as error:
        raise errors.InvalidArgument(f"invalid filter '{name}={text}'") from error


def run(invocation: Invocation) -> int:
    names = invocation.arguments
    chosen = select(list(invocation.engine.images.list()), to_filters(invocation["filter"]), names)
    truncate = not invocation["no-trunc"]
    if invocation["quiet"]:
        if chosen:
            output.out("\n".join(short(image.id) if truncate else image.id for image, _ in chosen))
        return 0
    now = time.time()
    shown = rows.render(
        invocation["format"],
        [row(image, tag, truncate=truncate, now=now) for image, tag in chosen],
        columns=_DIGEST_COLUMNS if invocation["digests"] else _COLUMNS,
        headings=_HEADINGS,
        type_=_TYPE,
    )
    if shown:
        output.out(shown)
    return 0


COMMAND = Command(
    "images [OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    run,
    flags=(
        switch("all", "a", "Show all images; there are no intermediate ones, so this is all the same"),
        switch("digests", "", "Show digests"),
        values("filter", "f", "Filter output based on conditions provided", parse_filter, "filter"),
        text("format", "", f"Format output using a custom template: {FORMAT_HELP}"),
        switch("no-trunc", "", "Don't truncate output"),
        switch("quiet", "q", "Only show image IDs"),
    ),
    most=1,
)
