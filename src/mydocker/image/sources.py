"""Where an image is loaded from: a tar file, a stream or a directory, read by the names of their members.

A tar in a regular file is read in place: one pass over its headers, then only the members that are needed. A
stream, or a compressed file, is first written to a file without a name (O_TMPFILE, man 2 open), which cannot
be left behind. Out of scope: what the members mean (``load``).
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterator
from typing import Protocol

from .. import errors
from ..archive import tar
from ..archive.compression import Limits, inflated, kind_of
from ..archive.stream import CHUNK, Stream, Truncated

_WINDOW = 1 << 16
_LINKS = 8
_DOCUMENT = 32 << 20


class Source(Protocol):
    name: str

    def has(self, member: str) -> bool: ...
    def size(self, member: str) -> int: ...
    def chunks(self, member: str) -> Iterator[bytes]: ...
    def close(self) -> None: ...


def open_source(given: str | int, spool: str, limits: Limits) -> Source:
    """A source for a path, or for a descriptor (standard input) that stays the caller's.

    ``spool`` is a directory with room for the archive. InvalidArgument or NotFound if the path is no good.
    """
    if isinstance(given, int):
        return _archive(os.dup(given), "standard input", spool, limits)
    try:
        if os.path.isdir(given):
            return DirectorySource(given)
        descriptor = os.open(given, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise errors.NotFound(f"no such file or directory: {given}") from None
    except OSError as error:
        raise errors.InvalidArgument(f"cannot read {given}: {error.strerror}") from error
    return _archive(descriptor, given, spool, limits)


def descriptor_chunks(descriptor: int) -> Iterator[bytes]:
    while chunk := os.read(descriptor, CHUNK):
        yield chunk


def _archive(descriptor: int, name: str, spool: str, limits: Limits) -> Source:
    """A source that owns ``descriptor``, or a spooled copy of what it gives."""
    if _is_at_its_start(descriptor) and not kind_of(os.pread(descriptor, 6, 0)):
        return TarSource(descriptor, name)
    try:
        plain = _spooled(inflated(descriptor_chunks(descriptor), limits, name), spool)
    finally:
        os.close(descriptor)
    return TarSource(plain, name)


def _spooled(chunks: Iterator[bytes], directory: str) -> int:
    """A descriptor of a file without a name that has ``chunks`` in it."""
    descriptor = os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_at_its_start(descriptor: int) -> bool:
    """Whether it is a regular file that nobody has read from: ``mydocker load < archive``."""
    return stat.S_ISREG(os.fstat(descriptor).st_mode) and os.lseek(descriptor, 0, os.SEEK_CUR) == 0


class _FileStream(Stream):
    """A stream over a file that skips by seeking."""

    __slots__ = ("_descriptor", "_offset")

    def __init__(self, descriptor: int) -> None:
        super().__init__(iter(()))
        self._descriptor = descriptor
        self._offset = 0

    def _more(self) -> bool:
        chunk = os.pread(self._descriptor, _WINDOW, self._offset)
        self._offset += len(chunk)
        self._buffer, self._view, self._at = chunk, memoryview(chunk), 0
        return bool(chunk)

    def skip(self, count: int) -> None:
        here = min(count, len(self._buffer) - self._at)
        self._at += here
        self._offset += count - here
        self.position += count


class TarSource:
    """The regular files of an uncompressed tar, and links among them. Owns ``descriptor``."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._members: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        try:
            self._index()
        except BaseException:
            self.close()
            raise

    def _index(self) -> None:
        total = os.fstat(self._descriptor).st_size
        stream = _FileStream(self._descriptor)
        try:
            for entry in tar.Reader(stream):
                member = posixpath.normpath(os.fsdecode(entry.name))
                if entry.type == tar.REGULAR:
                    if entry.segments is not None:
                        raise errors.CorruptData(
                            f"member {member!r} is a sparse file, which no image archive has"
                        )
                    if stream.position + entry.size > total:
                        raise Truncated(f"truncated: member {member!r} ends beyond it")
                    self._members[member] = (stream.position, entry.size)
                    self._links.pop(member, None)
                elif entry.type in (tar.LINK, tar.SYMLINK):
                    base = "" if entry.type == tar.LINK else posixpath.dirname(member)
                    self._links[member] = posixpath.normpath(posixpath.join(base, os.fsdecode(entry.link)))
                    self._members.pop(member, None)
        except errors.CorruptData as error:
            raise errors.CorruptData(f"{self.name}: {error}") from error
        if not self._members:
            raise errors.CorruptData(f"{self.name}: not a tar archive, or an empty one")

    def _find(self, member: str) -> tuple[int, int] | None:
        member = posixpath.normpath(member)
        for _ in range(_LINKS):
            if member not in self._links:
                break
            member = self._links[member]
        return self._members.get(member)

    def has(self, member: str) -> bool:
        return self._find(member) is not None

    def size(self, member: str) -> int:
        return self._at(member)[1]

    def _at(self, member: str) -> tuple[int, int]:
        found = self._find(member)
        if found is None:
            raise errors.CorruptData(f"{self.name}: {member} is missing from the archive")
        return found

    def chunks(self, member: str) -> Iterator[bytes]:
        at, left = self._at(member)
        while left:
            chunk = os.pread(self._descriptor, min(left, CHUNK), at)
            if not chunk:
                raise errors.CorruptData(f"{self.name}: truncated in {member}")
            at += len(chunk)
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        os.close(self._descriptor)


class DirectorySource:
    """A directory with the same files as an archive: ``skopeo copy … oci:DIR``, or one that was unpacked."""

    def __init__(self, path: str) -> None:
        self.name = path

    def _path(self, member: str) -> str:
        member = posixpath.normpath(member)
        if member.startswith(("/", "..")):
            raise errors.HostileArchive(f"{self.name}: refers to {member!r} outside of it")
        return os.path.join(self.name, member)

    def has(self, member: str) -> bool:
        return os.path.isfile(self._path(member))

    def size(self, member: str) -> int:
        try:
            return os.stat(self._path(member)).st_size
        except FileNotFoundError:
            raise errors.CorruptData(f"{self.name}: {member} is missing") from None

    def chunks(self, member: str) -> Iterator[bytes]:
        try:
            descriptor = os.open(self._path(member), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise errors.CorruptData(f"{self.name}: {member} is missing") from None
        try:
            yield from descriptor_chunks(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Nothing is kept open."""


def read(source: Source, member: str) -> bytes:
    """A whole document out of ``source``."""
    if source.size(member) > _DOCUMENT:
        raise errors.CorruptData(
            f"{source.name}: {member} is larger than {_DOCUMENT} bytes, which no document is"
        )
    return b"".join(source.chunks(member))
