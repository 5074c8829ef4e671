"""A fake registry, and clients of it that wait for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mydocker.oci import reference as references
from mydocker.registry.client import Registries, Repository
from mydocker.registry.configuration import Configuration
from mydocker.registry.credentials import Auth, Given
from mydocker.registry.patience import Patience
from support.fake_registry import FakeRegistry

SHORT = Patience(delay=0.001, longest=2, connect=5, probe=2, read=5, commit=5)

Connect = Callable[..., Repository]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def notices() -> list[str]:
    """What a person was told."""
    return []


@pytest.fixture
def registries(notices: list[str]) -> Callable[..., Registries]:
    """``registries(configuration, auth for domain)``"""

    def make(
        configuration: Configuration | None = None,
        auth: Auth | None = None,
        domain: str = "",
        patience: Patience = SHORT,
    ) -> Registries:
        return Registries(
            configuration or Configuration(certificates=()),
            Given(domain, auth),
            patience=patience,
            notice=notices.append,
        )

    return make


@pytest.fixture
def connect(registries: Callable[..., Registries]) -> Connect:
    """``connect(fake)``: the repository ``a/b`` on it; ``auth`` are credentials for it."""

    def make(
        fake: FakeRegistry, path: str = "a/b", *, push: bool = False, auth: Auth | None = None, **options: Any
    ) -> Repository:
        made = registries(auth=auth, domain=fake.address, **options)
        return made.repository(references.parse(f"{fake.address}/{path}"), push=push)

    return make
