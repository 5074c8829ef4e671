"""Commands played through: each of them works, and nothing of them is left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mydocker.cli import rehearsal


def test_nothing_is_left(capfd: pytest.CaptureFixture[str]) -> None:
    before = os.listdir("/proc/self/fd"), Path("/proc/self/mountinfo").read_text()
    rehearsal.rehearse()
    assert (os.listdir("/proc/self/fd"), Path("/proc/self/mountinfo").read_text()) == before
    out, err = capfd.readouterr()
    created, *_, removed = out.splitlines()
    assert (len(created), removed, err) == (64, "rehearsal", "")
