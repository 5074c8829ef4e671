"""Directories nested deeper than a path can say."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mydocker.linux.descent import DIRECTORY


@contextmanager
def nested(top: Path, levels: int, name: str = "d" * 20) -> Iterator[None]:
    """``top`` with so many directories in each other; in the end, everything beside it goes too, for pytest
    cannot remove them."""
    _make(top, levels, name)
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", *top.parent.iterdir()], check=True)


def _make(top: Path, levels: int, name: str) -> None:
    top.mkdir()
    here = os.open(top, DIRECTORY)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        inner = os.open(name, DIRECTORY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


@contextmanager
def few_descriptors() -> Iterator[None]:
    """No more than a hundred new ones can be opened."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def depth(top: Path) -> int:
    """How many directories are in each other below ``top``."""
    here, levels = os.open(top, DIRECTORY), 0
    while names := os.listdir(here):
        inner = os.open(names[0], DIRECTORY, dir_fd=here)
        os.close(here)
        here, levels = inner, levels + 1
    os.close(here)
    return levels
