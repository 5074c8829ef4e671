"""A registry in memory, as small as distribution-spec 1.1 allows, and a token service.

    with FakeRegistry() as registry:
        registry.add_blob(b"…"); registry.add_manifest("a/b", "1", media_type, data)

    with TokenService(users={"alice": "secret"}) as tokens, FakeRegistry(tokens=tokens) as registry: …

What it can do wrong is in ``support.faulty``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.faulty import Answer, Asked, Server

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_ROUTE = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs/uploads|blobs|tags)/(?P<rest>[^/]*)$")

Grant = Callable[[str, str], bool]
"""``grant(user, scope)``: whether the token may have it; the user is empty for nobody in particular"""


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def error(status: int, code: str, message: str, **headers: str) -> Answer:
    document = {"errors": [{"code": code, "message": message}]}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "application/json", **named}, json.dumps(document).encode())


class TokenService(Server):
    """``GET /token`` and ``POST /token``; ``users`` are names and passwords, ``refresh`` identity tokens."""

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        grant: Grant = lambda _user, _scope: True,
        expires_in: int | None = 300,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.users = dict(users or {})
        self.refresh: dict[str, str] = {}
        """identity token -> user"""
        self.grant = grant
        self.expires_in = expires_in
        self.tokens: dict[str, frozenset[str]] = {}
        """token -> scopes, one action each: ``repository:a/b:pull``"""

    @property
    def realm(self) -> str:
        return f"{self.url}/token"

    def answer(self, asked: Asked) -> Answer:
        if asked.method == "POST":
            form = parse_qs(asked.body.decode())
            user = self.refresh.get(form.get("refresh_token", [""])[0], "")
            scopes = form.get("scope", [""])[0].split()
            if not user:
                return error(401, "UNAUTHORIZED", "unknown refresh token")
        else:
            scopes = asked.queries("scope")
            user, known = self._user(asked)
            if not known:
                return Answer(401, {}, json.dumps({"details": "incorrect username or password"}).encode())
        single = [one for scope in scopes for one in _single(scope)]
        token = secrets.token_urlsafe(16)
        with self.lock:
            self.tokens[token] = frozenset(one for one in single if self.grant(user, one))
        document: dict[str, Any] = {"token": token, "expires_in": self.expires_in}
        if asked.query("offline_token") == "true" and user:
            self.refresh[f"refresh-{user}"] = user
            document["refresh_token"] = f"refresh-{user}"
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def _user(self, asked: Asked) -> tuple[str, bool]:
        given = basic(asked)
        if given is None:
            return "", True
        return given[0], self.users.get(given[0]) == given[1]


def basic(asked: Asked) -> tuple[str, str] | None:
    """User and password of the request."""
    kind, _, value = asked.headers.get("authorization", "").partition(" ")
    if kind != "Basic":
        return None
    user, _, password = base64.b64decode(value).decode(errors="surrogateescape").partition(":")
    return user, password


def _single(scope: str) -> list[str]:
    name, _, actions = scope.rpartition(":")
    return [f"{name}:{action}" for action in actions.split(",")]


class FakeRegistry(Server):
    """Open to everyone, or to ``users`` by Basic, or to those with a token of ``tokens``."""

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        tokens: TokenService | None = None,
        absolute: bool = True,
        chunk_minimum: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.users = users
        self.tokens = tokens
        self.absolute = absolute
        """whether Location is a URL, or a path only"""
        self.chunk_minimum = chunk_minimum
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.search_results: list[dict[str, Any]] | None = None
        """what GET /v1/search has; None: there is no such thing"""
        self.page = 1 << 30
        """entries of a listing that go into one reply"""

    # ---- contents

    def add_blob(self, data: bytes, name: str = "a/b") -> str:
        digest = digest_of(data)
        self.blobs[name, digest] = data
        return digest

    def add_manifest(
        self,
        name: str,
        reference: str,
        data: bytes = b'{"schemaVersion":2,"layers":[]}',
        kind: str = OCI_MANIFEST,
    ) -> str:
        digest = digest_of(data)
        self.manifests[name, reference] = self.manifests[name, digest] = (kind, data)
        return digest

    # ---- answers

    def answer(self, asked: Asked) -> Answer:
        if asked.path.startswith("/v1/"):
            return self._search(asked)
        refused = self._refused(asked)
        if refused is not None:
            return refused
        if asked.path == "/v2/":
            return Answer(200, {"Docker-Distribution-API-Version": "registry/2.0"}, b"{}")
        if asked.path == "/v2/_catalog":
            names = sorted({name for name, _ in self.manifests})
            return self._listing(asked, "/v2/_catalog", "repositories", names)
        route = _ROUTE.match(asked.path)
        if route is None:
            return Answer(404, {}, b"404 page not found")
        name, kind, rest = route["name"], route["kind"], route["rest"]
        with self.lock:
            if kind == "tags":
                tags = sorted(tag for owner, tag in self.manifests if owner == name and ":" not in tag)
                return self._listing(asked, f"/v2/{name}/tags/list", "tags", tags, {"name": name})
            if kind == "manifests":
                return self._manifest(asked, name, rest)
            if kind == "blobs":
                return self._blob(asked, name, rest)
            return self._upload(asked, name, rest)

    def _refused(self, asked: Asked) -> Answer | None:
        if self.tokens is not None:
            return self._without_token(asked, self.tokens)
        given = basic(asked)
        if self.users is None or (given is not None and self.users.get(given[0]) == given[1]):
            return None
        wanted = 'Basic realm="fake"'
        return error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=wanted)

    def _without_token(self, asked: Asked, tokens: TokenService) -> Answer | None:
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        needed = _scopes(asked)
        allowed = tokens.tokens.get(token)
        if allowed is not None and needed <= allowed:
            return None
        wanted = f'Bearer realm="{tokens.realm}",service="fake"'
        if needed:
            wanted += f',scope="{" ".join(sorted(needed))}"'
        if allowed is not None:
            wanted += ',error="insufficient_scope"'
        return error(401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=wanted)

    def _manifest(self, asked: Asked, name: str, reference: str) -> Answer:
        if asked.method == "PUT":
            digest = self.add_manifest(name, reference, asked.body, asked.headers["content-type"])
            return Answer(
                201, {"Docker-Content-Digest": digest, "Location": f"/v2/{name}/manifests/{digest}"}
            )
        found = self.manifests.get((name, reference))
        if found is None:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        kind, data = found
        return Answer(
            200, {"Content-Type": kind, "Docker-Content-Digest": digest_of(data)} | _length(data), data
        )

    def _blob(self, asked: Asked, name: str, digest: str) -> Answer:
        data = self.blobs.get((name, digest))
        if data is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        wanted = asked.headers.get("range", "").removeprefix("bytes=").partition("-")[0]
        if not wanted:
            return Answer(200, _length(data), data)
        first = int(wanted)
        if first >= len(data):
            return Answer(416, {"Content-Range": f"bytes */{len(data)}"})
        span = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        return Answer(206, span | _length(data[first:]), data[first:])

    def _upload(self, asked: Asked, name: str, session: str) -> Answer:
        if asked.method == "POST":
            source = asked.query("from"), asked.query("mount")
            if source in self.blobs:
                self.blobs[name, source[1]] = self.blobs[source]
                return Answer(201, {"Location": f"/v2/{name}/blobs/{source[1]}"})
            session = secrets.token_hex(8)
            self.uploads[session] = bytearray()
            return Answer(202, self._where(name, session))
        if session not in self.uploads:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        held = self.uploads[session]
        if asked.method == "GET":
            return Answer(204, self._where(name, session))
        if asked.method == "PATCH":
            first = asked.headers.get("content-range", "0-").partition("-")[0]
            if int(first) != len(held):
                return Answer(416, self._where(name, session))
            held += asked.body
            return Answer(202, self._where(name, session))
        held += asked.body
        digest = asked.query("digest")
        del self.uploads[session]
        if digest != digest_of(bytes(held)):
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs[name, digest] = bytes(held)
        return Answer(201, {"Docker-Content-Digest": digest, "Location": f"/v2/{name}/blobs/{digest}"})

    def interrupted(self, asked: Asked) -> None:
        """What came of a broken upload is kept."""
        session = asked.path.rpartition("/")[2]
        if session in self.uploads and asked.method in ("PATCH", "PUT"):
            self.uploads[session] += asked.body

    def _where(self, name: str, session: str) -> dict[str, str]:
        held = len(self.uploads[session])
        path = f"/v2/{name}/blobs/uploads/{session}?state={held}"
        headers = {
            "Location": f"{self.url}{path}" if self.absolute else path,
            "Range": f"0-{max(0, held - 1)}",
        }
        if self.chunk_minimum:
            headers["OCI-Chunk-Min-Length"] = str(self.chunk_minimum)
        return headers

    def _listing(
        self, asked: Asked, path: str, key: str, names: list[str], more: Mapping[str, str] | None = None
    ) -> Answer:
        after = asked.query("last")
        rest = [name for name in names if name > after]
        shown = rest[: min(self.page, int(asked.query("n") or len(rest) or 1))]
        headers = {"Content-Type": "application/json"}
        if len(shown) < len(rest):
            headers["Link"] = f'<{path}?last={shown[-1]}&n={len(shown)}>; rel="next"'
        return Answer(200, headers, json.dumps({**(more or {}), key: shown or None}).encode())

    def _search(self, asked: Asked) -> Answer:
        if self.search_results is None or asked.path != "/v1/search":
            return Answer(404, {}, b"404 page not found")
        wanted, count = asked.query("q"), int(asked.query("n"))
        found = [result for result in self.search_results if wanted in result["name"]][:count]
        document = {"num_results": len(found), "query": wanted, "results": found}
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(document).encode())


def _length(data: bytes) -> dict[str, str]:
    return {"Content-Length": str(len(data))}


def _scopes(asked: Asked) -> frozenset[str]:
    """What a token must allow for this request (distribution's spec/auth/scope.md)."""
    if asked.path == "/v2/":
        return frozenset()
    if asked.path == "/v2/_catalog":
        return frozenset(("registry:catalog:*",))
    name = urlsplit(asked.target).path.removeprefix("/v2/")
    for part in ("/manifests/", "/blobs/", "/tags/"):
        name = name.partition(part)[0]
    actions = (
        ("pull",) if asked.method in ("GET", "HEAD") and "/uploads/" not in asked.path else ("pull", "push")
    )
    scopes = {f"repository:{name}:{action}" for action in actions}
    if asked.query("from"):
        scopes.add(f"repository:{asked.query('from')}:pull")
    return frozenset(scopes)
