"""``search``: repositories of a registry by a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.ps import FORMAT_HELP
from mydocker.cli.flags.filter import parse_filter, to_filters
from mydocker.cli.flags.pflag import number, switch, text, values
from mydocker.cli.format import rows
from mydocker.cli.format.units import ellipsis

if TYPE_CHECKING:
    from mydocker.registry.search import Result

_COLUMNS = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
_HEADINGS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
_WIDTH = 45


def row(result: Result, *, truncate: bool, json: bool) -> rows.Row:
    yes, no = ("true", "false") if json else ("[OK]", "")
    description = _printable(result.description or "")
    return {
        "Name": _printable(result.name),
        "Description": ellipsis(description, _WIDTH) if truncate else description,
        "StarCount": str(result.star_count),
        "IsOfficial": yes if result.is_official else no,
        "IsAutomated": yes if result.is_automated else no,
    }


def _printable(text: str) -> str:
    """Text of a stranger, without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def run(invocation: Invocation) -> int:
    invocation.engine.registries.notice = output.err
    results = invocation.engine.search(
        invocation.arguments[0], limit=invocation["limit"], filters=to_filters(invocation["filter"])
    )
    format = invocation["format"]
    shown = rows.render(
        format,
        [row(result, truncate=not invocation["no-trunc"], json=format == "json") for result in results],
        columns=_COLUMNS,
        headings=_HEADINGS,
        type_="*search.searchContext",
    )
    if shown:
        output.out(shown)
    return 0


COMMAND = Command(
    "search [OPTIONS] TERM",
    "Search Docker Hub, or the registry that TERM begins with, for images",
    run,
    flags=(
        values("filter", "f", "Filter output based on conditions provided", parse_filter, "filter"),
        text("format", "", f"Format output using a custom template: {FORMAT_HELP}"),
        number("limit", "", "Max number of search results"),
        switch("no-trunc", "", "Don't truncate output"),
    ),
    least=1,
    most=1,
)
