"""``history``, ``image history``: the steps that an image was made in, the newest first."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.ps import FORMAT_HELP
from mydocker.cli.flags.pflag import switch, text
from mydocker.cli.format import rows
from mydocker.cli.format.units import ago_or_unknown, ellipsis, human_size, short

_COLUMNS = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
_EXACT_COLUMNS = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
_HEADINGS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_TYPE = "*formatter.historyContext"
_MISSING = "<missing>"
_STEP_WIDTH = 45


def row(step: Mapping[str, Any], *, truncate: bool, human: bool, now: float) -> rows.Row:
    """The fields of one line, from an element of ``GET /images/{id}/history``."""
    by = step["CreatedBy"].replace("\t", " ")
    created = datetime.fromtimestamp(step["Created"], UTC).astimezone()
    at = created.isoformat().replace("+00:00", "Z")
    identifier = step["Id"]
    return {
        "ID": short(identifier) if truncate and identifier != _MISSING else identifier,
        "CreatedSince": ago_or_unknown(step["Created"], now) if human else at,
        "CreatedAt": at,
        "CreatedBy": ellipsis(by, _STEP_WIDTH) if truncate else by,
        "Size": human_size(step["Size"], 3) if human else str(step["Size"]),
        "Comment": step["Comment"],
    }


def run(invocation: Invocation) -> int:
    (reference,) = invocation.arguments
    steps = invocation.engine.images.history(reference, platform=invocation["platform"])
    human = invocation["human"]
    now = time.time()
    found = [row(step, truncate=not invocation["no-trunc"], human=human, now=now) for step in steps]
    if invocation["quiet"] and invocation["format"] in ("", "table"):
        shown = "\n".join(line["ID"] for line in found)
    else:
        columns = _COLUMNS if human else _EXACT_COLUMNS
        shown = rows.render(invocation["format"], found, columns=columns, headings=_HEADINGS, type_=_TYPE)
    if shown:
        output.out(shown)
    return 0


COMMAND = Command(
    "history [OPTIONS] IMAGE",
    "Show the history of an image",
    run,
    flags=(
        text("format", "", f"Format output using a custom template: {FORMAT_HELP}"),
        switch("human", "H", "Print sizes and dates in human readable format", default=True),
        switch("no-trunc", "", "Don't truncate output"),
        text("platform", "", "Show history for the given platform (os[/arch[/variant]])"),
        switch("quiet", "q", "Only show image IDs"),
    ),
    least=1,
    most=1,
)
