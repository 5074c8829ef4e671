"""A file from a web server, as a stream: for ``import URL``.

TLS and proxies are those of registries (``connections.py``). Redirects are followed; nothing is tried twice,
because what has been read of the stream cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from .. import errors
from .configuration import Configuration
from .connections import Connections
from .failures import reason

_REDIRECTS = 10
_CHUNK = 1 << 20
_PATIENCE = 60.0


def get(configuration: Configuration, url: str) -> Iterator[bytes]:
    """The contents of ``url``. NotFound, Forbidden or Unavailable, each with the URL, if there are none."""
    connections = Connections(configuration)
    try:
        response = _open(connections, url)
        try:
            yield from response.stream(_CHUNK, decode_content=False)
        finally:
            response.close()
    except HTTPError as error:
        raise errors.Unavailable(f"failed to GET {url}: {reason(error)}") from error


def _open(connections: Connections, url: str) -> BaseHTTPResponse:
    place = url
    for _ in range(_REDIRECTS + 1):
        if not place.startswith(("http://", "https://")) or not urlsplit(place).hostname:
            raise errors.InvalidArgument(f"failed to GET {url}: {place!r} is no http or https address")
        response = connections.open("GET", place, headers={}, connect=_PATIENCE, read=_PATIENCE)
        if response.status == 200:
            return response
        response.close()
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or not location:
            raise _refusal(url, response.status)
        place = urljoin(place, location)
    raise errors.Unavailable(f"failed to GET {url}: more than {_REDIRECTS} redirects")


def _refusal(url: str, status: int) -> errors.Error:
    phrase = HTTPStatus(status).phrase if status in {known.value for known in HTTPStatus} else ""
    text = f"failed to GET {url} with status {status} {phrase}".rstrip()
    if status in (404, 410):
        return errors.NotFound(text)
    return errors.Forbidden(text) if status in (401, 403) else errors.Unavailable(text)
