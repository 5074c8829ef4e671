"""The credentials that a person has stored, in Docker's ``config.json``, so that both programs share them.

    {"auths": {"localhost:5000": {"auth": base64("user:password")},
               "https://index.docker.io/v1/": {"auth": …, "identitytoken": …}},
     "credsStore": "secretservice",                     a helper for every registry
     "credHelpers": {"registry.example": "pass"}}       a helper for one

The directory is ``--config``, ``$DOCKER_CONFIG`` or ``~/.docker``. What else is in the file belongs to others
and is kept. Docker Hub goes by the name that it had in 2013, ``https://index.docker.io/v1/``.

Out of scope: whether they are any good (``login.py``), how a helper is talked to (``helper.py``).
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from .. import errors
from ..content import files
from ..oci.reference import DEFAULT_DOMAIN, LEGACY_DOMAIN
from . import helper

HUB = "https://index.docker.io/v1/"


class Auth(NamedTuple):
    """Either a name and a password, or a token; never shown, not even by ``repr``."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    """an OAuth2 refresh token, for the token service"""
    registry_token: str = ""
    """a Bearer token, for the registry itself"""

    def __repr__(self) -> str:
        return f"Auth({self.username!r})"


class Source(Protocol):
    """Where a request gets its credentials from."""

    def get(self, domain: str) -> Auth | None:
        """Those for a registry, by the domain of its references."""


class Given:
    """The same credentials for one domain only, as they were typed."""

    def __init__(self, domain: str, auth: Auth | None) -> None:
        self._domain = domain
        self._auth = auth

    def get(self, domain: str) -> Auth | None:
        return self._auth if domain == self._domain else None


def server_of(domain: str) -> str:
    """What config.json calls the registry of that domain."""
    return HUB if domain in (DEFAULT_DOMAIN, LEGACY_DOMAIN) else domain


class Credentials:
    """``directory``: Docker's client configuration; the default one without it. Nothing is opened yet."""

    def __init__(self, directory: str = "") -> None:
        given = directory or os.environ.get("DOCKER_CONFIG", "")
        self.directory = given or os.path.join(os.path.expanduser("~"), ".docker")

    @property
    def path(self) -> str:
        return os.path.join(self.directory, "config.json")

    def get(self, domain: str) -> Auth | None:
        """Raises ``InvalidArgument`` for a file, ``Unavailable`` for a helper that cannot be used."""
        document = self._read()
        server = server_of(domain)
        name = self._helper(document, server)
        if name:
            found = helper.get(name, server)
            if found is None:
                return None
            username, secret = found
            if username == helper.TOKEN:
                return Auth(identity_token=secret)
            return Auth(username, secret)
        entry = _entry(_table(document, "auths", self.path), server)
        return None if entry is None else self._auth(server, entry)

    def _auth(self, server: str, entry: dict[str, Any]) -> Auth | None:
        username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
        encoded = entry.get("auth")
        if encoded:
            try:
                text = base64.b64decode(str(encoded), validate=True).decode(errors="surrogateescape")
            except (binascii.Error, ValueError) as error:
                raise errors.InvalidArgument(f"{self.path}: auths: {server}: auth is not base64") from error
            username, colon, password = text.partition(":")
            if not colon:
                raise errors.InvalidArgument(f"{self.path}: auths: {server}: auth is not user:password")
        bearer = str(entry.get("registrytoken") or "")
        if not (bearer.isascii() and bearer.isprintable()):
            raise errors.InvalidArgument(f"{self.path}: auths: {server}: registrytoken is no token")
        auth = Auth(username, password, str(entry.get("identitytoken") or ""), bearer)
        return auth if any(auth) else None

    def _helper(self, document: dict[str, Any], server: str) -> str:
        helpers = _table(document, "credHelpers", self.path)
        names = (server, DEFAULT_DOMAIN) if server == HUB else (server,)
        name = next((helpers[n] for n in names if n in helpers), document.get("credsStore") or "")
        if not isinstance(name, str) or "/" in name:
            raise errors.InvalidArgument(f"{self.path}: {name!r} is not the name of a credential helper")
        return name

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise errors.Forbidden(f"cannot read {self.path}: {error.strerror}") from error
        if not data.strip():
            return {}
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise errors.InvalidArgument(f"cannot read {self.path}: not JSON: {error}") from error
        if not isinstance(document, dict):
            raise errors.InvalidArgument(f"cannot read {self.path}: not a JSON object")
        return document

    def store(self, domain: str, auth: Auth) -> str:
        """Keep them; returns the path of the file if it has a password in clear that it had not before."""
        server = server_of(domain)
        with self._writing() as document:
            name = self._helper(document, server)
            auths = document["auths"]
            entry = {} if name else _encoded(auth)
            known = auths.get(server)
            kept = known.items() if isinstance(known, dict) else ()
            auths[server] = {key: value for key, value in kept if key not in _SECRETS} | entry
            if name:
                username, secret = auth.username, auth.password
                if auth.identity_token:
                    username, secret = helper.TOKEN, auth.identity_token
                helper.store(name, server, username, secret)
            is_news = not name and bool(auth.password) and auths[server] != known
        return self.path if is_news else ""

    def erase(self, domain: str) -> bool:
        """Forget them; false when there was nothing to forget."""
        server = server_of(domain)
        with self._writing() as document:
            name = self._helper(document, server)
            auths = document["auths"]
            key = next((k for k in auths if _same(k, server)), None)
            if key is not None:
                del auths[key]
            if name:
                helper.erase(name, server)
        return bool(name) or key is not None

    @contextmanager
    def _writing(self) -> Iterator[dict[str, Any]]:
        """The document, which is written when the block ends well; one process at a time."""
        os.makedirs(self.directory, 0o700, exist_ok=True)
        lock = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            document = self._read()
            document["auths"] = _table(document, "auths", self.path)
            before = json.dumps(document)
            yield document
            if json.dumps(document) != before:
                data = json.dumps(document, indent="\t", ensure_ascii=False).encode()
                files.replace(os.path.realpath(self.path), data, 0o600)
        finally:
            os.close(lock)


_SECRETS = frozenset(("auth", "username", "password", "identitytoken", "registrytoken"))


def _encoded(auth: Auth) -> dict[str, str]:
    entry = {}
    if auth.username or auth.password:
        password = "" if auth.identity_token else auth.password
        entry["auth"] = base64.b64encode(
            f"{auth.username}:{password}".encode(errors="surrogateescape")
        ).decode()
    if auth.identity_token:
        entry["identitytoken"] = auth.identity_token
    return entry


def _table(document: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    table = document.get(name) or {}
    if not isinstance(table, dict):
        raise errors.InvalidArgument(f"{path}: {name} is not an object")
    return table


def _entry(auths: dict[str, Any], server: str) -> dict[str, Any] | None:
    """By the exact name, or by one that older clients have written for the same host."""
    keys = [server, *(key for key in auths if _same(key, server))]
    return next((auths[key] for key in keys if isinstance(auths.get(key), dict)), None)


def _same(key: str, server: str) -> bool:
    return _host(key) == _host(server)


def _host(server: str) -> str:
    host = server.removeprefix("http://").removeprefix("https://").partition("/")[0]
    return LEGACY_DOMAIN if host in (DEFAULT_DOMAIN, "registry-1.docker.io") else host
