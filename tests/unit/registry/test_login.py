"""Credentials that are tried before they are stored; and searches."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mydocker import errors
from mydocker.registry.credentials import Auth
from mydocker.registry.login import domain_of, verify
from mydocker.registry.search import Result, search
from support import faulty
from support.fake_registry import FakeRegistry, TokenService

PASSWORD = "open sesame"
ALICE = Auth("alice", PASSWORD)
Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("server", "domain"),
    [
        ("", "docker.io"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("reg.example:5000", "reg.example:5000"),
        ("http://reg.example/v2/", "reg.example"),
    ],
)
def test_domain(server: str, domain: str) -> None:
    assert domain_of(server) == domain


def test_basic(registries: Make) -> None:
    with FakeRegistry(users={"alice": PASSWORD}) as fake:
        assert verify(registries(), fake.address, ALICE) == ALICE
        with pytest.raises(errors.Unauthorized) as caught:
            verify(registries(), fake.address, Auth("alice", "x"))
        assert str(caught.value) == f"login attempt to {fake.url}/v2/ failed with status: 401 Unauthorized"


def test_an_open_registry_takes_anything(fake: FakeRegistry, registries: Make) -> None:
    assert verify(registries(), fake.address, ALICE) == ALICE


def test_a_token_service_gives_a_token_for_the_password(registries: Make) -> None:
    with TokenService(users={"alice": PASSWORD}) as tokens, FakeRegistry(tokens=tokens) as fake:
        auth = verify(registries(), fake.address, ALICE)
        assert auth == Auth("alice", identity_token="refresh-alice")
        assert tokens.requests[0].query("offline_token") == "true"
        assert verify(registries(), fake.address, auth) == auth
        with pytest.raises(errors.Unauthorized, match="unauthorized: incorrect username or password"):
            verify(registries(), fake.address, Auth("alice", "x"))


def test_what_is_stored_does_not_help(registries: Make) -> None:
    """It is what was typed that is checked."""
    with FakeRegistry(users={"alice": PASSWORD}) as fake:
        with pytest.raises(errors.Unauthorized):
            verify(registries(auth=ALICE, domain=fake.address), fake.address, Auth("alice", "x"))
        assert len(fake.asked("GET", "/v2/")) == 2  # without, and with what was typed


def test_what_is_no_registry(fake: FakeRegistry, registries: Make) -> None:
    fake.when("GET", "/v2/", faulty.status(404))
    with pytest.raises(errors.NotSupported, match="failed with status: 404 Not Found"):
        verify(registries(), fake.address, ALICE)


# ---- search

FOUND: list[dict[str, Any]] = [
    {"name": "library/alpine", "description": "small", "star_count": 9, "is_official": True},
    {"name": "you/alpine", "description": None, "star_count": 1, "is_official": False, "is_automated": True},
    {"name": "other", "description": "", "star_count": 0},
]


def test_by_the_index(fake: FakeRegistry, registries: Make) -> None:
    fake.search_results = FOUND
    assert search(registries(), f"{fake.address}/alp") == [
        Result(name="library/alpine", description="small", star_count=9, is_official=True),
        Result(name="you/alpine", description=None, star_count=1, is_automated=True),
    ]
    assert fake.requests[-1].target == "/v1/search?q=alp&n=25"
    assert len(search(registries(), f"{fake.address}/", limit=1)) == 1


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ({"is-official": ["true"]}, 1),
        ({"is-official": ["false"]}, 1),
        ({"is-automated": ["1"]}, 1),
        ({"stars": ["1"]}, 2),
        ({"stars": ["1", "5"]}, 1),
        ({"stars": ["2"], "is-automated": ["0"]}, 1),
    ],
)
def test_filters(fake: FakeRegistry, registries: Make, filters: Any, count: int) -> None:
    fake.search_results = FOUND
    assert len(search(registries(), f"{fake.address}/alpine", filters=filters)) == count


def test_by_the_catalog(fake: FakeRegistry, registries: Make) -> None:
    for name in ("a/alpine", "b/alpine", "busybox", "c/alpine"):
        fake.add_manifest(name, "1")
    fake.page = 1
    assert [found.name for found in search(registries(), f"{fake.address}/alp")] == [
        "a/alpine",
        "b/alpine",
        "c/alpine",
    ]
    fake.requests.clear()
    assert len(search(registries(), f"{fake.address}/alp", limit=1)) == 1
    assert len(fake.asked("GET", "_catalog")) == 1


def test_a_page_for_people_is_no_index(fake: FakeRegistry, registries: Make) -> None:
    fake.add_manifest("alpine", "1")
    fake.when("GET", "/v1/", lambda *_: faulty.Answer(200, {}, b"<!DOCTYPE html>"))
    assert [found.name for found in search(registries(), f"{fake.address}/alp")] == ["alpine"]


def test_a_registry_that_cannot_be_searched(fake: FakeRegistry, registries: Make) -> None:
    fake.when("GET", "", faulty.status(404))
    text = f"search for {fake.address}/alp: {fake.address} replied 404 Not Found"
    with pytest.raises(errors.NotFound, match=text):
        search(registries(), f"{fake.address}/alp")


def test_an_index_behind_a_password(registries: Make) -> None:
    with FakeRegistry(users={"alice": PASSWORD}) as fake:
        fake.add_manifest("alpine", "1")
        assert search(registries(auth=ALICE, domain=fake.address), f"{fake.address}/alp")
        with pytest.raises(errors.Unauthorized, match=f"search for {fake.address}/alp: unauthorized"):
            search(registries(), f"{fake.address}/alp")


@pytest.mark.parametrize("data", [{"results": [{"name": 1}]}, {"results": "x"}])
def test_an_index_that_is_broken(fake: FakeRegistry, registries: Make, data: Any) -> None:
    fake.when("GET", "/v1/", lambda *_: faulty.Answer(200, {}, json.dumps(data).encode()))
    with pytest.raises(errors.CorruptData, match=fake.address):
        search(registries(), f"{fake.address}/alp")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 101}, r"Limit 101 is outside the range of \[1, 100\]"),
        ({"limit": -1}, r"Limit -1 is outside the range of \[1, 100\]"),
        ({"filters": {"x": ["1"]}}, "invalid filter 'x'"),
        ({"filters": {"stars": ["x"]}}, "invalid filter 'stars=x'"),
        ({"filters": {"is-official": ["x"]}}, "invalid filter 'is-official=x'"),
    ],
)
def test_what_cannot_be_searched(registries: Make, options: Any, message: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=message):
        search(registries(), "x", **options)
    with pytest.raises(errors.InvalidArgument, match="has no scheme"):
        search(registries(), "http://reg.example/x")
