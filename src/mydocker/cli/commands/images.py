"""``images``, ``image ls``: list images, one line for each name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.ps import FORMAT_HELP
from mydocker.cli.flags.filter import parse_filter, timed_filters
from mydocker.cli.flags.pflag import switch, text, unbuilt, values
from mydocker.cli.format import rows
from mydocker.cli.format.units import ago_or_unknown, human_size, local_time, parse_rfc3339, short
from mydocker.errors import NotFound
from mydocker.image.filters import fits

if TYPE_CHECKING:
    from mydocker.image.store import Image

_COLUMNS = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
_DIGEST_COLUMNS = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}"
HEADINGS = {
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


class Name(NamedTuple):
    """What one line is about; each part may be empty."""

    repository: str = ""
    tag: str = ""
    digest: str = ""


def row(image: Image, name: Name, *, truncate: bool, now: float) -> rows.Row:
    created = parse_rfc3339(image.created)
    size = human_size(image.size, 3)
    return {
        "ID": short(image.id) if truncate else image.id,
        "Repository": name.repository or _NONE,
        "Tag": name.tag or _NONE,
        "Digest": name.digest or _NONE,
        "CreatedSince": ago_or_unknown(created, now),
        "CreatedAt": local_time(created),
        "Size": size,
        "VirtualSize": size,
        "SharedSize": _UNKNOWN,
        "UniqueSize": _UNKNOWN,
        "Containers": _UNKNOWN,
    }


def names(image: Image, patterns: Sequence[str] = (), *, digests: bool, column: bool) -> list[Name]:
    """The lines that an image takes: one for each tag, or for a repository of which it has a digest only.

    ``digests``: with a line for each of its digests as well. ``column``: they are to be seen.
    """
    tags: dict[str, list[str]] = {}
    found: dict[str, list[str]] = {}
    for name in image.repo_tags:
        if not patterns or fits(name, patterns):
            repository, _, tag = name.rpartition(":")
            tags.setdefault(repository, []).append(tag)
    for name in image.repo_digests:
        if not patterns or fits(name, patterns):
            repository, _, digest = name.partition("@")
            found.setdefault(repository, []).append(digest)
    lines = [
        Name(repository, tag, digest)
        for repository, own in tags.items()
        for tag in own
        for digest in (column and found.get(repository)) or [""]
    ]
    for repository, own in found.items():
        if repository not in tags:
            lines += [Name(repository, "", digest) for digest in (own if digests else [""])]
    return lines or [Name()]


def run(invocation: Invocation) -> int:
    filters = timed_filters(invocation["filter"])
    if invocation.arguments:
        filters.setdefault("reference", []).append(invocation.arguments[0])
    images = invocation.engine.images.list(filters)
    format, digests = invocation["format"], invocation["digests"]
    column = digests or ".Digest" in format
    chosen = [
        (image, name)
        for image in images
        for name in names(image, filters.get("reference", ()), digests=digests, column=column)
    ]
    truncate = not invocation["no-trunc"]
    if invocation["quiet"] and format in ("", "table"):
        if chosen:
            output.out("\n".join(short(image.id) if truncate else image.id for image, _ in chosen))
        return 0
    if digests and format.startswith("table ") and "{{.Digest}}" not in format:
        format += "\t{{.Digest}}"
    now = time.time()
    lines = []
    for image, name in chosen:
        with suppress(NotFound):  # it has been removed meanwhile
            lines.append(row(image, name, truncate=truncate, now=now))
    shown = rows.render(
        format,
        lines,
        columns=_DIGEST_COLUMNS if digests else _COLUMNS,
        headings=HEADINGS,
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
        unbuilt("tree", "an image is of one platform", switch=True),
    ),
    most=1,
)
