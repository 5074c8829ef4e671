"""What is reserved is not pruned, and a reservation ends with whoever has it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from mydocker.image import reservations
from mydocker.image.prune import prune
from mydocker.image.store import ImageStore
from support.layout import layer

NAME = "docker.io/library/a:1"


def test_names(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert reservations.names(root) == set()
    with reservations.reserved(root, NAME), reservations.reserved(root, "other"):
        assert reservations.names(root) == {NAME, "other"}
    assert reservations.names(root) == set()
    assert os.listdir(tmp_path / "reserved") == []


def test_of_a_process_that_is_killed(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with reservations.reserved(str(tmp_path), NAME):
            os.write(writer, b"x")
            signal.pause()
    os.read(reader, 1)
    assert reservations.names(str(tmp_path)) == {NAME}
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert reservations.names(str(tmp_path)) == set()
    assert os.listdir(tmp_path / "reserved") == []


@pytest.mark.root
def test_a_prune(store: ImageStore, archive: Callable[..., str]) -> None:
    everything = {"dangling": ["false"]}
    store.load(archive("a:1", [layer("one")]))
    store.load(archive("b:1", [layer("two")]))
    with reservations.reserved(store.content.root, NAME):
        prune(store, everything)
        assert [image.repo_tags for image in store.list()] == [["a:1"]]
        prune(store, everything)
    prune(store, everything)
    assert store.list() == []
