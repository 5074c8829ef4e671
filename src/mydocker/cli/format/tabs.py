"""Columns from lines whose cells end with a tab: Go's text/tabwriter with the settings of Docker.

A column is made of neighbouring lines that have a cell there; its width is that of its widest cell and 3,
10 at least (of ``top`` 20). The text after a line's last tab belongs to no column, so no line ends in
padding.
"""

from __future__ import annotations

_MINIMUM, _PADDING = 10, 3


def align(text: str, *, minimum: int = _MINIMUM) -> str:
    lines = [line.split("\t") for line in text.split("\n")]
    output = [""] * len(lines)
    _columns(lines, 0, len(lines), 0, output, minimum)
    return "\n".join(line + cells[-1] for line, cells in zip(output, lines, strict=True))


def _columns(
    lines: list[list[str]], start: int, end: int, column: int, output: list[str], minimum: int
) -> None:
    """Lay out the lines from ``start`` to ``end`` from this column on."""
    line = start
    while line < end:
        if len(lines[line]) <= column + 1:
            line += 1
            continue
        last = line
        width = minimum
        while last < end and len(lines[last]) > column + 1:
            width = max(width, len(lines[last][column]) + _PADDING)
            last += 1
        for number in range(line, last):
            output[number] += lines[number][column].ljust(width)
        _columns(lines, line, last, column + 1, output, minimum)
        line = last
