"""The rehearsal of a container's life: nothing is left of it, and what is slow the first time was done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mydocker.container import rehearsal
from mydocker.linux import mount


def test_nothing_is_left() -> None:
    before = os.listdir("/proc/self/fd"), Path("/proc/self/mountinfo").read_text()
    rehearsal.rehearse()
    assert (os.listdir("/proc/self/fd"), Path("/proc/self/mountinfo").read_text()) == before


def test_libraries_are_loaded() -> None:
    script = (
        "from mydocker.container.rehearsal import rehearse; rehearse(); print(open('/proc/self/maps').read())"
    )
    maps = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert b"/libseccomp" in maps


def test_without_the_right_to_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(mount, "fsopen", refuse)
    monkeypatch.setattr(rehearsal, "_Life", lambda _: pytest.fail("there is no place for it"))
    rehearsal.rehearse()
