"""``--format`` of the commands that list things.

""  table            the command's own columns, under headings
table TEMPLATE       these columns; \\t between them
json                 one JSON document per line
TEMPLATE             one line for each
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from mydocker import errors
from mydocker.cli.command import WordsError
from mydocker.cli.format.tabs import align
from mydocker.cli.template import ExecutionError, ParseError, Template, printing
from mydocker.cli.template.printing import Fields
from mydocker.cli.template.structs import Struct, struct

Row = Mapping[str, Any]
"""fields by name; a callable is a method with arguments and is left out of JSON"""

_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def render(
    format: str,
    rows: Sequence[Row],
    *,
    columns: str,
    headings: Mapping[str, str],
    type_: str,
    unreadable: str = "template parsing error",
) -> str:
    """The whole output, without its last newline. ``columns``: the template of the command's own table.

    Raises ``InvalidArgument`` for a template that cannot be read, which ``unreadable`` says, or does not fit.
    """
    if format == "json":
        return "\n".join(to_json(row) for row in rows)
    is_table = format in ("", "table") or re.match(r"table\b", format) is not None
    source = format.removeprefix("table").strip(" ") if is_table else format
    source = (source or columns).replace("\\t", "\t").replace("\\n", "\n")
    try:
        template = Template.parse(source)
    except ParseError as error:
        raise errors.InvalidArgument(f"{unreadable}: {error}") from error
    lines = [_execute(template, Fields(row), type_) for row in rows]
    if not is_table:
        return "\n".join(lines)
    heading = {**dict.fromkeys(_methods(rows, headings), _label_heading), **headings}
    fields = {**{name: "" for row in rows for name in row}, **heading}
    return align("\n".join([_execute(Template.parse(_without_functions(source)), fields, type_), *lines]))


def to_json(row: Row) -> str:
    """Fields in alphabetical order; ``<``, ``>`` and ``&`` escaped, as Go's encoder does by default."""
    return printing.to_json(Fields(row))


def _methods(rows: Sequence[Row], headings: Mapping[str, str]) -> set[str]:
    return {name for row in rows for name in row if callable(row[name])} | (
        {"Label"} if "Labels" in headings else set()
    )


def _label_heading(name: str) -> str:
    """The heading of ``{{.Label "com.example.git-hash"}}`` is ``git hash``."""
    return re.sub("[-_]", " ", name.rpartition(".")[2])


def _without_functions(source: str) -> str:
    """The template for the heading: what a function would do to a value is not done to its name."""
    return re.sub(
        r"\{\{\s*(?:json|upper|lower|title|truncate|pad|split|join)\s+(\.\w+)[^}]*\}\}", r"{{\1}}", source
    )


def _execute(template: Template, row: Row, type_: str) -> str:
    try:
        return template.execute(row, type_=type_)
    except ExecutionError as error:
        raise errors.InvalidArgument(f"failed to execute template: {error}") from error


_UNREADABLE = 64
"""exit status for a template that cannot be read; Docker's, and EX_USAGE of sysexits(3)"""


class Document:
    """``--format`` of commands that show one thing: ``json``, a template, or nothing."""

    def __init__(self, format: str) -> None:
        self._template = None
        self._json = format == "json"
        if format and not self._json:
            try:
                self._template = Template.parse(format)
            except ParseError as error:
                raise WordsError(f"template parsing error: {error}", _UNREADABLE) from error

    def show(self, document: Mapping[str, Any], otherwise: Callable[[Mapping[str, Any]], str]) -> str:
        if self._json:
            return json.dumps(document, ensure_ascii=False, separators=(",", ":")).translate(_HTML)
        if self._template is None:
            return otherwise(document)
        try:
            return self._template.execute(document)
        except ExecutionError as error:
            raise errors.InvalidArgument(f"template parsing error: {error}") from error

    def inspect(self, document: Mapping[str, Any], value: Struct | None = None) -> str:
        """The same as Docker's client inspects: as a ``value`` of Go, and if the template does not fit that,
        as JSON."""
        if self._template is not None:
            with suppress(ExecutionError):
                return self._template.execute(value or struct(document), strict=False)
        return self.show(document, printing.to_json)
