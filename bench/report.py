"""The page that a run of the benchmark writes: plain Markdown, every number of it measured in that run."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from measure import Ratio, Series

COMMAND = "make bench"
_ENDS = 120
"""characters of why a row was not measured, from its beginning and from its end"""


@dataclass(frozen=True)
class Row:
    """A section of the page: its title, the header of its table, and the lines."""

    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]


def time_row(title: str, series: Series, ours: str, others: Sequence[str], goals: Mapping[str, float]) -> Row:
    lines = [[ours, *_milliseconds(series, ours), "", ""]]
    for name in others:
        ratio = series.ratio(ours, name)
        lines.append([name, *_milliseconds(series, name), _speed_up(ratio), _verdict(goals, name, ratio)])
    return Row(title, ("", "median, ms", "first to last decile", "our speed-up", "goal"), lines)


def rate_row(title: str, count: int, series: Series, goals: Mapping[str, float]) -> Row:
    """Of commands that do something ``count`` times."""
    ours, *others = series.times
    lines = [[ours, f"{count / series.median(ours):.1f}", "", ""]]
    for name in others:
        ratio = series.ratio(ours, name)
        rate = f"{count / series.median(name):.1f}"
        lines.append([name, rate, _speed_up(ratio), _verdict(goals, name, ratio)])
    return Row(title, ("", "per second", "our speed-up", "goal"), lines)


def memory_row(containers: int, measured: Mapping[str, Sequence[tuple[int, int]]]) -> Row:
    """``measured``: kB that are private, and kB with a part of what is shared, of each process."""
    private = {
        name: statistics.median(own for own, _ in values) for name, values in measured.items() if values
    }
    lines = []
    for name, median in private.items():
        low, high = min(own for own, _ in measured[name]), max(own for own, _ in measured[name])
        shared = statistics.median(part for _, part in measured[name])
        lines.append([name, f"{median:.0f}", f"{low} to {high}", f"{shared:.0f}"])
    if {"mydocker", "conmon"} <= private.keys():
        ratio = private["mydocker"] / private["conmon"]
        verdict = "reached" if ratio <= 2 else "missed"
        lines.append([f"ratio to conmon (goal: at most 2): {verdict}", f"{ratio:.2f}", "", ""])
    return Row(
        f"Memory of the process beside a container, of {containers} that idle",
        ("", "private, median, kB", "range", "with its part of what is shared, median, kB"),
        lines,
    )


def waiting_row(measured: Mapping[str, Sequence[int]]) -> Row:
    lines = [
        [name, f"{statistics.median(values):.0f}", f"{min(values)} to {max(values)}"]
        for name, values in measured.items()
    ]
    return Row(
        "Private memory of a container's process between create and start", ("", "median, kB", "range"), lines
    )


def phase_row(series: Series) -> Row:
    lines = [[name, *_milliseconds(series, name)] for name in series.times]
    return Row("Where the time goes", ("", "median, ms", "first to last decile"), lines)


def page(rows: Sequence[Row], skipped: Sequence[str], rounds: int, traffic_rounds: int) -> str:
    parts = [
        "# Benchmarks",
        f"Written by `{COMMAND}`; not to be edited.",
        f"The commands of a table take turns, {rounds} rounds after a warm-up, those of traffic"
        f" {traffic_rounds}. A speed-up is the median over the rounds of the peer's time divided by"
        " ours, and in brackets between what that is with 95 % certainty (of five rounds or fewer: all that"
        " there was). mydocker is a wheel, installed regularly; the peers are Debian's, with directories of"
        " their own, without a network, on one image of a static busybox.",
        _machine(),
    ]
    for row in rows:
        parts.append(f"## {row.title}")
        parts.append(_table(row))
    if skipped:
        parts.append("## Not measured")
        parts.append("\n".join(f"- {_short(reason)}" for reason in skipped))
    return "\n\n".join(parts) + "\n"


def _speed_up(ratio: Ratio) -> str:
    return f"{ratio.median:.2f}x ({ratio.low:.2f} to {ratio.high:.2f})"


def _verdict(goals: Mapping[str, float], name: str, ratio: Ratio) -> str:
    goal = goals.get(name)
    if goal is None:
        return ""
    if ratio.median >= goal:
        return f"{goal:g}x: reached"
    return f"{goal:g}x: {'missed' if ratio.high < goal else 'missed, within the noise'}"


def _milliseconds(series: Series, name: str) -> tuple[str, str]:
    first, last = series.spread(name)
    return f"{series.median(name) * 1e3:.1f}", f"{first * 1e3:.1f} to {last * 1e3:.1f}"


def _table(row: Row) -> str:
    lines = [row.header, ["---"] * len(row.header), *row.lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine() -> str:
    facts = {
        "kernel": f"{platform.release()}, {platform.machine()}",
        "processors": f"{os.cpu_count()}, {_processor()}",
        "Python": platform.python_version() + (", Debian's" if _is_debians() else ""),
        "cgroups": "v2" if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else "v1 or hybrid",
        "peers": ", ".join(filter(None, map(_version, ("docker.io", "podman", "runc", "crun", "conmon")))),
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _is_debians() -> bool:
    """Which is built with profiles and optimised as a whole; others often are not."""
    return os.path.realpath(sys.executable).startswith("/usr/bin/")


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(package: str) -> str:
    """Name and version of a Debian package, or nothing."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${Version}", package]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout


def _short(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= 2 * _ENDS else f"{line[:_ENDS]} […] {line[-_ENDS:]}"
