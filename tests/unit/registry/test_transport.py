"""Redirects, retries, rate limits, hosts that are down; each failure names reference and registry."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from mydocker import errors
from mydocker.oci import reference as references
from mydocker.registry.credentials import Auth
from support import faulty
from support.fake_registry import FakeRegistry, error

ALICE = Auth("alice", "open sesame")
Connect = Callable[..., Any]


@pytest.fixture
def full(fake: FakeRegistry) -> FakeRegistry:
    fake.add_manifest("a/b", "1")
    return fake


def failure(repository: Any, kind: type[errors.Error]) -> str:
    with pytest.raises(kind) as caught:
        repository.manifest("1")
    return str(caught.value)


# ---- redirects


def test_a_redirect_is_followed(full: FakeRegistry, connect: Connect) -> None:
    blob = full.add_blob(b"contents")
    with FakeRegistry() as store:
        store.blobs = full.blobs
        full.when("GET", "/blobs/", faulty.redirect(f"{store.url}{{target}}"))
        assert b"".join(connect(full).blob(blob, offset=2, size=8)) == b"ntents"
        assert store.requests[0].headers["range"] == "bytes=2-"


def test_credentials_do_not_follow(connect: Connect) -> None:
    """To another host, or back from there: only who is asked first gets them."""
    with FakeRegistry(users={"alice": ALICE.password}) as fake, FakeRegistry() as other:
        fake.add_manifest("a/b", "0")
        fake.when("GET", "/manifests/1", faulty.redirect(f"{other.url}/elsewhere"))
        other.when("GET", "/elsewhere", faulty.redirect(f"{fake.url}/v2/back"))
        repository = connect(fake, auth=ALICE)
        repository.manifest("0")  # after this it is known that the registry wants them
        failure(repository, errors.Unauthorized)
        assert "authorization" in fake.asked("GET", "/manifests/1")[0].headers
        assert "authorization" not in other.asked("GET", "/elsewhere")[0].headers
        assert "authorization" not in fake.asked("GET", "/v2/back")[0].headers


def test_credentials_stay_on_the_host(connect: Connect) -> None:
    with FakeRegistry(users={"alice": ALICE.password}) as fake:
        fake.add_manifest("a/b", "1")
        fake.add_manifest("a/b", "2")
        fake.when("GET", "/manifests/1", faulty.redirect("/v2/a/b/manifests/2"))
        connect(fake, auth=ALICE).manifest("1")
        assert "authorization" in fake.asked("GET", "/manifests/2")[-1].headers


@pytest.mark.parametrize("target", ["{target}", "/v2/a/b/manifests/1"])
def test_a_redirect_to_itself(full: FakeRegistry, connect: Connect, target: str) -> None:
    full.when("GET", "", faulty.redirect(target))
    assert "redirect loop" in failure(connect(full), errors.Unavailable)
    assert len(full.requests) == 1


def test_redirects_between_two_hosts(full: FakeRegistry, connect: Connect) -> None:
    with FakeRegistry() as other:
        full.when("GET", "", faulty.redirect(f"{other.url}{{target}}"))
        other.when("GET", "", faulty.redirect(f"{full.url}{{target}}"))
        text = failure(connect(full), errors.Unavailable)
        assert f"{full.address}/a/b:1: redirect loop: {full.address} and {full.address}" in text


def test_redirects_without_end(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "", faulty.redirect("{target}x"))
    assert "redirected 11 times" in failure(connect(full), errors.Unavailable)
    assert len(full.requests) == 11


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://[", "http://x:port/", "ftp://x/"])
def test_a_redirect_to_nowhere(full: FakeRegistry, connect: Connect, target: str) -> None:
    full.when("GET", "", faulty.redirect(target))
    assert "which is no URL of HTTP" in failure(connect(full), errors.CorruptData)


def test_a_redirect_to_a_host_that_is_down(full: FakeRegistry, connect: Connect) -> None:
    with faulty.free_port() as port:
        full.when("GET", "", faulty.redirect(f"http://127.0.0.1:{port}/"))
        assert "connection refused" in failure(connect(full), errors.Unavailable)


def test_a_signed_address_is_not_told(full: FakeRegistry, connect: Connect) -> None:
    with faulty.free_port() as port:
        full.when("GET", "", faulty.redirect(f"http://user:pass@127.0.0.1:{port}/?signature=secret"))
        text = failure(connect(full), errors.Unavailable)
        assert "secret" not in text
        assert "pass" not in text


# ---- retries


@pytest.mark.parametrize(
    "spoil", [faulty.hang_up(), faulty.status(502), faulty.status(500, b"<html>oops</html>")]
)
def test_what_may_pass_is_tried_again(full: FakeRegistry, connect: Connect, spoil: faulty.Spoil) -> None:
    full.when("GET", "/manifests/", spoil, times=4)
    assert connect(full).manifest("1")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (faulty.hang_up(), "connection"),
        (faulty.status(500), "replied 500 Internal Server Error"),
        (lambda *_: error(503, "UNAVAILABLE", "service unavailable"), "unavailable: service unavailable"),
    ],
)
def test_five_times_and_no_more(
    full: FakeRegistry, connect: Connect, notices: list[str], spoil: faulty.Spoil, message: str
) -> None:
    full.when("GET", "/manifests/", spoil)
    text = failure(connect(full), errors.Unavailable)
    assert message in text
    assert f"{full.address}/a/b:1" in text
    assert len(full.requests) == 5
    assert len(notices) == 4


@pytest.mark.parametrize("code", [400, 405, 418, 501])
def test_what_will_not_pass_is_not(full: FakeRegistry, connect: Connect, code: int) -> None:
    full.when("GET", "/manifests/", faulty.status(code))
    assert f"replied {code}" in failure(connect(full), errors.Error)
    assert len(full.requests) == 1


def test_a_reply_that_does_not_come(full: FakeRegistry, connect: Connect) -> None:
    from .conftest import SHORT

    full.when("GET", "/manifests/", faulty.delay(2), times=1)
    assert connect(full, patience=SHORT._replace(read=0.2)).manifest("1")
    assert len(full.asked("GET", "/manifests/")) == 2


# ---- rate limits


def test_the_time_that_a_registry_asks_for(full: FakeRegistry, connect: Connect, notices: list[str]) -> None:
    full.when("GET", "/manifests/", faulty.status(429, Retry_After="1"), times=1)
    assert connect(full).manifest("1")
    assert notices == [
        f"{full.address}/a/b:1: toomanyrequests: the registry limits how often it may be asked "
        "(it may be asked again in 1 seconds), retrying in 1 second"
    ]


@pytest.mark.parametrize("wait", ["3600", formatdate(4102444800, usegmt=True)])
def test_a_time_that_nobody_waits(full: FakeRegistry, connect: Connect, wait: str) -> None:
    message = "You have reached your pull rate limit"
    full.when("GET", "", lambda *_: error(429, "TOOMANYREQUESTS", message, Retry_After=wait))
    text = failure(connect(full), errors.TooManyRequests)
    assert text.startswith(f"{full.address}/a/b:1: toomanyrequests: {message}")
    assert wait in text
    assert len(full.requests) == 1


@pytest.mark.parametrize("wait", [None, "soon", "-5"])
def test_a_time_that_is_not_said(full: FakeRegistry, connect: Connect, wait: str | None) -> None:
    headers = {} if wait is None else {"Retry_After": wait}
    full.when("GET", "", faulty.status(429, b"", **headers))
    failure(connect(full), errors.TooManyRequests)
    assert len(full.requests) == 5


# ---- no reply, and replies that hurt


def test_a_registry_that_is_down(registries: Callable[..., Any], notices: list[str]) -> None:
    """It is not waited for: what never answered is more likely mistyped than restarting."""
    with faulty.free_port() as port:
        name = f"127.0.0.1:{port}"
        repository = registries().repository(references.parse(f"{name}/a/b"))
        text = failure(repository, errors.Unavailable)
    assert text.startswith(f"{name}/a/b:1: cannot reach {name}: connection refused")
    assert notices == []


def test_a_name_that_does_not_exist(registries: Callable[..., Any]) -> None:
    text = failure(registries().repository(references.parse("no-such-host.invalid/a/b")), errors.Unavailable)
    assert (
        text
        == "no-such-host.invalid/a/b:1: cannot reach no-such-host.invalid: no such host: no-such-host.invalid"
    )


def test_a_registry_that_goes_down_is_waited_for(connect: Connect, notices: list[str]) -> None:
    with FakeRegistry() as fake:
        fake.add_manifest("a/b", "1")
        fake.when("GET", "", faulty.header("Connection", "close"))
        repository = connect(fake)
        repository.manifest("1")
    failure(repository, errors.Unavailable)
    assert len(notices) == 4


def test_what_a_registry_has_to_say(full: FakeRegistry, connect: Connect, notices: list[str]) -> None:
    full.when("GET", "", faulty.header("Warning", '299 - "this registry will be gone in May"'))
    full.when("HEAD", "", faulty.header("Warning", '110 - "something of HTTP"'))
    repository = connect(full)
    repository.manifest("1")
    repository.manifest("1")
    repository.resolve("1")
    assert notices == [f"{full.address}: this registry will be gone in May"]


def test_a_message_cannot_write_on_the_terminal(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "", lambda *_: error(400, "BAD", "\x1b[31mred\r\n" + "x" * 10_000))
    text = failure(connect(full), errors.InvalidArgument)
    assert re.search(r"bad:  ?\[31mred {1,2}x+…", text)
    assert text.isprintable()
    assert len(text) < 700


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"404 page not found",
        b"[]",
        b'{"errors":[]}',
        b'{"errors":["x"]}',
        b'{"errors":null}',
        b"[" * 100_000,
    ],
)
def test_an_error_without_reason(full: FakeRegistry, connect: Connect, body: bytes) -> None:
    full.when("GET", "", faulty.status(404, body))
    assert (
        failure(connect(full), errors.NotFound) == f"manifest for {full.address}/a/b:1 not found: not found"
    )


def test_not_found_in_dockers_words(full: FakeRegistry, connect: Connect) -> None:
    text = f"manifest for {full.address}/a/b:2 not found: manifest unknown: manifest unknown"
    with pytest.raises(errors.NotFound) as caught:
        connect(full).manifest("2")
    assert str(caught.value) == text
    full.when("GET", "", lambda *_: error(404, "NAME_UNKNOWN", "repository name not known to registry"))
    assert failure(connect(full), errors.NotFound) == (
        f"repository {full.address}/a/b not found: name unknown: repository name not known to registry"
    )
