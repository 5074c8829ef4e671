"""A blob, from the first byte or a later one, taken up again where a connection broke.

    GET /v2/<name>/blobs/<digest>      Range: bytes=<offset>-      or another URL (``publisher.py``)
    206 Partial Content                Content-Range: bytes <offset>-<last>/<size>

A host that ignores the range sends everything, of which the beginning is skipped. When a mirror fails the
next one goes on from the same byte. Nothing past the size that the descriptor gives is read.

Out of scope: whether the bytes have the digest. Whoever reads them hashes them anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.response import BaseHTTPResponse

from .. import errors
from . import failures
from .endpoint import Endpoint
from .failures import Subject
from .message import Reply
from .transport import Transport

CHUNK = 512 << 10
_PROGRESS = 64 << 10
"""bytes that have to come through before a broken connection counts as the first one again"""


class Source(Protocol):
    """Where a blob is."""

    transport: Transport
    endpoint: Endpoint
    subject: Subject

    def open_blob(self, headers: Mapping[str, str], accept: frozenset[int], subject: Subject) -> Reply:
        """The reply, with its stream, to a GET for ``subject.blob``."""

    def give_way(self, error: errors.Error) -> None:
        """It has failed with ``error``, and the next one is asked."""


def blob(sources: Sequence[Source], digest: str, offset: int, size: int | None) -> Iterator[bytes]:
    """The bytes from ``offset``, asked of each of ``sources`` until one has sent them all.

    ``size`` is the descriptor's. Raises what the last one failed with.
    """
    if size is not None and offset > size:
        raise errors.InvalidArgument(f"blob {digest} has {size} bytes, and cannot be read from {offset}")
    position = _Position(offset, size)
    for source in sources[:-1]:
        try:
            yield from _from_one(source, digest, position)
        except errors.Error as error:  # the last one has the last word
            source.give_way(error)
        else:
            return
    yield from _from_one(sources[-1], digest, position)


class _Position:
    def __init__(self, offset: int, size: int | None) -> None:
        self.offset = offset
        self.size = size

    @property
    def at_end(self) -> bool:
        return self.size is not None and self.offset == self.size


def _from_one(source: Source, digest: str, position: _Position) -> Iterator[bytes]:
    subject = source.subject._replace(blob=digest)
    attempts = source.transport.attempts()
    while not position.at_end:
        reply = _open(source, digest, position, subject)
        if reply.stream is None:  # 416: there is nothing from there on
            return
        begun = position.offset
        try:
            yield from _read(reply, reply.stream, digest, position, subject)
            return
        except HTTPError as error:
            if position.offset - begun >= _PROGRESS:
                attempts.progressed()
            if not attempts.again(f"{source.endpoint}: {failures.reason(error)}"):
                raise failures.fault(error, str(source.endpoint), subject) from error


def _open(source: Source, digest: str, position: _Position, subject: Subject) -> Reply:
    headers = {"Range": f"bytes={position.offset}-"} if position.offset else {}
    accept = frozenset((200, 206) if position.size is not None else (200, 206, 416))
    reply = source.open_blob(headers, accept, subject)
    if reply.status == 416:
        assert reply.stream is not None
        reply.stream.close()
        total = reply.headers.get("Content-Range", "").rpartition("/")[2]
        if total != str(position.offset):
            raise _lie(f"there is nothing from byte {position.offset} on", digest, subject)
        return reply._replace(stream=None)
    return reply


def _read(
    reply: Reply, stream: BaseHTTPResponse, digest: str, position: _Position, subject: Subject
) -> Iterator[bytes]:
    whole = False
    try:
        skip = _first(reply, digest, position, subject)
        while chunk := stream.read1(CHUNK):  # not read: what a broken one has read is lost
            if skip:
                dropped = min(skip, len(chunk))
                skip -= dropped
                chunk = chunk[dropped:]
                if not chunk:
                    continue
            position.offset += len(chunk)
            if position.size is not None and position.offset > position.size:
                raise _lie(f"it has more than {position.size} bytes", digest, subject)
            yield chunk
        whole = True
    finally:
        if whole:
            stream.release_conn()
        else:
            stream.close()
    short = skip > 0 or (position.size is not None and not position.at_end)
    framed = "Transfer-Encoding" in reply.headers or "Content-Length" in reply.headers
    if short and not framed:
        raise ProtocolError("connection ended before the blob did")  # HTTP/1.0: the end is all it has to say
    if short:
        raise _lie(f"it ends at byte {position.offset} of {position.size}", digest, subject)


def _first(reply: Reply, digest: str, position: _Position, subject: Subject) -> int:
    """How many bytes are to be skipped; checks what the headers say about the size."""
    length = reply.headers.get("Content-Length", "")
    start, total = 0, length if reply.status == 200 else ""
    if reply.status == 206:
        unit, _, text = reply.headers.get("Content-Range", "").partition(" ")
        first, _, rest = text.partition("-")
        total = rest.partition("/")[2]
        if unit != "bytes" or first != str(position.offset):
            raise _lie(f"asked for it from byte {position.offset}, and got {unit} {first}", digest, subject)
        start = position.offset
    if position.size is not None and total.isdecimal() and int(total) != position.size:
        raise _lie(f"it has {total} bytes, and should have {position.size}", digest, subject)
    return position.offset - start


def _lie(what: str, digest: str, subject: Subject) -> errors.CorruptData:
    return errors.CorruptData(subject.place(f"{subject.reference}: blob {digest}: {failures.clean(what)}"))
