"""The page that ``make peers`` writes: a table of one line a file, and what is behind each failure of ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from peers.crun_suite.explained import EXPLAINED

Verdicts = Mapping[str, Mapping[str, Mapping[str, str]]]
OURS = "mydocker-runtime"


def count(verdicts: Mapping[str, str]) -> str:
    """``12 / 1 / 3``: passed, failed, skipped."""
    found = Counter(verdicts.values())
    return f"{found['pass']} / {found['fail']} / {found['skip']}"


def page(results: Verdicts, versions: Mapping[str, str], revision: str) -> str:
    return ""
