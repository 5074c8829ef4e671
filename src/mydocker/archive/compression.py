"""Inflate a stream whose compression is told by its first bytes.

gzip and zstd are what registries carry; bzip2 and xz are what ``docker load`` accepts besides; anything else
passes as it is. Several members or frames in a row are one stream, as the command-line programs have it.
Out of scope: writing compressed data.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol, cast

import zstandard

from .. import errors
from .stream import CHUNK

try:
    from isal import isal_zlib

    _inflater: Callable[..., _Decompressor] = isal_zlib.decompressobj
    _inflate_error = cast("type[Exception]", isal_zlib.IsalError)
except ImportError:  # there is none for this architecture
    _inflater = zlib.decompressobj
    _inflate_error = zlib.error

_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # zstd frames with no data, as pzstd writes (RFC 8878, 3.1.2)


@dataclass(frozen=True)
class Limits:
    """What a decompressed archive and its entries may amount to before it is refused.

    gzip cannot exceed 1032:1, zstd and xz reach 10,000:1 and more; real layers stay below 20:1, with some
    zero-filled files in them below 200:1. A layer of 128 GiB is beyond what any registry takes.
    """

    ratio: int = 200
    """refuse beyond this many bytes out for each byte in ..."""
    ratio_from: int = 1 << 30
    """... once this many bytes have come out"""
    total: int = 128 << 30
    """bytes that come out at all"""
    entries: int = 500_000


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def kind_of(start: bytes) -> str:
    """``gzip``, ``zstd``, ``bzip2``, ``xz`` or ``""``, by the first six bytes."""
    if start.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if start.startswith(b"BZh"):
        return "bzip2"
    if start.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if start.startswith(b"\x28\xb5\x2f\xfd") or int.from_bytes(start[:4], "little") in _SKIPPABLE:
        return "zstd"
    return ""


def inflated(chunks: Iterator[bytes], limits: Limits, name: str) -> Iterator[bytes]:
    """The decompressed stream of ``chunks``; errors name the archive ``name``."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= 6:
            break
    kind = kind_of(start)
    source = _prefixed(start, chunks)
    counted = _Counted(source)
    if not kind:
        return _limited(counted, counted, limits, name)
    inflate = _zstd if kind == "zstd" else _members(_MAKERS[kind])
    return _limited(_translated(inflate(counted), kind, name), counted, limits, name)


def _prefixed(start: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    if start:
        yield start
    yield from chunks


class _Counted:
    """The compressed side, which the ratio is taken against."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self.bytes += len(chunk)
        return chunk


def _limited(chunks: Iterator[bytes], source: _Counted, limits: Limits, name: str) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limits.total:
            raise errors.HostileArchive(f"{name}: more than {limits.total} bytes decompressed (the limit)")
        if total > limits.ratio_from and total > source.bytes * limits.ratio:
            raise errors.HostileArchive(
                f"{name}: a decompression bomb: {source.bytes} bytes became {total}, "
                f"more than {limits.ratio}:1 (the limit beyond {limits.ratio_from} bytes)"
            )
        yield chunk


def _translated(chunks: Iterator[bytes], kind: str, name: str) -> Iterator[bytes]:
    try:
        yield from chunks
    except EOFError as error:
        raise errors.CorruptData(f"{name}: truncated {kind} data") from error
    except (_inflate_error, OSError, lzma.LZMAError, zstandard.ZstdError) as error:
        raise errors.CorruptData(f"{name}: corrupt {kind} data: {error}") from error


_MAKERS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": lambda: _inflater(31),  # 16 for the gzip header, 15 for the window
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
}


def _members(make: Callable[[], _Decompressor]) -> Callable[[Iterator[bytes]], Iterator[bytes]]:
    """Run one decompressor after another; zero bytes after the last member are padding (as on tape)."""

    def inflate(chunks: Iterator[bytes]) -> Iterator[bytes]:
        decompressor: _Decompressor | None = make()
        for chunk in chunks:
            data = chunk
            while True:
                if decompressor is None:
                    data = data.lstrip(b"\0")
                    if not data:
                        break
                    decompressor = make()
                out = decompressor.decompress(data, CHUNK)
                if out:
                    yield out
                if decompressor.eof:
                    data = decompressor.unused_data
                    decompressor = None
                else:
                    # zlib gives back the input that it did not get to; bz2 and lzma keep it. All of them may
                    # hold output back, when the last piece was as long as it may be.
                    data = getattr(decompressor, "unconsumed_tail", b"")
                    if not data and len(out) < CHUNK and getattr(decompressor, "needs_input", True):
                        break
        if decompressor is not None:
            raise EOFError

    return inflate


def _zstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Frames in a row. The library does not tell a frame that ends early; the tar inside then does."""
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(
        cast("IO[bytes]", _File(chunks)), read_across_frames=True, read_size=CHUNK
    )
    while chunk := reader.read(CHUNK):
        yield chunk


class _File:
    """Chunks, for a reader that wants a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        data = self._rest or next(self._chunks, b"")
        self._rest = data[size:] if size >= 0 else b""
        return data[:size] if size >= 0 else data
