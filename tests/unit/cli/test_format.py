"""Tables, units and the forms of ``--format``."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mydocker import errors
from mydocker.cli.commands import ps
from mydocker.cli.format import rows, units
from mydocker.cli.format.rows import Document
from mydocker.cli.format.tabs import align


@pytest.mark.parametrize(
    ("size", "digits", "text"),
    [
        (0, 4, "0B"),
        (999, 4, "999B"),
        (1000, 4, "1kB"),
        (4270000, 3, "4.27MB"),
        (1234567890, 3, "1.23GB"),
        (1234567890, 4, "1.235GB"),
        (5e15, 4, "5PB"),
    ],
)
def test_human_size(size: float, digits: int, text: str) -> None:
    assert units.human_size(size, digits) == text


def test_bytes_size() -> None:
    assert units.bytes_size(8_218_341_376) == "7.654GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second ago"),
        (1, "1 second ago"),
        (59.9, "59 seconds ago"),
        (60, "About a minute ago"),
        (120, "2 minutes ago"),
        (3600, "About an hour ago"),
        (5400, "2 hours ago"),
        (47.4 * 3600, "47 hours ago"),
        (48 * 3600, "2 days ago"),
        (14 * 86400, "2 weeks ago"),
        (61 * 86400, "2 months ago"),
        (800 * 86400, "2 years ago"),
    ],
)
def test_ago(seconds: float, text: str) -> None:
    assert units.ago(1_000_000_000 - seconds, 1_000_000_000) == text


def test_times() -> None:
    assert units.parse_rfc3339("2013-01-02T13:23:37.123456789Z") == pytest.approx(1357133017.123456789)
    assert units.parse_rfc3339("2013-01-02T14:23:37+01:00") == 1357133017
    assert units.local_time(units.parse_rfc3339(units.ZERO_TIME)) == "0001-01-01 00:00:00 +0000 UTC"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \S+", units.local_time(1357133017))


@pytest.mark.parametrize(("text", "most", "cut"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("ab", 1, "a")])
def test_ellipsis(text: str, most: int, cut: str) -> None:
    assert units.ellipsis(text, most) == cut


def test_align() -> None:
    assert align("A\tB\tC\nlonger than ten\tx\ty") == (
        "A                 B         C\nlonger than ten   x         y"
    )
    assert align("é\tx") == "é         x"


def test_a_column_ends_with_a_line_that_has_none() -> None:
    assert align("aaaaaaaaaaaa\tx\nno tab\nb\ty") == "aaaaaaaaaaaa   x\nno tab\nb         y"


ROWS: list[dict[str, Any]] = [
    {"ID": "1", "Name": "<one>", "Labels": "a=b", "Label": {"a": "b"}.get},
    {"ID": "2", "Name": "two", "Labels": "", "Label": {}.get},
]
HEADINGS = {"ID": "THE ID", "Name": "NAMES", "Labels": "LABELS"}


def render(format: str, data: list[dict[str, Any]] = ROWS) -> str:
    return rows.render(format, data, columns="{{.ID}}\t{{.Name}}", headings=HEADINGS, type_="*formatter.X")


def test_own_table() -> None:
    table = "THE ID    NAMES\n1         <one>\n2         two"
    assert render("") == render("table") == table
    assert render("", []) == "THE ID    NAMES"


def test_table_of_a_template() -> None:
    assert render(r"table {{.Name}}\t{{upper .Labels}}") == "NAMES     LABELS\n<one>     A=B\ntwo       "
    assert render(r'table {{.ID}}\t{{.Label "com.git-hash"}}').startswith("THE ID    git hash\n")


def test_lines() -> None:
    assert render("{{.ID}}:{{.Name}}") == "1:<one>\n2:two"
    assert render("{{.ID}}", []) == ""
    assert render("tablet {{.ID}}") == "tablet 1\ntablet 2"


def test_json() -> None:
    assert render("json").splitlines()[0] == '{"ID":"1","Labels":"a=b","Name":"\\u003cone\\u003e"}'


def test_mistakes() -> None:
    with pytest.raises(errors.InvalidArgument, match="template parsing error: template: :1: unclosed action"):
        render("{{.ID")
    with pytest.raises(
        errors.InvalidArgument, match=r"failed to execute template: .*can't evaluate field No"
    ):
        render("{{.No}}")
    with pytest.raises(errors.InvalidArgument, match=r"template parsing error: .*unclosed action"):
        Document("{{.ID")
    with pytest.raises(errors.InvalidArgument, match=r"template parsing error: .*map has no entry"):
        Document("{{.No}}").show({}, str)


def test_document() -> None:
    assert Document("").show({"a": 1}, lambda document: f"shown {document['a']}") == "shown 1"
    assert Document("json").show({"a": "<"}, str) == '{"a":"\\u003c"}'
    assert Document("{{.a}}").show({"a": 1}, str) == "1"


def test_ports() -> None:
    places = (("::", 80, 8080), ("::", 82, 82), ("0.0.0.0", 82, 82), ("::", 81, 81))
    published: list[dict[str, Any]] = [
        {"IP": address, "PrivatePort": inside, "PublicPort": outside, "Type": "tcp"}
        for address, inside, outside in places
    ]
    exposed: list[dict[str, Any]] = [{"PrivatePort": number, "Type": "udp"} for number in (9, 7, 8)]
    assert ps.ports(published + exposed) == (
        "7-9/udp, [::]:81-82->81-82/tcp, 0.0.0.0:82->82/tcp, [::]:8080->80/tcp"
    )
    assert ps.ports([]) == ""


def test_exact_time() -> None:
    """As ``time.Time.String`` has it."""
    assert units.exact_time("2026-11-29T06:08:26.583190779Z") == "2026-11-29 06:08:26.583190779 +0000 UTC"
    assert units.exact_time("2026-11-29T06:08:26.580000000Z") == "2026-11-29 06:08:26.58 +0000 UTC"
    assert units.exact_time("2026-11-29T06:08:20.000000000Z") == "2026-11-29 06:08:20 +0000 UTC"
