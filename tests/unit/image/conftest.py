"""A store, and archives in every form that it is to read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from mydocker.image.progress import Progress
from mydocker.image.store import ImageStore, Use
from mydocker.registry.client import Registries
from mydocker.registry.configuration import Configuration
from mydocker.registry.credentials import Given
from mydocker.registry.patience import Patience
from support import archives
from support.fake_registry import FakeRegistry
from support.layout import Layout


@pytest.fixture
def uses() -> list[Use]:
    """The containers that there are."""
    return []


@pytest.fixture
def store(tmp_path: Path, uses: list[Use]) -> ImageStore:
    return ImageStore(str(tmp_path / "root"), used=lambda: list(uses))


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., str]:
    """``archive("name:tag", [layer tars])`` in the form of docker save; the path."""

    def make(name: str, layers: Sequence[bytes], **options: Any) -> str:
        path = str(tmp_path / f"{len(os.listdir(tmp_path))}.tar")
        return archives.docker_archive(path, layers, name=name, **options)

    return make


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def registries() -> Registries:
    """A client that waits for nothing."""
    patience = Patience(delay=0.001, longest=2, connect=5, probe=2, read=5, commit=5)
    return Registries(Configuration(certificates=()), Given("", None), patience=patience)


@pytest.fixture
def told() -> list[Progress]:
    """What a pull or push has told."""
    return []
