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
    """``top`` with so many directories in each other; in the end, everything beside it goes too."""
    with cleaned(top.parent):
        _make(top, levels, name)
        yield


@contextmanager
def cleaned(top: Path) -> Iterator[None]:
    """What is in ``top`` goes in the end: pytest cannot remove what is so deep."""
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", *top.iterdir()], check=True)


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
    here, levels = _bottom(top)
    os.close(here)
    return levels


def link_at_the_bottom(top: Path) -> None:
    """A file with two names, ``one`` and ``two``."""
    here, _ = _bottom(top)
    os.close(os.open("one", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=here))
    os.link("one", "two", src_dir_fd=here, dst_dir_fd=here)
    os.close(here)


def at_the_bottom(top: Path) -> list[str]:
    here, _ = _bottom(top)
    names = sorted(os.listdir(here))
    os.close(here)
    return names


def _bottom(top: Path) -> tuple[int, int]:
    here, levels = os.open(top, DIRECTORY), 0
    while True:
        with os.scandir(here) as entries:
            name = next((entry.name for entry in entries if entry.is_dir()), None)
        if name is None:
            return here, levels
        inner = os.open(name, DIRECTORY, dir_fd=here)
        os.close(here)
        here, levels = inner, levels + 1
