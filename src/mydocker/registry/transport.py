"""One request and its reply: with credentials, along redirects, tried again while that may help.

What may help is told by ``failures.TRANSIENT`` (statuses) and by the connection: one that breaks is tried
again, but a host that could never be reached is believed to be down. ``Authorization`` goes to the origin
that it is for and to no other, whatever a redirect says.

Out of scope: what the requests mean (``remote.py``), which host they go to (``client.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from .. import errors
from . import failures
from .authentication import Authentication
from .configuration import Configuration
from .connections import Connections
from .credentials import Source
from .endpoint import Endpoint, origin
from .failures import Subject
from .message import Reply, Request
from .patience import Attempts, Notice, Patience, retry_after

REDIRECTS = 10
_ERROR_LIMIT = 64 << 10
_READS = ("GET", "HEAD")


class Transport:
    def __init__(
        self, configuration: Configuration, credentials: Source, patience: Patience, notice: Notice | None
    ) -> None:
        self.configuration = configuration
        self.patience = patience
        self.notice = notice
        self._connections = Connections(configuration)
        self._warned: set[str] = set()
        self.authentication = Authentication(credentials, self.ask)

    def send(self, endpoint: Endpoint, request: Request, subject: Subject) -> Reply:
        """The reply, if its status is among ``request.accept``; else what it means is raised."""

        def once() -> Reply:
            self._choose_scheme(endpoint)
            return self._authorized(endpoint, request, subject)

        return self._persist(endpoint, request, subject, once)

    def ask(self, endpoint: Endpoint, request: Request, header: str | None, subject: Subject) -> Reply:
        """``send`` to what is no registry, a token service for one: with ``header`` as Authorization."""
        return self._persist(
            endpoint, request, subject, lambda: self._follow(endpoint, request, header, subject)
        )

    def _persist(
        self, endpoint: Endpoint, request: Request, subject: Subject, once: Callable[[], Reply]
    ) -> Reply:
        attempts = self.attempts()
        while True:
            asked = None
            fault: errors.Error
            try:
                reply = once()
            except HTTPError as error:
                tls_fault = "" if endpoint.answered else endpoint.tls_fault
                fault = failures.fault(error, str(endpoint), subject, tls_fault)
                if failures.is_unreachable(error) and not endpoint.answered:
                    raise fault from error
                fault.__cause__ = error
                what = f"{endpoint}: {failures.reason(error)}"
            else:
                if reply.status in request.accept:
                    return reply
                fault = failures.refusal(reply.status, reply.headers, reply.data, subject)
                if reply.status not in failures.TRANSIENT:
                    raise fault
                asked = retry_after(reply.headers.get("Retry-After"))
                what = str(fault)
            if not request.patient or not attempts.again(what, asked):
                raise fault

    def tell(self, text: str) -> None:
        if self.notice is not None:
            self.notice(text)

    def attempts(self) -> Attempts:
        return Attempts(self.patience, self.notice)

    def _choose_scheme(self, endpoint: Endpoint) -> None:
        """TLS, except for an insecure endpoint that does not have it."""
        if endpoint.scheme:
            return
        if not self.configuration.is_insecure(endpoint.netloc):
            endpoint.scheme = "https"
            return
        probe = self.patience.probe
        url = f"https://{endpoint.netloc}/v2/"
        try:
            self._connections.open("GET", url, headers={}, connect=probe, read=probe).close()
            endpoint.scheme = "https"
        except HTTPError as error:
            endpoint.scheme = "http"
            endpoint.tls_fault = failures.reason(error)

    def _authorized(self, endpoint: Endpoint, request: Request, subject: Subject) -> Reply:
        """Show what is known to be wanted; and when something else is wanted, show that."""
        header = self.authentication.header(endpoint, request.scopes, subject)
        reply = self._follow(endpoint, request, header, subject)
        if reply.status != 401 or origin(reply.url) != origin(endpoint.url("/")):
            return reply
        wanted = reply.headers.get("WWW-Authenticate", "")
        header = self.authentication.answer(endpoint, wanted, request.scopes, subject, header)
        return reply if header is None else self._follow(endpoint, request, header, subject)

    def _follow(self, endpoint: Endpoint, request: Request, header: str | None, subject: Subject) -> Reply:
        url = endpoint.url(request.target)
        home = origin(endpoint.url("/"))
        seen = [url]
        while True:
            headers = dict(request.headers)
            if header is not None and origin(url) == home:
                headers["Authorization"] = header
            else:
                header = None  # not on the way back either: who sends it there may know more than we do
            response = self._connections.open(
                request.method,
                url,
                headers=headers,
                body=request.body() if callable(request.body) else request.body,
                connect=self.patience.connect,
                read=request.read or self.patience.read,
            )
            endpoint.answered = True
            self._pass_on_warnings(endpoint, response)
            location = _redirected(request.method, response)
            if location is None:
                return _reply(response, request, url, subject)
            _drain(response)
            url = _target(url, location, subject)
            if request.secret and origin(url) != home:
                raise errors.Forbidden(
                    subject.place(
                        f"{subject.reference}: {endpoint} redirects to {urlsplit(url).netloc}, "
                        "where credentials are not sent"
                    )
                )
            if url in seen or len(seen) > REDIRECTS:
                raise errors.Unavailable(
                    subject.place(
                        f"{subject.reference}: redirect loop: {endpoint} and {urlsplit(url).netloc} "
                        f"redirected {len(seen)} times"
                    )
                )
            seen.append(url)

    def _pass_on_warnings(self, endpoint: Endpoint, response: BaseHTTPResponse) -> None:
        """What the registry has to say to a person, once each (distribution-spec, Warnings)."""
        for warning in response.headers.getlist("Warning"):
            code, _, text = warning.removesuffix('"').partition(' - "')
            said = f"{endpoint}: {failures.clean(text)}"
            if code == "299" and said not in self._warned:
                self._warned.add(said)
                self.tell(said)


def _redirected(method: str, response: BaseHTTPResponse) -> str | None:
    """Where to, if this is a redirect that the method may follow (RFC 9110, 15.4)."""
    followed = (301, 302, 303, 307, 308) if method in _READS else (307, 308)
    return response.headers.get("Location") if response.status in followed else None


def _target(url: str, location: str, subject: Subject) -> str:
    try:
        target = urlsplit(urljoin(url, location))
        if target.scheme in ("http", "https") and target.hostname:
            _ = target.port  # raises for one that is no number
            return target._replace(netloc=target.netloc.rpartition("@")[2], fragment="").geturl()
    except ValueError:
        pass
    raise errors.CorruptData(
        subject.place(
            f"{subject.reference}: redirected to {failures.clean(location)!r}, which is no URL of HTTP"
        )
    )


def _reply(response: BaseHTTPResponse, request: Request, url: str, subject: Subject) -> Reply:
    refused = response.status not in request.accept
    if request.limit is None and not refused:
        return Reply(response.status, response.headers, url, b"", response)
    limit = _ERROR_LIMIT if refused or request.limit is None else request.limit
    try:
        data = _read(response, limit + 1)
    except BaseException:
        response.close()
        raise
    if len(data) <= limit:
        response.release_conn()
    else:
        response.close()
        if not refused:
            raise errors.CorruptData(
                subject.place(
                    f"{subject.reference}: the reply has more than {limit} bytes, which is too large"
                )
            )
    return Reply(response.status, response.headers, url, data[:limit])


def _read(response: BaseHTTPResponse, limit: int) -> bytes:
    """Up to ``limit`` bytes. A body that ends early is only known by the read after its last byte."""
    data = b""
    while len(data) < limit and (chunk := response.read(limit - len(data))):
        data += chunk
    return data


def _drain(response: BaseHTTPResponse) -> None:
    """Read what is left, if it is little, so that the connection can be used again."""
    try:
        short = len(_read(response, _ERROR_LIMIT)) < _ERROR_LIMIT
    except HTTPError:
        short = False
    if short:
        response.release_conn()
    else:
        response.close()
