r"""A writer of tar streams, the counterpart of ``tar``: the same entries always give the same bytes.

The form is ustar, with pax records before an entry where ustar has no room (POSIX pax, 4.22; man 5 tar):

    path, linkpath         beyond 100 bytes (a path: 155/100), or not ASCII; with hdrcharset if not UTF-8
    size, uid, gid         beyond the octal digits of their field
    mtime                  with a fraction of a second, or before 1970
    SCHILY.xattr.<name>    as raw bytes; a name with ``=`` in it goes as LIBARCHIVE.xattr, which encodes it
    GNU.sparse.*           form 1.0, for an entry with ``segments``

Go's archive/tar, GNU tar, bsdtar and Python's tarfile read all of these. Nothing of the machine, the user's
name or the time gets in. Two zero blocks end the archive.

Contents are read by the kernel into the very buffer that goes out; with two buffers in turn, whoever takes
one may still be hashing it while the next is filled. They begin at a page, as O_DIRECT wants it.

Out of scope: what goes into an archive (``diff``), and compression.
"""

from __future__ import annotations

import base64
import mmap
import os
import struct
import urllib.parse
from collections.abc import Callable

from .stream import Truncated
from .tar import BLOCK, REGULAR, Entry

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_MAGIC = b"ustar\00000"
_PAX = b"x"
_OCTAL_7, _OCTAL_11 = 1 << 21, 1 << 33
_ZERO = bytes(BLOCK)
_SECOND = 1_000_000_000

PIECE = 4 << 20

Put = Callable[[memoryview], object]
"""Takes the next piece of the archive. The piece stays as it is until the call after this one returns."""


class Writer:
    """``add`` entries in order, then ``finish``. ``position`` counts the bytes of the archive so far."""

    def __init__(self, put: Put, size: int = PIECE) -> None:
        self.position = 0
        self._put = put
        self._buffers = (memoryview(mmap.mmap(-1, size)), memoryview(mmap.mmap(-1, size)))
        self._buffer = self._buffers[0]
        self._at = 0

    def add(self, entry: Entry, contents: bytes | int | None = None) -> None:
        """Write an entry; ``contents`` are its bytes, or a descriptor of a file to read them from.

        ``entry.size`` bytes are read, of a file with ``entry.segments`` only those; Truncated if there are
        fewer.
        """
        if entry.segments is None:
            self._bytes(headers(entry))
        else:
            numbers = [len(entry.segments), *(number for pair in entry.segments for number in pair)]
            text = b"".join(b"%d\n" % number for number in numbers)
            sparse_map = text + bytes(-len(text) % BLOCK)
            self._bytes(headers(entry, sparse_map=len(sparse_map)))
            self._bytes(sparse_map)
        if isinstance(contents, bytes):
            self._bytes(contents)
        elif contents is not None:
            for offset, length in entry.segments if entry.segments is not None else [(0, entry.size)]:
                self._file(contents, offset, length, entry.name)
        self._bytes(bytes(-self.position % BLOCK))

    def finish(self) -> None:
        """Write the end of the archive, and what is still in the buffer."""
        self._bytes(_ZERO + _ZERO)
        self._flush()

    def _bytes(self, data: bytes) -> None:
        done = 0
        while done < len(data):
            piece = data[done : done + len(self._buffer) - self._at]
            self._buffer[self._at : self._at + len(piece)] = piece
            done += len(piece)
            self._advance(len(piece))

    def _file(self, descriptor: int, offset: int, length: int, name: bytes) -> None:
        while length:
            room = self._buffer[self._at : self._at + length]
            count = _read_into(room, descriptor, offset, name)
            if not count:
                raise Truncated(f"{_show(name)} became shorter while it was read")
            offset += count
            length -= count
            self._advance(count)

    def _advance(self, count: int) -> None:
        self._at += count
        self.position += count
        if self._at == len(self._buffer):
            self._flush()

    def _flush(self) -> None:
        if self._at:
            self._put(self._buffer[: self._at])
            first, second = self._buffers
            self._buffer = second if self._buffer is first else first
            self._at = 0


def _read_into(buffer: memoryview, descriptor: int, offset: int, name: bytes) -> int:
    try:
        return os.preadv(descriptor, [buffer], offset)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fsdecode(name)) from error


def headers(entry: Entry, *, sparse_map: int = 0) -> bytes:
    """The header of an entry, with a pax header before it where one is needed.

    ``sparse_map`` is the length of the map that stands before the contents of a sparse file.
    """
    records: dict[bytes, bytes] = {}
    name = entry.name
    size = entry.size if entry.type == REGULAR else 0
    if entry.segments is not None:
        size += sparse_map
        records[b"GNU.sparse.major"] = b"1"
        records[b"GNU.sparse.minor"] = b"0"
        records[b"GNU.sparse.name"] = name
        records[b"GNU.sparse.realsize"] = b"%d" % entry.real_size
        name = _beside(name, b"GNUSparseFile.0")
    prefix, short = _split(name)
    if not short:
        if entry.segments is None:
            records[b"path"] = name
        short = _shortened(name)
    link = entry.link
    if len(link) > 100 or not link.isascii():
        records[b"linkpath"] = link
        link = _shortened(link)
    if not (_is_text(entry.name) and _is_text(entry.link)):
        records[b"hdrcharset"] = b"BINARY"
    if size >= _OCTAL_11:
        records[b"size"] = b"%d" % size
        size = 0
    uid, gid = (_fitting(records, key, getattr(entry, key.decode())) for key in (b"uid", b"gid"))
    seconds, fraction = divmod(entry.mtime_ns, _SECOND)
    if fraction or not 0 <= seconds < _OCTAL_11:
        records[b"mtime"] = _decimal(entry.mtime_ns)
        seconds = seconds if 0 <= seconds < _OCTAL_11 else 0
    for key, value in (entry.xattrs or {}).items():
        if b"=" in key:
            quoted = urllib.parse.quote_from_bytes(key, safe="").encode()
            records[b"LIBARCHIVE.xattr." + quoted] = base64.b64encode(value).rstrip(b"=")
        else:
            records[b"SCHILY.xattr." + key] = value
    block = _block(
        prefix, short, entry.type, entry.mode, uid, gid, size, seconds, link, entry.major, entry.minor
    )
    if not records:
        return block
    text = b"".join(_record(key, records[key]) for key in sorted(records))
    extended = _shortened(_beside(entry.name, b"PaxHeaders.0"))
    before = _block(b"", extended, _PAX, 0o644, 0, 0, len(text), 0, b"", 0, 0)
    return b"".join((before, text, bytes(-len(text) % BLOCK), block))


def _block(prefix: bytes, name: bytes, kind: bytes, mode: int, uid: int, gid: int, size: int, seconds: int,
           link: bytes, major: int, minor: int) -> bytes:  # fmt: skip
    block = _HEADER.pack(
        name, b"%07o" % mode, b"%07o" % uid, b"%07o" % gid, b"%011o" % size, b"%011o" % seconds, b" " * 8,
        kind, link, _MAGIC, b"", b"", b"%07o" % major, b"%07o" % minor, prefix,
    )  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: bytes, value: bytes) -> bytes:
    """``<length> <key>=<value>\n``, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(b"%d" % rest)
    length = rest + len(b"%d" % length)
    return b"%d %s=%s\n" % (length, key, value)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Prefix and name for ustar; both empty if it has no room, or no way, for ``name``."""
    if not name.isascii():
        return b"", b""
    if len(name) <= 100:
        return b"", name
    cut = name.rfind(b"/", 0, min(156, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > 100:
        return b"", b""
    return name[:cut], name[cut + 1 :]


def _shortened(name: bytes) -> bytes:
    """What a reader sees that does not know pax: it must end with a slash only if the name does."""
    slash = b"/" if name.endswith(b"/") else b""
    plain = bytes(character for character in name if character < 128)
    return plain[: 100 - len(slash)].rstrip(b"/") + slash


def _beside(name: bytes, directory: bytes) -> bytes:
    upper, slash, last = name.rstrip(b"/").rpartition(b"/")
    return b"%s%s%s/%s" % (upper, slash, directory, last)


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fitting(records: dict[bytes, bytes], key: bytes, number: int) -> int:
    if number < _OCTAL_7:
        return number
    records[key] = b"%d" % number
    return 0


def _decimal(nanoseconds: int) -> bytes:
    """Seconds with the digits of the fraction that are not zero: ``1700000000.5``, ``-1.5``."""
    sign = b"-" if nanoseconds < 0 else b""
    seconds, fraction = divmod(abs(nanoseconds), _SECOND)
    return sign + (b"%d.%09d" % (seconds, fraction)).rstrip(b"0").rstrip(b".")


def _show(name: bytes) -> str:
    return repr(name.decode(errors="backslashreplace"))
