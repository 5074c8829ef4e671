"""Being let in: Basic, and Bearer with a token service.

    GET /v2/…                            401, WWW-Authenticate: Bearer realm="https://auth/token",service=…
    GET https://auth/token?service=…&scope=repository:a/b:pull       Basic, or nobody in particular
        {"token": …, "expires_in": 300}
    GET /v2/…                            Authorization: Bearer …

With an identity token the second request is ``POST``, ``grant_type=refresh_token`` (distribution's
spec/auth/token.md and oauth.md). A token is kept until shortly before it expires, for the scopes it was
asked for. Passwords are only sent where their registry says, and not in the clear if it has TLS itself.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from .. import errors
from . import challenge as challenges
from .challenge import Challenge
from .credentials import Auth, Source
from .endpoint import Endpoint
from .failures import TRANSIENT, Subject, refusal
from .message import Reply, Request

Ask = Callable[[Endpoint, Request, str | None, Subject], Reply]

CLIENT_ID = "mydocker"
_LIFETIME = 60.0  # of a token that does not say (token.md)
_MARGIN = 10.0
_TOKEN_LIMIT = 1 << 20
_FINAL = frozenset(range(200, 600)) - TRANSIENT


class _Token(NamedTuple):
    value: str
    expires: float


class Authentication:
    """What has been learned from challenges, credentials and token services, for all endpoints."""

    def __init__(self, credentials: Source, ask: Ask) -> None:
        self._credentials = credentials
        self._ask = ask
        self._auths: dict[str, Auth | None] = {}
        self._tokens: dict[tuple[str, str, str, tuple[str, ...]], _Token] = {}
        self._demanded: dict[tuple[str, tuple[str, ...]], str] = {}
        self.identity_token = ""
        """the refresh token that came with the last token, if one was asked for"""
        self.offline = False
        """ask for a refresh token: it is a login"""

    def header(self, endpoint: Endpoint, scopes: tuple[str, ...], subject: Subject) -> str | None:
        """``Authorization`` for a request, as far as the endpoint has said what it wants."""
        if endpoint.challenge is None:
            return None
        return self._header(endpoint, endpoint.challenge, scopes, subject)

    def answer(
        self, endpoint: Endpoint, wanted: str, scopes: tuple[str, ...], subject: Subject, shown: str | None
    ) -> str | None:
        """``Authorization`` for a request that was refused with ``shown``; None if there is nothing else."""
        offered = {challenge.scheme: challenge for challenge in reversed(challenges.parse(wanted))}
        found = offered.get("bearer") or offered.get("basic")
        if found is None:
            return None
        endpoint.challenge = found
        self._demanded[endpoint.domain, scopes] = found.parameters.get("scope", "")
        if shown is not None and shown.startswith("Bearer "):
            self._tokens = {key: token for key, token in self._tokens.items() if shown[7:] != token.value}
        header = self._header(endpoint, found, scopes, subject)
        return None if header == shown else header

    def _header(
        self, endpoint: Endpoint, challenge: Challenge, scopes: tuple[str, ...], subject: Subject
    ) -> str | None:
        auth = self._auth(endpoint.domain)
        if auth is not None and auth.registry_token:
            return f"Bearer {auth.registry_token}"
        if challenge.scheme == "basic":
            return None if auth is None or not auth.username else _basic(auth)
        return f"Bearer {self._token(endpoint, challenge, scopes, auth, subject)}"

    def _auth(self, domain: str) -> Auth | None:
        if domain not in self._auths:
            self._auths[domain] = self._credentials.get(domain)
        return self._auths[domain]

    def _token(
        self,
        endpoint: Endpoint,
        challenge: Challenge,
        scopes: tuple[str, ...],
        auth: Auth | None,
        subject: Subject,
    ) -> str:
        realm, service = challenge.parameters.get("realm", ""), challenge.parameters.get("service", "")
        scopes = _joined(scopes, self._demanded.get((endpoint.domain, scopes), ""))
        key = (endpoint.domain, realm, service, scopes)
        token = self._tokens.get(key)
        if token is None or token.expires < time.monotonic():
            token = self._tokens[key] = self._fetch(endpoint, realm, service, scopes, auth, subject)
        return token.value

    def _fetch(
        self,
        endpoint: Endpoint,
        realm: str,
        service: str,
        scopes: tuple[str, ...],
        auth: Auth | None,
        subject: Subject,
    ) -> _Token:
        server = _token_service(realm, endpoint, subject)
        if auth is not None and server.scheme == "http" and endpoint.scheme == "https":
            raise errors.Forbidden(
                subject.place(
                    f"{subject.reference}: credentials are not sent to the token service {server}, "
                    "which has no TLS"
                )
            )
        request, header = self._token_request(realm, service, scopes, auth)
        about = subject._replace(reference=f"{subject.reference}: token service {server}")
        reply = self._ask(server, request, header, about)
        if reply.status != 200:
            is_ours = reply.status == 403 or (reply.status == 401 and auth is None)
            blame = subject if is_ours else about._replace(verb="login")
            raise refusal(reply.status, reply.headers, reply.data, blame)
        return self._read(reply.data, about)

    def _token_request(
        self, realm: str, service: str, scopes: tuple[str, ...], auth: Auth | None
    ) -> tuple[Request, str | None]:
        fields = [("service", service)] if service else []
        if auth is not None and auth.identity_token:
            fields += [
                ("grant_type", "refresh_token"),
                ("client_id", CLIENT_ID),
                ("refresh_token", auth.identity_token),
                *([("scope", " ".join(scopes))] if scopes else []),
            ]
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = _form(fields).encode()
            return Request("POST", realm, (), headers, body, _FINAL, _TOKEN_LIMIT, secret=True), None
        fields += [("scope", scope) for scope in scopes]
        if auth is not None:
            fields += [("account", auth.username)]
        if self.offline:
            fields += [("offline_token", "true"), ("client_id", CLIENT_ID)]
        separator = "&" if urlsplit(realm).query else "?"
        url = f"{realm}{separator}{_form(fields)}" if fields else realm
        return (
            Request("GET", url, accept=_FINAL, limit=_TOKEN_LIMIT),
            None if auth is None else _basic(auth),
        )

    def _read(self, data: bytes, subject: Subject) -> _Token:
        try:
            document = json.loads(data)
            value = document.get("token") or document.get("access_token")
            lifetime = float(document.get("expires_in") or _LIFETIME)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise errors.CorruptData(subject.place(f"{subject.reference}: its reply is no token")) from error
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
            raise errors.CorruptData(subject.place(f"{subject.reference}: its reply has no token"))
        if isinstance(document.get("refresh_token"), str):
            self.identity_token = document["refresh_token"]
        lifetime = max(lifetime, _LIFETIME)
        return _Token(value, time.monotonic() + lifetime - _MARGIN)


def _token_service(realm: str, endpoint: Endpoint, subject: Subject) -> Endpoint:
    try:
        parts = urlsplit(realm)
        if parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc:
            return Endpoint(parts.netloc, parts.netloc, scheme=parts.scheme)
    except (ValueError, errors.InvalidArgument):
        pass
    raise errors.CorruptData(
        subject.place(f"{subject.reference}: {endpoint} names no token service that can be asked: {realm!r}")
    )


def _basic(auth: Auth) -> str:
    pair = f"{auth.username}:{auth.password}".encode(errors="surrogateescape")
    return "Basic " + base64.b64encode(pair).decode()


def _form(fields: list[tuple[str, str]]) -> str:
    return urlencode(fields, encoding="utf-8", errors="surrogateescape")


def _joined(scopes: tuple[str, ...], offered: str) -> tuple[str, ...]:
    """Ours, and those of the challenge that ours do not cover."""
    allowed = {scope.rpartition(":")[0]: set(scope.rpartition(":")[2].split(",")) for scope in scopes}
    more = []
    for scope in offered.split():
        name, _, actions = scope.rpartition(":")
        if not set(actions.split(",")) <= allowed.get(name, set()):
            more.append(scope)
    return (*scopes, *more)
