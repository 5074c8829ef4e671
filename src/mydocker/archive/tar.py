r"""A reader of tar streams: one entry after another, with nothing decoded that need not be.

A tar is a row of 512-byte blocks, a header and the contents rounded up for each entry, and two zero blocks
at the end (man 5 tar). Understood are

    v7, ustar            name 100, prefix 155 bytes; octal numbers
    GNU                  ``L`` and ``K`` long names, base-256 numbers, ``S`` sparse files, ``V`` volume labels
    pax                  ``x`` and ``g`` records: path, linkpath, size, uid, gid, mtime to the nanosecond,
                         SCHILY.xattr.* (bytes), LIBARCHIVE.xattr.* (name percent-encoded, value base64),
                         GNU.sparse.* in its forms 0.0, 0.1 and 1.0

Names are ``bytes`` as they stand in the archive: a file name in Linux has no encoding. Out of scope: what an
entry means to a directory (``apply``), compression (``compression``), multi-volume archives.

Malformed input raises ``CorruptData`` that names the entry; the sizes of extension records are bounded, so
that a header cannot ask for memory.
"""

from __future__ import annotations

import base64
import binascii
import struct
import urllib.parse

from .. import errors
from .stream import Stream

BLOCK = 512
_ZERO = bytes(BLOCK)
# One record may hold an xattr of 64 KiB (man 7 xattr) in base64 and a path of 4 KiB, a header some of them.
EXTENSION_LIMIT = 1 << 20
SPARSE_LIMIT = 1 << 20
"""segments of one sparse file"""

REGULAR, LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_HEADER_ONLY = frozenset((LINK, SYMLINK, CHARACTER, BLOCK_DEVICE, DIRECTORY, FIFO))
_ALIKE = {b"\0": REGULAR, b"7": REGULAR, b"D": DIRECTORY}
"""v7's regular file, POSIX's contiguous file, GNU's directory with a list of names as its contents"""

# name mode uid gid size mtime chksum typeflag linkname magic+version uname gname devmajor devminor prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_GNU_SPARSE = struct.Struct("386x96s?12s17x")
_GNU_MAGIC = b"ustar  \0"
_SCHILY = b"SCHILY.xattr."
_LIBARCHIVE = b"LIBARCHIVE.xattr."


class Entry:
    """One member. ``size`` counts the bytes that follow in the archive, ``real_size`` those of the file.

    ``segments`` is None, or for a sparse file the (offset, length) pairs that are stored; the rest is holes.
    """

    __slots__ = (
        "gid", "link", "major", "minor", "mode", "mtime_ns", "name", "real_size", "segments", "size", "type",
        "uid", "xattrs",
    )  # fmt: skip

    def __init__(self) -> None:
        self.name = b""
        self.type = REGULAR
        self.mode = 0
        self.uid = 0
        self.gid = 0
        self.size = 0
        self.real_size = 0
        self.mtime_ns = 0
        self.link = b""
        self.major = 0
        self.minor = 0
        self.xattrs: dict[bytes, bytes] | None = None
        self.segments: list[tuple[int, int]] | None = None

    def __repr__(self) -> str:
        return f"Entry({self.name!r}, type={self.type!r}, size={self.size})"


class Reader:
    """Iterate over it for entries; between two of them, ``stream`` may be read for ``entry.size`` bytes.

    What is left unread of an entry is skipped. After the end marker, ``ended`` is true; an archive may also
    just stop between two entries, which some writers do, and then it stays false.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.ended = False
        self._next = stream.position
        self._globals: dict[bytes, bytes] = {}

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> Entry:
        """Read extension headers up to and including the header of an entry."""
        stream = self.stream
        name: bytes | None = None
        link: bytes | None = None
        records: list[tuple[bytes, bytes]] | None = None
        while True:
            if ahead := self._next - stream.position:
                stream.skip(ahead)
            block = stream.take(BLOCK)
            if block == _ZERO or not block:
                if name is not None or link is not None or records is not None:
                    raise errors.CorruptData("an extension header is followed by no entry")
                self.ended = bool(block)
                raise StopIteration
            fields = _HEADER.unpack(block)
            kind = fields[7]
            entry = _header(block, fields)
            size = entry.size
            if kind in b"LKxgX":
                self._next = stream.position + (size + 511 & ~511)
                if size > EXTENSION_LIMIT:
                    raise errors.CorruptData(f"an extension of {size} bytes (at most {EXTENSION_LIMIT})")
                data = stream.exactly(size)
                if kind == b"L":
                    name = data.rstrip(b"\0")
                elif kind == b"K":
                    link = data.rstrip(b"\0")
                elif kind == b"g":
                    self._globals.update(_records(data))
                else:
                    records = _records(data)
                continue
            if kind == b"V":
                self._next = stream.position + (size + 511 & ~511)
                continue
            if name is not None:
                entry.name = name
            if link is not None:
                entry.link = link
            sparse: dict[bytes, bytes] = {}
            if records or self._globals:
                sparse = _extend(entry, [*self._globals.items(), *(records or ())])
            self._settle(entry, kind, block, sparse)
            return entry

    def _settle(self, entry: Entry, kind: bytes, block: bytes, sparse: dict[bytes, bytes]) -> None:
        """Decide the type and where the next header is; read the map of a sparse file."""
        kind = _ALIKE.get(kind, kind)
        if kind == REGULAR and entry.name.endswith(b"/"):
            kind = DIRECTORY  # v7 had no type for directories
        entry.type = kind
        start = self.stream.position
        if kind == b"S":
            entry.type = REGULAR
            extended = self._gnu_map(entry, block)
            start += extended
        elif kind in _HEADER_ONLY:
            # GNU's ``D`` has contents; a link's size is that of its target, with nothing stored
            stored = entry.size if block[156:157] == b"D" else 0
            self._next = start + (stored + 511 & ~511)
            entry.size = entry.real_size = 0
            return
        elif kind != REGULAR:
            raise errors.CorruptData(f"entry {_show(entry.name)}: unknown type {kind.decode('latin-1')!r}")
        self._next = start + (entry.size + 511 & ~511)
        if sparse:
            self._pax_map(entry, sparse)
        if entry.segments is not None:
            _check_map(entry)
        else:
            entry.real_size = entry.size

    def _gnu_map(self, entry: Entry, block: bytes) -> int:
        """The old GNU form: four segments in the header, 21 in each block that follows if a flag says so."""
        if block[257:265] != _GNU_MAGIC:
            raise errors.CorruptData(f"entry {_show(entry.name)}: a sparse file outside of a GNU archive")
        packed, more, real = _GNU_SPARSE.unpack(block)
        entry.real_size = _number(real, entry)
        segments = _pairs(packed, entry)
        read = 0
        while more:
            extension = self.stream.exactly(BLOCK)
            read += BLOCK
            segments += _pairs(extension[:504], entry)
            more = extension[504] != 0
            if len(segments) > SPARSE_LIMIT:
                raise errors.CorruptData(f"entry {_show(entry.name)}: too many sparse segments")
        entry.segments = segments
        return read

    def _pax_map(self, entry: Entry, sparse: dict[bytes, bytes]) -> None:
        """The pax forms: ``map`` lists the segments; form 1.0 has them as text before the contents."""
        try:
            if sparse.get(b"GNU.sparse.major") == b"1":
                numbers = self._sparse_numbers(entry)
                entry.real_size = int(sparse[b"GNU.sparse.realsize"])
            elif b"GNU.sparse.map" in sparse:
                numbers = [int(n) for n in sparse[b"GNU.sparse.map"].split(b",") if n]
                entry.real_size = int(sparse[b"GNU.sparse.size"])
            else:
                return
        except (ValueError, KeyError) as error:
            raise errors.CorruptData(f"entry {_show(entry.name)}: malformed sparse map") from error
        if len(numbers) % 2:
            raise errors.CorruptData(f"entry {_show(entry.name)}: malformed sparse map")
        entry.segments = list(zip(numbers[::2], numbers[1::2], strict=True))

    def _sparse_numbers(self, entry: Entry) -> list[int]:
        """Form 1.0: decimal numbers with a newline each, the count of pairs first, padded to a block."""
        text = self._block_of(entry)
        while b"\n" not in text:
            text += self._block_of(entry)
        count = int(text[: text.index(b"\n")])
        if not 0 <= count <= SPARSE_LIMIT:
            raise errors.CorruptData(f"entry {_show(entry.name)}: too many sparse segments")
        pieces = [text]
        lines = text.count(b"\n")
        while lines < 2 * count + 1:
            pieces.append(self._block_of(entry))
            lines += pieces[-1].count(b"\n")
        return [int(n) for n in b"".join(pieces).split(b"\n")[1 : 2 * count + 1]]

    def _block_of(self, entry: Entry) -> bytes:
        if entry.size < BLOCK:
            raise errors.CorruptData(f"entry {_show(entry.name)}: malformed sparse map")
        entry.size -= BLOCK
        return self.stream.exactly(BLOCK)


def _show(name: bytes) -> str:
    return repr(name.decode(errors="backslashreplace"))


def _header(block: bytes, fields: tuple[bytes, ...]) -> Entry:
    name, mode, uid, gid, size, mtime, checksum, kind, link, magic, _, _, major, minor, prefix = fields
    entry = Entry()
    entry.name = name = name.partition(b"\0")[0]
    try:
        wanted = int(checksum.strip(b" \0"), 8)
    except ValueError:
        wanted = -1
    total = sum(block) - sum(checksum) + 256
    if wanted != total and wanted != total - _signed(block, checksum):
        raise errors.CorruptData(f"not a tar header (wrong checksum) after {_position(name)}")
    entry.size = entry.real_size = _number(size, entry)
    entry.mode = _number(mode, entry) & 0o7777
    entry.uid = _number(uid, entry)
    entry.gid = _number(gid, entry)
    entry.mtime_ns = _number(mtime, entry, negative=True) * 1_000_000_000
    if link[0]:
        entry.link = link.partition(b"\0")[0]
    if kind in b"34":
        entry.major = _number(major, entry)
        entry.minor = _number(minor, entry)
    if prefix[0] and magic[:6] == b"ustar\0" and kind not in b"LK":
        entry.name = prefix.partition(b"\0")[0] + b"/" + name
    return entry


def _signed(block: bytes, checksum: bytes) -> int:
    """POSIX sums unsigned bytes; some old writers summed signed ones, which gives less by this."""
    return 256 * (sum(b > 127 for b in block) - sum(b > 127 for b in checksum))


def _position(name: bytes) -> str:
    return f"what may be {_show(name)}" if name.isascii() and name else "an unreadable name"


def _number(field: bytes, entry: Entry, negative: bool = False) -> int:
    """Octal text, or with the top bit set a base-256 number (GNU; two's complement)."""
    first = field[0]
    if first >= 0x80:
        # two's complement in all bits but the first, which only marks the form
        value = int.from_bytes(field, "big") & ((1 << 8 * len(field) - 1) - 1)
        if first & 0x40:
            value -= 1 << 8 * len(field) - 1
        if value < 0 and not negative:
            raise errors.CorruptData(f"entry {_show(entry.name)}: negative number in the header")
        return value
    text = field.partition(b"\0")[0].strip()
    if not text:
        return 0
    try:
        value = int(text, 8)
    except ValueError:
        raise errors.CorruptData(f"entry {_show(entry.name)}: malformed number {text!r}") from None
    if value < 0 and not negative:
        raise errors.CorruptData(f"entry {_show(entry.name)}: negative number in the header")
    return value


def _pairs(packed: bytes, entry: Entry) -> list[tuple[int, int]]:
    pairs = []
    for at in range(0, len(packed), 24):
        if not packed[at]:
            break
        pairs.append((_number(packed[at : at + 12], entry), _number(packed[at + 12 : at + 24], entry)))
    return pairs


def _check_map(entry: Entry) -> None:
    """Segments ascend, do not overlap, end inside of the file and add up to what is stored."""
    end = total = 0
    for offset, length in entry.segments or ():
        if offset < end or length < 0:
            raise errors.CorruptData(f"entry {_show(entry.name)}: sparse segments overlap")
        end = offset + length
        total += length
    if total != entry.size or end > entry.real_size:
        raise errors.CorruptData(f"entry {_show(entry.name)}: sparse map and size do not agree")


def _records(data: bytes) -> list[tuple[bytes, bytes]]:
    """``<length> <key>=<value>\n``, the length in decimal and of the whole record (POSIX pax, 4.22)."""
    records = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space]
        if space < 0 or not digits.isdigit():
            if not data[at:].strip(b"\0"):
                break  # padding that some writers count in
            raise errors.CorruptData("malformed pax record")
        end = at + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or data[end - 1 : end] != b"\n" or not equals or not key or end <= space:
            raise errors.CorruptData("malformed pax record")
        records.append((key, value))
        at = end
    return records


def _extend(entry: Entry, records: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Apply pax records to ``entry``; return those about sparse files, form 0.0 rewritten as 0.1."""
    sparse: dict[bytes, bytes] = {}
    numbers: list[bytes] = []
    try:
        for key, value in records:
            if key.startswith((_SCHILY, _LIBARCHIVE)):
                if entry.xattrs is None:
                    entry.xattrs = {}
                if key.startswith(_SCHILY):
                    entry.xattrs[key[len(_SCHILY) :]] = value
                else:
                    name = urllib.parse.unquote_to_bytes(key[len(_LIBARCHIVE) :])
                    entry.xattrs.setdefault(name, base64.b64decode(value + b"=" * (-len(value) % 4)))
            elif key.startswith(b"GNU.sparse."):
                if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
                    numbers.append(value)
                else:
                    sparse[key] = value
            elif not value:
                continue  # an empty value takes back what a global record said: the header stands
            elif key == b"path":
                entry.name = value
            elif key == b"linkpath":
                entry.link = value
            elif key == b"mtime":
                entry.mtime_ns = _nanoseconds(value)
            elif key == b"size":
                entry.size = entry.real_size = _decimal(value)
            elif key == b"uid":
                entry.uid = _decimal(value)
            elif key == b"gid":
                entry.gid = _decimal(value)
    except (ValueError, binascii.Error):
        raise errors.CorruptData(f"entry {_show(entry.name)}: malformed pax record {_show(key)}") from None
    if numbers:
        sparse[b"GNU.sparse.map"] = b",".join(numbers)
    if name_of_sparse := sparse.get(b"GNU.sparse.name"):
        entry.name = name_of_sparse
    return sparse


def _decimal(value: bytes) -> int:
    if not value.isdigit():
        raise ValueError(value)
    return int(value)


def _nanoseconds(value: bytes) -> int:
    """``-1.5`` and ``1700000000.123456789`` exactly; further digits are cut off."""
    negative = value.startswith(b"-")
    whole, _, fraction = value.lstrip(b"-").partition(b".")
    total = _decimal(whole) * 1_000_000_000 + (_decimal((fraction + b"000000000")[:9]) if fraction else 0)
    return -total if negative else total
