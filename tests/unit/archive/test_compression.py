"""Every compression against the program or the library that writes it, in pieces of awkward sizes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import subprocess
from collections.abc import Callable, Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mydocker import errors
from mydocker.archive.compression import Limits, inflated, kind_of
from mydocker.archive.stream import CHUNK
from support import probe

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}
every = pytest.mark.parametrize("kind", COMPRESSORS)
compressed = pytest.mark.parametrize("kind", [kind for kind in COMPRESSORS if kind])


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def inflate(data: bytes, size: int = CHUNK, limits: Limits | None = None) -> bytes:
    return b"".join(inflated(pieces(data, size), limits or Limits(), "the archive"))


@every
@given(content=st.binary(min_size=8, max_size=5000), size=st.integers(1, 600))
@settings(max_examples=30)
def test_round_trip(kind: str, content: bytes, size: int) -> None:
    content = b"content " + content
    data = COMPRESSORS[kind](content)
    assert kind_of(data) == kind
    assert inflate(data, size) == content


@compressed
@pytest.mark.parametrize("length", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 100])
def test_output_beyond_one_piece(kind: str, length: int) -> None:
    """A few bytes of input that become more than one piece of output at their very end."""
    content = bytes(length)
    assert inflate(COMPRESSORS[kind](content)) == content


@compressed
def test_members_in_a_row(kind: str) -> None:
    data = COMPRESSORS[kind](b"one ") + COMPRESSORS[kind](b"two ") + COMPRESSORS[kind](b"three")
    for size in (1, 7, CHUNK):
        assert inflate(data, size) == b"one two three"


def test_padding_after_gzip() -> None:
    assert inflate(gzip.compress(b"content") + bytes(1000), 64) == b"content"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_truncated(kind: str) -> None:
    data = COMPRESSORS[kind](os.urandom(10_000))
    for cut in (len(data) // 2, len(data) - 1):
        with pytest.raises(errors.CorruptData, match=r"the archive: (truncated|corrupt)"):
            inflate(data[:cut])


@compressed
def test_corrupt(kind: str) -> None:
    data = bytearray(COMPRESSORS[kind](os.urandom(10_000)))
    data[len(data) // 2] ^= 0x55
    with pytest.raises(errors.CorruptData, match="the archive: corrupt"):
        inflate(bytes(data) if kind != "zstd" else b"\x28\xb5\x2f\xfd" + bytes(data[20:]))


@pytest.mark.parametrize("data", [b"", b"x", b"plain", bytes(600)])
def test_short_and_plain(data: bytes) -> None:
    assert inflate(data) == data
    assert inflate(data, 1) == data


@compressed
def test_bomb_by_ratio(kind: str) -> None:
    limits = Limits(ratio=50, ratio_from=1 << 20)
    data = COMPRESSORS[kind](bytes(8 << 20))
    with pytest.raises(errors.HostileArchive, match=r"the archive: a decompression bomb.* limit"):
        inflate(data, limits=limits)
    # below the threshold any ratio will do
    assert len(inflate(COMPRESSORS[kind](bytes(1 << 20)), limits=limits)) == 1 << 20


@every
def test_total(kind: str) -> None:
    limits = Limits(total=1000)
    assert len(inflate(COMPRESSORS[kind](os.urandom(1000)), limits=limits)) == 1000
    with pytest.raises(errors.HostileArchive, match=r"more than 1000 bytes .*limit"):
        inflate(COMPRESSORS[kind](os.urandom(1001)), limits=limits)


@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz", "zstd"])
def test_programs(program: str) -> None:
    if reason := probe.missing_programs(program):
        pytest.skip(reason)
    content = os.urandom(3000) * 1000
    data = subprocess.run([program, "-c"], input=content, capture_output=True, check=True).stdout
    assert kind_of(data) == program
    assert inflate(data, 4096) == content
