"""One host that speaks the distribution protocol: a registry, or a mirror of one, and what is known of it."""

from __future__ import annotations

from urllib.parse import urlsplit

from ..errors import InvalidArgument
from ..oci.reference import DEFAULT_DOMAIN
from .challenge import Challenge
from .configuration import HUB_HOST


class Endpoint:
    """``domain`` is what its credentials are stored under; ``scheme`` is empty until it is known.

    Raises ``InvalidArgument`` for a port that there is not.
    """

    def __init__(self, domain: str, netloc: str, *, scheme: str = "", prefix: str = "") -> None:
        try:
            _ = urlsplit(f"//{netloc}").port
        except ValueError as error:
            raise InvalidArgument(f"invalid registry {netloc}: {str(error).lower()}") from error
        self.domain = domain
        self.netloc = netloc
        self.scheme = scheme
        self.prefix = prefix
        self.answered = False
        """whether it ever has: one that has not is not waited for"""
        self.challenge: Challenge | None = None
        """what it wants to see, once it has said so"""
        self.tls_fault = ""
        """what went wrong with TLS, if it is spoken to without"""
        self.down = False
        """a mirror that could not be reached, and is asked no more"""

    def repository(self, path: str) -> str:
        """What the repository ``path`` of the registry is called here."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def url(self, target: str) -> str:
        """``target`` is absolute, or a path."""
        return target if "://" in target else f"{self.scheme}://{self.netloc}{target}"

    def __str__(self) -> str:
        return self.netloc if self.netloc != HUB_HOST else self.domain


def of_registry(domain: str) -> Endpoint:
    return Endpoint(domain, HUB_HOST if domain == DEFAULT_DOMAIN else domain)


def of_mirror(text: str) -> Endpoint:
    """``[http[s]://]host[:port][/path]``"""
    scheme, _, rest = text.rpartition("://")
    netloc, _, prefix = rest.partition("/")
    domain = DEFAULT_DOMAIN if netloc == HUB_HOST else netloc
    return Endpoint(domain, netloc, scheme=scheme, prefix=prefix.strip("/"))


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: what credentials are bound to (RFC 6454)."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", parts.port or default
