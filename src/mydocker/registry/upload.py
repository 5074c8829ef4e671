"""A blob, sent to a registry, and taken up again where a connection broke.

    POST  /v2/<name>/blobs/uploads/            202, Location: where the upload is now (absolute or not)
    PUT   <location>?digest=…                  201; the whole blob (monolithic), or nothing (after the chunks)
    PATCH <location>                           202, Range: 0-<last>; a chunk, Content-Range: <first>-<last>
    GET   <location>                           204, Range: 0-<last>; how much has arrived

The blob goes in one piece, unless the configuration sets a chunk size, or an earlier try has left its
beginning with the registry: then the rest follows as chunks. ``OCI-Chunk-Min-Length`` is kept. The location
changes with every reply (distribution-spec 1.1, Pushing Blobs).

Out of scope: whether the registry has the blob already (``Remote.blob_size``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, urljoin

from .. import errors
from .failures import Subject
from .message import Reply, Request
from .remote import Remote, check_stored

Read = Callable[[int], Iterator[bytes]]
"""``read(offset)``: the blob's bytes from there"""

_BINARY = {"Content-Type": "application/octet-stream"}
_CREATED = frozenset((201, 202, 204))


def mount(remote: Remote, digest: str, source: str) -> str | None:
    """Have the blob from the repository ``source`` of the same registry.

    None if it is there now, else the location of the upload that the registry has begun, empty if it has not.
    """
    origin = remote.endpoint.repository(source)
    target = f"{remote.url('blobs', 'uploads')}/?mount={quote(digest, safe=':')}&from={quote(origin)}"
    scopes = (*remote.scopes, f"repository:{origin}:pull")
    accept = frozenset((201, 202, 400, 401, 403, 404, 405))
    subject = remote.subject._replace(blob=digest)
    reply = remote.send(Request("POST", target, scopes, accept=accept), subject)
    if reply.status == 201:
        return None
    location = reply.headers.get("Location", "") if reply.status == 202 else ""
    return urljoin(reply.url, location) if location else ""


def upload(remote: Remote, digest: str, size: int, read: Read, location: str = "") -> None:
    """Send the blob; ``location`` is that of an upload that has begun already."""
    _Upload(remote, digest, size, read).run(location)


class _Upload:
    def __init__(self, remote: Remote, digest: str, size: int, read: Read) -> None:
        self._remote = remote
        self._digest = digest
        self._size = size
        self._read = read
        self._subject: Subject = remote.subject._replace(blob=digest)
        self._location = ""
        self._offset = 0
        self._least = 0

    def run(self, location: str) -> None:
        attempts = self._remote.transport.attempts()
        self._location = location
        while True:
            before = self._offset
            try:
                if not self._location:
                    self._begin()
                self._send()
                return
            except (errors.Unavailable, errors.NotFound) as error:
                if not self._location:
                    raise
                fault: errors.Error = error
            self._take_stock()
            if self._offset > before:
                attempts.progressed()
            if not attempts.again(str(fault)):
                raise fault

    def _begin(self) -> None:
        target = f"{self._remote.url('blobs', 'uploads')}/"
        self._moved(self._request("POST", target, accept=frozenset((202,))))
        self._offset = 0

    def _send(self) -> None:
        chunk = self._chunk()
        if not self._offset and not chunk:
            self._finish(self._bytes(0, self._size), self._size)
            return
        while self._offset < self._size:
            length = min(chunk or self._size, self._size - self._offset)
            last = self._offset + length - 1
            reply = self._request(
                "PATCH",
                self._location,
                headers={**_BINARY, "Content-Length": str(length), "Content-Range": f"{self._offset}-{last}"},
                body=self._bytes(self._offset, length),
                accept=_CREATED,
            )
            self._moved(reply)
            self._offset = last + 1
        self._finish(None, 0)

    def _chunk(self) -> int:
        """Bytes of one chunk; 0: as much as there is."""
        wanted = self._remote.transport.configuration.settings(self._remote.endpoint.domain).chunk_size
        return max(wanted, self._least) if wanted else 0

    def _finish(self, body: Callable[[], Iterator[bytes]] | None, length: int) -> None:
        separator = "&" if "?" in self._location else "?"
        target = f"{self._location}{separator}digest={quote(self._digest, safe='')}"
        headers = {**_BINARY, "Content-Length": str(length)}
        reply = self._request("PUT", target, headers=headers, body=body, accept=_CREATED)
        check_stored(reply, self._digest, self._subject)

    def _take_stock(self) -> None:
        """How much of it has arrived; all over again if the registry does not know the upload any more."""
        if not self._location:
            return
        try:
            reply = self._request("GET", self._location, accept=frozenset((204,)))
        except errors.Error:
            self._location, self._offset = "", 0
            return
        self._moved(reply)
        self._offset = _received(reply)
        if self._offset > self._size:
            self._location, self._offset = "", 0

    def _moved(self, reply: Reply) -> None:
        least = reply.headers.get("OCI-Chunk-Min-Length", "")
        if least.isdecimal():
            self._least = int(least)
        location = reply.headers.get("Location", "")
        if location:
            self._location = urljoin(reply.url, location)
        elif not self._location:
            raise errors.CorruptData(
                self._subject.place(
                    f"{self._subject.reference}: {self._remote.endpoint} does not say where the upload goes"
                )
            )

    def _request(
        self,
        method: str,
        target: str,
        *,
        accept: frozenset[int],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Iterator[bytes]] | None = None,
    ) -> Reply:
        remote = self._remote
        request = Request(
            method,
            target,
            remote.scopes,
            headers or {},
            body,
            accept,
            patient=method in ("GET", "POST"),
            read=remote.transport.patience.commit,
        )
        return remote.send(request, self._subject)

    def _bytes(self, offset: int, length: int) -> Callable[[], Iterator[bytes]]:
        """Exactly ``length`` bytes from ``offset``, as often as they are asked for."""

        def chunks() -> Iterator[bytes]:
            left = length
            try:
                for chunk in self._read(offset):
                    yield chunk[:left]
                    left -= min(left, len(chunk))
                    if not left:
                        break
            except OSError as error:
                raise errors.CorruptData(f"cannot read blob {self._digest}: {error.strerror}") from error
            if left:
                raise errors.CorruptData(
                    f"blob {self._digest} ends {left} bytes before its size of {self._size} bytes"
                )

        return chunks


def _received(reply: Reply) -> int:
    """The bytes that the registry has. It says ``0-0`` for one byte and for none; none is always right."""
    last = reply.headers.get("Range", "").removeprefix("bytes=").partition("-")[2]
    return int(last) + 1 if last.isdecimal() and last != "0" else 0
