"""A blob at a URL that its descriptor gives: a foreign layer, which its publisher has, not the registry.

Out of scope: credentials. Who wrote the manifest chose the URL, so nothing that is secret goes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from .. import errors
from .endpoint import Endpoint
from .failures import Subject, clean
from .message import Reply, Request
from .transport import Transport


class Publisher:
    """The blob at ``url``. ``CorruptData`` if that is none of HTTP."""

    def __init__(self, transport: Transport, url: str) -> None:
        try:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("it is not one of http or https")
            netloc = parts.netloc.rpartition("@")[2]
            self.endpoint = Endpoint(netloc, netloc, scheme=parts.scheme)
        except (ValueError, errors.InvalidArgument) as error:
            raise errors.CorruptData(f"cannot use the URL {clean(url)!r}: {error}") from error
        self.transport = transport
        self._url = parts._replace(netloc=netloc, fragment="").geturl()
        self.subject = Subject(netloc, clean(self._url), clean(self._url), "fetch")

    def open_blob(self, headers: Mapping[str, str], accept: frozenset[int], subject: Subject) -> Reply:
        request = Request("GET", self._url, (), headers, accept=accept, limit=None)
        return self.transport.ask(self.endpoint, request, None, subject)

    def give_way(self, error: errors.Error) -> None:
        self.transport.tell(f"{error}")
