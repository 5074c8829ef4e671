"""One repository on one host: the requests of distribution-spec 1.1, one method each.

Out of scope: mirrors (``client.py``), blobs as a whole (``download.py``, ``upload.py``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin

from .. import errors
from ..oci import descriptor as descriptors
from ..oci import digest as digests
from .endpoint import Endpoint
from .failures import Subject, clean
from .message import Reply, Request
from .transport import Transport

MANIFEST_LIMIT = 4 << 20
"""bytes; distribution-spec: "registries SHOULD NOT enforce a limit below 4 MB", and hardly any allows more"""
PAGE_LIMIT = 4 << 20
_PAGE = 1000
_TYPES = (*sorted(descriptors.INDEXES), *sorted(descriptors.MANIFESTS))
_ACCEPT = ", ".join(_TYPES)
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_VAGUE = ("", "application/json", "application/octet-stream", "text/plain")


class Document(NamedTuple):
    """A manifest or an index, as the registry has it."""

    media_type: str
    digest: str
    data: bytes
    """empty when only ``resolve`` was asked"""
    size: int


class Remote:
    def __init__(self, transport: Transport, endpoint: Endpoint, subject: Subject, path: str) -> None:
        self.transport = transport
        self.endpoint = endpoint
        self.subject = subject
        self.path = endpoint.repository(path)
        """of the repository on this host"""

    def send(self, request: Request, subject: Subject | None = None) -> Reply:
        return self.transport.send(self.endpoint, request, subject or self.subject)

    def give_way(self, error: errors.Error) -> None:
        """This is a mirror that has failed: the next host is asked, and this one no more if it is down."""
        if isinstance(error, errors.Unavailable) and not self.endpoint.down:
            self.endpoint.down = True
            self.transport.tell(f"mirror {self.endpoint} of {self.subject.domain} is left out: {error}")

    def url(self, *parts: str) -> str:
        return "/".join((f"/v2/{self.path}", *(quote(part, safe=":") for part in parts)))

    @property
    def scopes(self) -> tuple[str, ...]:
        actions = "pull" if self.subject.verb == "pull" else "pull,push"
        return (f"repository:{self.path}:{actions}",)

    def about(self, reference: str) -> Subject:
        """The subject with a tag or digest."""
        joint = "@" if ":" in reference else ":"
        return self.subject._replace(reference=f"{self.subject.name}{joint}{reference}")

    # ---- manifests

    def manifest(self, reference: str) -> Document:
        subject = self.about(reference)
        reply = self.send(
            Request(
                "GET",
                self.url("manifests", reference),
                self.scopes,
                {"Accept": _ACCEPT},
                limit=MANIFEST_LIMIT,
            ),
            subject,
        )
        digest = digests.of(reply.data)
        claimed = reply.headers.get("Docker-Content-Digest", "")
        wanted = reference if ":" in reference else claimed
        for other in (wanted, claimed):
            if other.startswith("sha256:") and other != digest:
                raise errors.CorruptData(
                    subject.place(
                        f"{subject.reference}: the manifest has the digest {digest}, not {clean(other)}"
                    )
                )
        media_type = _media_type(reply, subject)
        return Document(media_type, digest, reply.data, len(reply.data))

    def resolve(self, reference: str) -> Document | None:
        """By HEAD; a registry that leaves out what is asked for is sent a GET."""
        request = Request(
            "HEAD",
            self.url("manifests", reference),
            self.scopes,
            {"Accept": _ACCEPT},
            accept=frozenset((200, 404)),
        )
        subject = self.about(reference)
        reply = self.send(request, subject)
        if reply.status == 404:
            return None
        digest, size = reply.headers.get("Docker-Content-Digest", ""), reply.headers.get("Content-Length", "")
        media_type = _header_type(reply)
        if media_type in _TYPES and digest.startswith("sha256:") and size.isdecimal():
            return Document(media_type, _valid(digest, subject), b"", int(size))
        return self.manifest(reference)._replace(data=b"")

    def put_manifest(self, reference: str, media_type: str, data: bytes) -> str:
        subject = self.about(reference)
        digest = digests.of(data)
        reply = self.send(
            Request(
                "PUT",
                self.url("manifests", reference),
                self.scopes,
                {"Content-Type": media_type},
                data,
                frozenset((200, 201, 202)),
            ),
            subject,
        )
        check_stored(reply, digest, subject)
        return digest

    # ---- blobs

    def open_blob(self, headers: Mapping[str, str], accept: frozenset[int], subject: Subject) -> Reply:
        target = self.url("blobs", subject.blob)
        return self.send(Request("GET", target, self.scopes, headers, accept=accept, limit=None), subject)

    def blob_size(self, digest: str) -> int | None:
        target = self.url("blobs", digest)
        accept = frozenset((200, 404))
        subject = self.subject._replace(blob=digest)
        reply = self.send(Request("HEAD", target, self.scopes, accept=accept), subject)
        if reply.status == 404:
            return None
        size = reply.headers.get("Content-Length", "")
        if size.isdecimal():
            return int(size)
        headers = {"Range": "bytes=0-0"}
        accept = frozenset((200, 206, 404))
        reply = self.send(Request("GET", target, self.scopes, headers, accept=accept, limit=None), subject)
        if reply.stream is not None:
            reply.stream.close()
        size = reply.headers.get("Content-Range", "").rpartition("/")[2] or reply.headers.get(
            "Content-Length", ""
        )
        if not size.isdecimal():
            raise errors.CorruptData(
                subject.place(f"{subject.reference}: {self.endpoint} does not say how large blob {digest} is")
            )
        return int(size)

    # ---- tags

    def tags(self) -> Iterator[str]:
        for document in pages(self, f"{self.url('tags', 'list')}?n={_PAGE}", self.scopes):
            yield from names(document.get("tags"), self.subject)


def pages(remote: Remote, target: str, scopes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The documents of a listing, along ``Link: <…>; rel="next"`` (distribution-spec, Listing Tags)."""
    subject = remote.subject
    seen: set[str] = set()
    while target:
        if target in seen:
            raise errors.CorruptData(subject.place(f"{subject.reference}: the list of pages has no end"))
        seen.add(target)
        reply = remote.send(Request("GET", target, scopes, limit=PAGE_LIMIT))
        try:
            document = json.loads(reply.data)
        except (ValueError, RecursionError) as error:
            raise errors.CorruptData(subject.place(f"{subject.reference}: not JSON: {error}")) from error
        if not isinstance(document, dict):
            raise errors.CorruptData(subject.place(f"{subject.reference}: the list is no JSON object"))
        yield document
        target = _next(reply)


def _next(reply: Reply) -> str:
    for link in reply.headers.get("Link", "").split(","):
        address, _, parameters = link.strip().partition(">")
        if address.startswith("<") and 'rel="next"' in parameters.replace("rel=next", 'rel="next"'):
            return urljoin(reply.url, address[1:])
    return ""


def names(value: object, subject: Subject) -> list[str]:
    found = [] if value is None else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise errors.CorruptData(subject.place(f"{subject.reference}: the list is not one of names"))
    return found


def _valid(digest: str, subject: Subject) -> str:
    try:
        return digests.validate_sha256(digest)
    except (errors.InvalidArgument, errors.NotSupported) as error:
        raise errors.CorruptData(subject.place(f"{subject.reference}: {error}")) from error


def check_stored(reply: Reply, digest: str, subject: Subject) -> None:
    """``CorruptData`` if the registry says that it has something else now."""
    stored = reply.headers.get("Docker-Content-Digest", digest)
    if stored.startswith("sha256:") and stored != digest:
        raise errors.CorruptData(
            subject.place(f"{subject.reference}: sent {digest}, but the registry has {clean(stored)}")
        )


def _header_type(reply: Reply) -> str:
    return reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _media_type(reply: Reply, subject: Subject) -> str:
    """What the bytes are: by the header, by the document itself, and by both if both say it.

    A document that can be read in two ways is refused (CVE-2021-41190).
    """
    header = _header_type(reply)
    if header.startswith(_SCHEMA_1):
        raise _outdated(subject)
    if header not in _TYPES and header not in _VAGUE:
        raise errors.CorruptData(
            subject.place(
                f"{subject.reference}: media type {clean(header)!r} is that of neither manifest nor index"
            )
        )
    try:
        document = json.loads(reply.data)
    except (ValueError, RecursionError) as error:
        raise errors.CorruptData(
            subject.place(f"{subject.reference}: the manifest is not JSON: {error}")
        ) from error
    if not isinstance(document, dict):
        raise errors.CorruptData(subject.place(f"{subject.reference}: the manifest is no JSON object"))
    if document.get("schemaVersion") == 1:
        raise _outdated(subject)
    inner = document.get("mediaType") or ""
    if header in _TYPES and inner and inner != header:
        raise errors.CorruptData(
            subject.place(
                f"{subject.reference}: the manifest is a {clean(inner)!r}, but was sent as {clean(header)!r}"
            )
        )
    index, image = "manifests" in document, "layers" in document or "config" in document
    found = header if header in _TYPES else inner
    if not found and index != image:
        found = descriptors.OCI_INDEX if index else descriptors.OCI_MANIFEST
    if (
        found not in _TYPES
        or (index and image)
        or (image and found in descriptors.INDEXES)
        or (index and found in descriptors.MANIFESTS)
    ):
        raise errors.CorruptData(
            subject.place(f"{subject.reference}: the document is neither a manifest nor an index, or both")
        )
    return found


def _outdated(subject: Subject) -> errors.NotSupported:
    return errors.NotSupported(
        subject.place(
            f"{subject.reference}: Docker image format version 2, schema 1 is not supported: "
            "the image has to be pushed again by a newer program"
        )
    )
