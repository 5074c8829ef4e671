"""Who is let in, with what, and that passwords go nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mydocker import errors
from mydocker.registry.challenge import Challenge, parse
from mydocker.registry.credentials import Auth
from support import faulty
from support.fake_registry import FakeRegistry, TokenService, error

PASSWORD = "open sesame"
ALICE = Auth("alice", PASSWORD)
Connect = Callable[..., Any]


@pytest.fixture
def tokens() -> Iterator[TokenService]:
    with TokenService(users={"alice": PASSWORD}) as service:
        yield service


@pytest.fixture
def guarded(tokens: TokenService) -> Iterator[FakeRegistry]:
    """A registry that wants tokens."""
    with FakeRegistry(tokens=tokens) as fake:
        fake.add_manifest("a/b", "1")
        yield fake


def refused(kind: type[errors.Error], act: Callable[[], object]) -> str:
    with pytest.raises(kind) as caught:
        act()
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in repr(caught.value.__cause__)
    return str(caught.value)


# ---- challenges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="x"', [("basic", {"realm": "x"})]),
        ("Basic", [("basic", {})]),
        ('Bearer realm="http://a/?x=1",service=r', [("bearer", {"realm": "http://a/?x=1", "service": "r"})]),
        (
            'Bearer realm="r", scope="repository:a:pull,push repository:b:pull" , error="insufficient_scope"',
            [("bearer", {"realm": "r", "scope": "repository:a:pull,push repository:b:pull",
                         "error": "insufficient_scope"})],
        ),
        ('Basic realm="a, b", Bearer r="c\\"d"', [("basic", {"realm": "a, b"}), ("bearer", {"r": 'c"d'})]),
        ("Negotiate, BEARER Realm = \"x\"", [("negotiate", {}), ("bearer", {"realm": "x"})]),
        ("", []),
        ('="', []),
    ],
)  # fmt: skip
def test_parse(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse(header) == [Challenge(*pair) for pair in expected]


# ---- Basic


def test_basic(connect: Connect) -> None:
    with FakeRegistry(users={"alice": PASSWORD}) as fake:
        fake.add_manifest("a/b", "1")
        repository = connect(fake, auth=ALICE)
        assert repository.manifest("1")
        assert repository.resolve("1")
        shown = ["authorization" in asked.headers for asked in fake.requests if asked.path != "/v2/"]
        assert shown == [False, True, True]


def test_basic_with_characters_of_all_kinds(connect: Connect) -> None:
    odd = "pä:ß\udcff wört"
    with FakeRegistry(users={}) as fake:
        refused(errors.Unauthorized, lambda: connect(fake, auth=Auth("alice", odd)).manifest("1"))
        sent = fake.requests[-1].headers["authorization"].partition(" ")[2]
        assert base64.b64decode(sent) == b"alice:p\xc3\xa4:\xc3\x9f\xff w\xc3\xb6rt"


@pytest.mark.parametrize("auth", [None, Auth("alice", "wrong"), Auth(identity_token="x")])
def test_basic_without_good_credentials(connect: Connect, auth: Auth | None) -> None:
    with FakeRegistry(users={"alice": PASSWORD}) as fake:
        text = refused(errors.Unauthorized, lambda: connect(fake, auth=auth).manifest("1"))
        hint = f"try 'mydocker login {fake.address}'"
        assert text == f"{fake.address}/a/b:1: unauthorized: authentication required ({hint})"


# ---- Bearer


def test_anonymous(guarded: FakeRegistry, tokens: TokenService, connect: Connect) -> None:
    assert connect(guarded).manifest("1")
    asked = tokens.requests[0]
    assert asked.query("service") == "fake"
    assert asked.queries("scope") == ["repository:a/b:pull"]
    assert "authorization" not in asked.headers


def test_with_a_password(guarded: FakeRegistry, tokens: TokenService, connect: Connect) -> None:
    tokens.grant = lambda user, _scope: user == "alice"
    assert connect(guarded, auth=ALICE).manifest("1")
    assert tokens.requests[0].query("account") == "alice"
    assert all(not asked.headers.get("authorization", "").startswith("Basic") for asked in guarded.requests)


def test_to_push(guarded: FakeRegistry, tokens: TokenService, connect: Connect) -> None:
    repository = connect(guarded, push=True, auth=ALICE)
    data = b"contents"
    digest = guarded.add_blob(data, "other/place")
    assert repository.mount(digest, "other/place")
    assert tokens.requests[-1].queries("scope") == ["repository:a/b:pull,push", "repository:other/place:pull"]
    repository.put_manifest("2", "application/vnd.oci.image.manifest.v1+json", b"{}")
    assert tokens.requests[-1].queries("scope") == ["repository:a/b:pull,push"]


def test_a_token_is_used_as_long_as_it_is_good(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect
) -> None:
    repository = connect(guarded)
    for _ in range(3):
        repository.manifest("1")
    assert len(tokens.requests) == 1
    assert [asked.method for asked in guarded.asked("GET", "/manifests/")] == ["GET"] * 4


def test_a_token_that_the_registry_takes_no_more(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect
) -> None:
    repository = connect(guarded)
    repository.manifest("1")
    tokens.tokens.clear()
    assert repository.manifest("1")
    assert len(tokens.requests) == 2


def test_a_token_that_expires(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens.expires_in = 100
    repository = connect(guarded)
    repository.manifest("1")
    now = __import__("time").monotonic()
    monkeypatch.setattr("mydocker.registry.authentication.time.monotonic", lambda: now + 80)
    repository.manifest("1")
    assert len(tokens.requests) == 1
    monkeypatch.setattr("mydocker.registry.authentication.time.monotonic", lambda: now + 95)
    repository.manifest("1")
    assert len(tokens.requests) == 2


def test_an_identity_token(guarded: FakeRegistry, tokens: TokenService, connect: Connect) -> None:
    tokens.refresh["long lived"] = "alice"
    tokens.grant = lambda user, _scope: user == "alice"
    assert connect(guarded, auth=Auth("alice", identity_token="long lived")).manifest("1")
    asked = tokens.requests[0]
    assert asked.method == "POST"
    assert b"grant_type=refresh_token" in asked.body
    assert b"client_id=mydocker" in asked.body
    assert b"scope=repository%3Aa%2Fb%3Apull" in asked.body


def test_a_registry_token(guarded: FakeRegistry, tokens: TokenService, connect: Connect) -> None:
    tokens.tokens["ready made"] = frozenset(("repository:a/b:pull",))
    assert connect(guarded, auth=Auth(registry_token="ready made")).manifest("1")
    assert tokens.requests == []


def test_what_the_registry_asks_for_beyond_it(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect
) -> None:
    wanted = f'Bearer realm="{tokens.realm}",scope="repository:a/b:pull extra:thing:*"'
    guarded.when("GET", "", lambda *_: error(401, "UNAUTHORIZED", "", WWW_Authenticate=wanted), times=1)
    assert connect(guarded).manifest("1")
    assert tokens.requests[0].queries("scope") == ["repository:a/b:pull", "extra:thing:*"]


# ---- refusals, in Docker's words


def test_pull_access_denied(guarded: FakeRegistry, tokens: TokenService, connect: Connect) -> None:
    tokens.grant = lambda _user, _scope: False
    text = refused(errors.Forbidden, lambda: connect(guarded).manifest("1"))
    assert text == (
        f"pull access denied for {guarded.address}/a/b, repository does not exist or may require "
        f"'mydocker login {guarded.address}': denied: requested access to the resource is denied"
    )


def test_push_denied(guarded: FakeRegistry, tokens: TokenService, connect: Connect) -> None:
    tokens.grant = lambda _user, scope: scope.endswith(":pull")
    repository = connect(guarded, push=True, auth=ALICE)
    text = refused(
        errors.Forbidden, lambda: repository.upload("sha256:" + "0" * 64, 1, lambda _: iter([b"x"]))
    )
    assert text == f"{guarded.address}/a/b: denied: requested access to the resource is denied"


@pytest.mark.parametrize("body", [b"", b'{"errors":[{"code":"DENIED","message":"not for you"}]}'])
def test_403(fake: FakeRegistry, connect: Connect, body: bytes) -> None:
    fake.when("GET", "", faulty.status(403, body))
    text = refused(errors.Forbidden, lambda: connect(fake).manifest("1"))
    assert text.startswith(
        f"pull access denied for {fake.address}/a/b, repository does not exist or may require"
    )
    assert text.endswith(
        "denied: not for you" if body else "denied: requested access to the resource is denied"
    )


def test_a_wrong_password(guarded: FakeRegistry, tokens: TokenService, connect: Connect) -> None:
    text = refused(errors.Unauthorized, lambda: connect(guarded, auth=Auth("alice", "x")).manifest("1"))
    assert text == (
        f"{guarded.address}/a/b:1: token service {tokens.address}: unauthorized: "
        f"incorrect username or password (try 'mydocker login {guarded.address}')"
    )


def test_a_token_service_that_lets_nobody_in(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect
) -> None:
    tokens.when("GET", "", faulty.status(403), times=1)
    text = refused(errors.Forbidden, lambda: connect(guarded).manifest("1"))
    assert text.startswith(f"pull access denied for {guarded.address}/a/b, repository does not exist or")
    tokens.when("GET", "", faulty.status(401), times=1)
    text = refused(errors.Unauthorized, lambda: connect(guarded).manifest("1"))
    assert text.startswith(f"{guarded.address}/a/b:1: unauthorized: authentication required (try ")


def test_a_refresh_token_that_is_not_known(guarded: FakeRegistry, connect: Connect) -> None:
    auth = Auth(identity_token="nobody")
    assert "unknown refresh token" in refused(
        errors.Unauthorized, lambda: connect(guarded, auth=auth).manifest("1")
    )


def test_401_without_a_challenge(fake: FakeRegistry, connect: Connect) -> None:
    fake.when("GET", "", faulty.status(401))
    assert "unauthorized: authentication required" in refused(
        errors.Unauthorized, lambda: connect(fake, auth=ALICE).manifest("1")
    )
    assert len(fake.requests) == 1


# ---- token services that are no good


def test_an_identity_token_that_is_sent_elsewhere(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect
) -> None:
    with TokenService() as other:
        tokens.when("POST", "/token", faulty.redirect(f"{other.url}{{target}}"))
        auth = Auth(identity_token="long lived")
        text = refused(errors.Forbidden, lambda: connect(guarded, auth=auth).manifest("1"))
        assert f"{tokens.address} redirects to {other.address}, where credentials are not sent" in text
        assert other.requests == []


def test_a_token_service_that_is_not_there(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect
) -> None:
    tokens.when("GET", "/token", faulty.status(404))
    text = refused(errors.NotFound, lambda: connect(guarded).manifest("1"))
    assert text.startswith(f"{guarded.address}/a/b:1: token service {tokens.address}: ")
    assert text.endswith("replied 404 Not Found")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"token":7}',
        b'{"token":"a\\r\\nb"}',
        b'{"token":"x","expires_in":"y"}',
    ],
)
def test_a_reply_that_is_no_token(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect, body: bytes
) -> None:
    tokens.when("GET", "/token", lambda *_: faulty.Answer(200, {}, body))
    text = refused(errors.CorruptData, lambda: connect(guarded).manifest("1"))
    assert f"token service {tokens.address}: its reply" in text


@pytest.mark.parametrize(
    "realm", ["", "/token", "file:///etc/passwd", "http://user@host/", "http://[", "http://x:99999/"]
)
def test_a_realm_that_cannot_be_asked(fake: FakeRegistry, connect: Connect, realm: str) -> None:
    wanted = f'Bearer realm="{realm}"'
    fake.when("GET", "", lambda *_: error(401, "UNAUTHORIZED", "", WWW_Authenticate=wanted))
    text = refused(errors.CorruptData, lambda: connect(fake, auth=ALICE).manifest("1"))
    assert f"{fake.address} names no token service that can be asked" in text


def test_a_token_service_that_fails_for_a_while(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect
) -> None:
    tokens.when("GET", "", faulty.status(503), times=2)
    tokens.when("GET", "", faulty.hang_up(), times=2)
    assert connect(guarded).manifest("1")


def test_a_token_service_that_is_down(fake: FakeRegistry, connect: Connect, notices: list[str]) -> None:
    with faulty.free_port() as port:
        wanted = f'Bearer realm="http://127.0.0.1:{port}/token"'
        fake.when("GET", "", lambda *_: error(401, "UNAUTHORIZED", "", WWW_Authenticate=wanted))
        text = refused(errors.Unavailable, lambda: connect(fake).manifest("1"))
    assert f"{fake.address}/a/b:1: token service 127.0.0.1:{port}: cannot reach 127.0.0.1:{port}" in text
    assert notices == []


def test_a_token_service_that_sends_elsewhere(
    guarded: FakeRegistry, tokens: TokenService, connect: Connect
) -> None:
    """The password stays with the service that the registry named."""
    with TokenService() as other:
        tokens.when("GET", "/token", faulty.redirect(f"{other.url}{{target}}"))
        refused(errors.Unauthorized, lambda: connect(guarded, auth=ALICE).manifest("1"))
        assert other.requests
        assert all("authorization" not in asked.headers for asked in other.requests)
