"""The page that ``make peers`` writes: a table of the files, and why ours fails what it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from peers.crun_suite.explained import EXPLAINED, REASONS

Verdicts = Mapping[str, Mapping[str, Mapping[str, str]]]
OURS = "mydocker-runtime"

_HEAD = """# Conformance

crun's own test suite (the files `test_*.py` below `tests/` of containers/crun; checksum of this copy:
`{revision}`) against three OCI runtimes on one machine, in one run. `make peers CRUN_TESTS=DIR` makes this
page anew; nothing of the suite is in this repository.

{versions}

Passed / failed / skipped, for each file. Every file runs in namespaces of its own and sees cgroup v1 alone:
the versions of crun and runc that are compared with refuse a hybrid host or leave its v2 side alone, so what
wants v2 or systemd is skipped for all three. crun's own options (`--cgroup-manager`, `--config`) are taken
away before runc sees them.

"""


def count(verdicts: Mapping[str, str]) -> str:
    """``12 / 1 / 3``: passed, failed, skipped."""
    found = Counter(verdicts.values())
    return f"{found['pass']} / {found['fail']} / {found['skip']}"


def passes(results: Verdicts, name: str) -> int:
    return sum(list(verdicts.values()).count("pass") for verdicts in results.get(name, {}).values())


def failures(results: Verdicts) -> list[tuple[str, str]]:
    """What ours does not pass, as (file, test)."""
    ours = results.get(OURS, {})
    return [(file, test) for file, tests in ours.items() for test, v in tests.items() if v == "fail"]


def unexplained(results: Verdicts) -> list[str]:
    return [f"{file}: {test}" for file, test in failures(results) if test not in EXPLAINED]


def page(results: Verdicts, versions: Mapping[str, str], revision: str) -> str:
    names = list(results)
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---:|" * len(names)]
    files = sorted({file for by_file in results.values() for file in by_file})
    for file in files:
        cells = [count(results[name].get(file, {})) for name in names]
        lines.append(f"| {file.removeprefix('test_').removesuffix('.py')} | {' | '.join(cells)} |")
    totals = [count(_all(results[name])) for name in names]
    lines.append(f"| **all** | {' | '.join(f'**{total}**' for total in totals)} |")
    shown = "\n".join(f"- {name}: {version}" for name, version in versions.items())
    return _HEAD.format(revision=revision, versions=shown) + "\n".join(lines) + "\n" + _failures(results)


def _all(by_file: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {f"{file}:{test}": v for file, tests in by_file.items() for test, v in tests.items()}


def _failures(results: Verdicts) -> str:
    found = failures(results)
    if not found:
        return ""
    by_reason: dict[str, list[str]] = {}
    for file, test in found:
        others = [
            name for name in results if name != OURS and results[name].get(file, {}).get(test) == "pass"
        ]
        text = f"`{test}`" + (f" (passed by {', '.join(others)})" if others else "")
        by_reason.setdefault(EXPLAINED.get(test, "unexplained"), []).append(text)
    lines = ["\n## What mydocker-runtime does not pass, and why\n"]
    for key, tests in by_reason.items():
        lines.append(f"- {REASONS.get(key, 'Not explained yet.')} {', '.join(sorted(tests))}.")
    return "\n".join(lines) + "\n"
