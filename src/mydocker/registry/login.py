"""Whether credentials are any good: ``GET /v2/`` with them, as ``docker login`` does.

A token service is asked for a refresh token as well (``offline_token=true``, distribution's
spec/auth/token.md); one that gives it spares its user from having the password stored.

Out of scope: where credentials are kept (``credentials.py``), who is asked for them (``cli/``).
"""

from __future__ import annotations

from http.client import responses

from .. import errors
from ..oci.reference import DEFAULT_DOMAIN, LEGACY_DOMAIN
from .client import Registries
from .credentials import Auth, Given
from .failures import TRANSIENT, Subject
from .message import Request

_FINAL = frozenset(range(200, 600)) - TRANSIENT


def domain_of(server: str) -> str:
    """The domain that the references of ``server`` have: ``https://reg.example/v1/`` -> ``reg.example``."""
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DEFAULT_DOMAIN if host in ("", LEGACY_DOMAIN) else host


def verify(registries: Registries, domain: str, auth: Auth) -> Auth:
    """What is to be stored for ``domain`` in place of ``auth``; ``Unauthorized`` if it is refused."""
    fresh = Registries(
        registries.configuration,
        Given(domain, auth),
        patience=registries.transport.patience,
        notice=registries.notice,
    )
    fresh.transport.authentication.offline = True
    endpoint = fresh.endpoints(domain)[-1]
    subject = Subject(domain, domain, domain, "login")
    reply = fresh.transport.send(endpoint, Request("GET", "/v2/", accept=_FINAL), subject)
    if reply.status != 200:
        phrase = f"{reply.status} {responses.get(reply.status, '')}".rstrip()
        kind = errors.Unauthorized if reply.status in (401, 403) else errors.NotSupported
        raise kind(f"login attempt to {reply.url} failed with status: {phrase}")
    token = fresh.transport.authentication.identity_token
    return Auth(auth.username, identity_token=token) if token else auth
