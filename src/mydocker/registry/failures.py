"""What a registry answers when it refuses, and what the network does when there is no answer, as errors.

    {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": …}]}

(distribution-spec, Error Codes). The words are Docker's, which scripts look for; reference and registry are
always among them. What a server writes is shown without control characters, and not at any length.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from urllib3 import exceptions

from .. import errors
from ..oci.reference import DEFAULT_DOMAIN
from .challenge import parse
from .configuration import DEFAULT_PATH

_SHOWN = 500
_UNREACHED = ": Failed to establish a new connection: "
"""what urllib3 puts before the words of a SOCKS proxy"""
TRANSIENT = frozenset((408, 425, 429, 500, 502, 503, 504))
"""statuses after which the same request may succeed"""


class Subject(NamedTuple):
    """What a request is about, for messages."""

    domain: str
    """of the registry: ``docker.io``"""
    name: str
    """``alpine``, ``localhost:5000/alpine``; or what else is wanted from the registry"""
    reference: str
    """``alpine:3.20``"""
    verb: str = "pull"
    """or ``push``, ``search``, ``login``; ``fetch`` from who is no registry"""
    blob: str = ""
    """digest, if it is about one"""

    def place(self, text: str) -> str:
        """``text`` with the registry named, if it does not name it already."""
        return text if self.domain in text else f"{text} (registry {self.domain})"

    @property
    def login(self) -> str:
        return "mydocker login" if self.domain == DEFAULT_DOMAIN else f"mydocker login {self.domain}"


class _Said(NamedTuple):
    code: str
    message: str

    def __str__(self) -> str:
        """``manifest unknown: no such tag``, as Docker prints it."""
        code = self.code.lower().replace("_", " ")
        return f"{code}: {self.message}" if code and self.message else code or self.message


def refusal(status: int, headers: Mapping[str, str], data: bytes, subject: Subject) -> errors.Error:
    """The error that this reply is."""
    said = _read(data)
    if status == 429 or said.code == "TOOMANYREQUESTS":
        return errors.TooManyRequests(_too_many(said, headers, subject))
    if status in (401, 403) or said.code in ("DENIED", "UNAUTHORIZED"):
        return _denied(status, headers, said, subject)
    if status in (404, 410) and subject.verb in ("pull", "push"):
        return errors.NotFound(_not_found(said, subject))
    detail = f": {said}" if str(said) else ""
    text = subject.place(f"{subject.reference}: {subject.domain} replied {_phrase(status)}{detail}")
    if status in (404, 410):
        return errors.NotFound(text)
    if said.code == "DIGEST_INVALID":
        return errors.CorruptData(text)
    if status in TRANSIENT or status >= 500:
        return errors.Unavailable(text)
    if status in (405, 415, 501) or said.code == "UNSUPPORTED":
        return errors.NotSupported(text)
    return errors.InvalidArgument(text) if status in (400, 413, 422) else errors.Unavailable(text)


def _too_many(said: _Said, headers: Mapping[str, str], subject: Subject) -> str:
    message = said.message or "the registry limits how often it may be asked"
    wait = headers.get("Retry-After", "").strip()
    text = f"{subject.reference}: toomanyrequests: {message}"
    if wait:
        text += (
            f" (it may be asked again {f'in {wait} seconds' if wait.isdecimal() else f'at {clean(wait)}'})"
        )
    return subject.place(text)


def _denied(status: int, headers: Mapping[str, str], said: _Said, subject: Subject) -> errors.Error:
    refused = status == 403 or said.code == "DENIED" or _is_insufficient(headers)
    if not refused:
        message = said.message or "authentication required"
        hint = f" (try '{subject.login}')" if subject.verb != "fetch" else ""
        return errors.Unauthorized(subject.place(f"{subject.reference}: unauthorized: {message}{hint}"))
    message = said.message if said.code == "DENIED" and said.message else ""
    message = f"denied: {message or 'requested access to the resource is denied'}"
    if subject.verb != "pull":
        return errors.Forbidden(subject.place(f"{subject.reference}: {message}"))
    return errors.Forbidden(
        subject.place(
            f"pull access denied for {subject.name}, repository does not exist or may require "
            f"'{subject.login}': {message}"
        )
    )


def _is_insufficient(headers: Mapping[str, str]) -> bool:
    """A Bearer token was good, but not for this (RFC 6750, 3.1)."""
    challenges = parse(headers.get("WWW-Authenticate", ""))
    return any(challenge.parameters.get("error") == "insufficient_scope" for challenge in challenges)


def _not_found(said: _Said, subject: Subject) -> str:
    if said.code == "NAME_UNKNOWN":
        return subject.place(f"repository {subject.name} not found: {said}")
    what = (
        f"blob {subject.blob} of {subject.reference}" if subject.blob else f"manifest for {subject.reference}"
    )
    if subject.reference == subject.name and not subject.blob:
        what = f"repository {subject.name}"
    return subject.place(f"{what} not found: {said if str(said) else 'not found'}")


def _read(data: bytes) -> _Said:
    """The first error of the body; also in the forms of token services and of plain text servers."""
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError):
        return _Said("", "")  # a page for people, from whatever stands before the registry
    if not isinstance(document, dict):
        return _Said("", "")
    listed = document.get("errors")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return _Said(clean(listed[0].get("code")), clean(listed[0].get("message")))
    for key in ("error_description", "details", "message", "error"):
        if isinstance(document.get(key), str):
            return _Said("", clean(document[key]))
    return _Said("", "")


def clean(text: object) -> str:
    """What a server wrote, fit for a terminal."""
    if not isinstance(text, str):
        return ""
    line = "".join(c if c.isprintable() else " " for c in text).strip()
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


# ---- no reply


def fault(error: exceptions.HTTPError, host: str, subject: Subject, tls_fault: str = "") -> errors.Error:
    """The error for a request to ``host`` that got no whole reply; ``tls_fault``: what TLS failed with."""
    why = reason(error)
    note = f" (with TLS: {tls_fault.removeprefix('TLS: ')})" if tls_fault not in ("", why) else ""
    text = f"{subject.reference}: cannot reach {host}: {why}{note}{_hint(error, host)}"
    return errors.Unavailable(subject.place(text))


def is_unreachable(error: exceptions.HTTPError) -> bool:
    """Whether there was not even a connection."""
    return isinstance(
        error,
        exceptions.NewConnectionError
        | exceptions.ConnectTimeoutError
        | exceptions.SSLError
        | exceptions.ProxyError
        | exceptions.LocationValueError,
    )


def reason(error: BaseException) -> str:
    """The innermost cause, in a few words."""
    causes = list(_causes(error))
    if isinstance(causes[0], exceptions.ProxyError) and len(causes) > 1:
        return f"proxy: {reason(causes[1])}"
    for cause in causes:
        if isinstance(cause, exceptions.NameResolutionError):
            return f"no such host: {cause.conn.host}"
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"certificate verify failed: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {(cause.reason or str(cause)).lower().replace('_', ' ')}"
        if isinstance(cause, exceptions.NewConnectionError):  # which is a ConnectTimeoutError as well
            continue
        if isinstance(cause, exceptions.ConnectTimeoutError):
            return "connection timed out"
        if isinstance(cause, exceptions.ReadTimeoutError):
            return "no answer: timed out"
        if isinstance(cause, exceptions.IncompleteRead):
            return "connection ended before the reply did"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
    last = causes[-1]
    text = clean(str(last).rpartition(_UNREACHED)[2]) or type(last).__name__
    return text[0].lower() + text[1:]


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it was made from, outermost first."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        inner = [argument for argument in error.args if isinstance(argument, BaseException)]
        error = getattr(error, "original_error", None) or (inner[0] if inner else error.__cause__)


def _hint(error: exceptions.HTTPError, host: str) -> str:
    faults = [cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)]
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in faults):
        return (
            f" (put its certificate authority into /etc/mydocker/certs.d/{host}/ca.crt, "
            f"or set insecure = true for it in {DEFAULT_PATH})"
        )
    if faults:
        return f" (a registry without TLS needs insecure = true in {DEFAULT_PATH})"
    return ""
