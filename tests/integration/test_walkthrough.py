"""The pages of docs/walkthrough and docs/volumes.md, typed into a shell: what they show is what comes out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from support import pages, probe
from support.command import Runner

DIRECTORY = Path(__file__).parents[2] / "docs" / "walkthrough"
PAGES = sorted(path for path in DIRECTORY.glob("*.md") if path.name != "README.md")
PAGES.append(DIRECTORY.parent / "volumes.md")

# What a page needs beyond root and busybox.
NEEDS = {"cgroups.md": [None if probe.cgroup_of("memory") else "shows the files of cgroup v1"]}


@pytest.fixture
def commands(fresh: Runner, tmp_path: Path) -> str:
    """A directory for PATH with a ``mydocker`` in it that uses this test's own directories."""
    directory = tmp_path / "bin"
    directory.mkdir()
    script = directory / "mydocker"
    words = [fresh.program, "--root", fresh.root, "--state", fresh.state]
    script.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    script.chmod(0o755)
    return str(directory)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page(page: Path, fresh: Runner, commands: str, tmp_path: Path) -> None:
    for reason in NEEDS.get(page.name, []):
        if reason:
            pytest.skip(reason)
    place = tmp_path / "walk"
    place.mkdir()
    environment = {**fresh.environment, "PATH": f"{commands}:{os.environ['PATH']}"}
    assert pages.run(page, str(place), environment) > 3
    assert fresh.containers() == [], "the page removes what it has made"


def test_there_are_pages() -> None:
    assert {page.name for page in PAGES} >= {"layers.md", "namespaces.md", "cgroups.md", "proc.md"}
