"""What is written is read back by our reader, by Python's tarfile and by GNU tar, and always the same."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mydocker.archive import tar
from mydocker.archive.stream import Stream, Truncated
from mydocker.archive.write import Writer, headers
from support import probe

Entries = Sequence[tuple[tar.Entry, bytes]]

_FIELDS = ("name", "type", "mode", "uid", "gid", "size", "mtime_ns", "link", "major", "minor", "xattrs")


def entry(name: bytes, kind: bytes = tar.REGULAR, **fields: object) -> tar.Entry:
    made = tar.Entry()
    made.name, made.type, made.mode = name, kind, 0o644
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def written(entries: Entries, size: int = 1024) -> bytes:
    pieces: list[bytes] = []
    writer = Writer(lambda piece: pieces.append(bytes(piece)), size)
    for one, data in entries:
        writer.add(one, data)
    writer.finish()
    found = b"".join(pieces)
    assert writer.position == len(found)
    return found


def read(archive: bytes) -> list[tuple[tar.Entry, bytes]]:
    stream = Stream(iter([archive]))
    reader = tar.Reader(stream)
    found = [(one, b"".join(map(bytes, stream.parts(one.size)))) for one in reader]
    assert reader.ended
    return found


def fields(one: tar.Entry) -> list[object]:
    return [getattr(one, field) for field in _FIELDS]


def same(entries: Entries) -> None:
    found = read(written(entries))
    assert [(fields(one), data) for one, data in found] == [(fields(one), data) for one, data in entries]


NAMES = st.binary(min_size=1, max_size=300).filter(
    lambda name: b"\0" not in name and not name.endswith(b"/") and not name.startswith(b"/")
)
XATTRS = st.dictionaries(
    st.binary(min_size=1, max_size=40).filter(lambda key: b"\0" not in key).map(lambda key: b"user." + key),
    st.binary(max_size=200),
    min_size=1,
    max_size=4,
)


@given(
    st.lists(
        st.builds(
            lambda name, mode, uid, gid, mtime, xattrs, data: (
                entry(name, mode=mode, uid=uid, gid=gid, mtime_ns=mtime, xattrs=xattrs, size=len(data)), data
            ),
            NAMES,
            st.integers(0, 0o7777),
            st.integers(0, 2**32 - 1),
            st.integers(0, 2**32 - 1),
            st.integers(-(2**40) * 10**9, 2**40 * 10**9),
            st.none() | XATTRS,
            st.binary(max_size=3000),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_whatever_goes_in_comes_out(entries: Entries) -> None:
    same(entries)
    assert written(entries) == written(entries, 1 << 20)


@given(NAMES, NAMES)
def test_links_of_any_name(name: bytes, target: bytes) -> None:
    same([(entry(name, tar.SYMLINK, link=target), b""), (entry(b"x", tar.LINK, link=name), b"")])


@given(st.text(min_size=1, max_size=200).filter(lambda t: "\0" not in t and "/" not in t and t not in "..."))
def test_python_reads_it(name: str) -> None:
    encoded = name.encode("utf-8", "surrogatepass")
    data = os.urandom(600)
    archive = written(
        [(entry(encoded, size=600, mtime_ns=1_500_000_000, xattrs={b"user.x": b"\0\xff"}), data)]
    )
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as opened:
        (member,) = opened.getmembers()
        content = opened.extractfile(member)
        assert content is not None
        assert content.read() == data
        assert member.name.encode("utf-8", "surrogateescape") == encoded
        assert member.pax_headers["mtime"] == "1.5"
        value = member.pax_headers["SCHILY.xattr.user.x"]
        assert value.encode("utf-8", "surrogateescape") == b"\0\xff"


def test_devices_fifos_and_directories() -> None:
    same(
        [
            (entry(b"directory/", tar.DIRECTORY, mode=0o1777), b""),
            (entry(b"null", tar.CHARACTER, major=1, minor=3), b""),
            (entry(b"disk", tar.BLOCK_DEVICE, major=4095, minor=(1 << 20) - 1), b""),
            (entry(b"fifo", tar.FIFO), b""),
        ]
    )


def test_ustar_has_room_for_256_bytes() -> None:
    """No pax header is written where none is needed."""
    for name in (b"n" * 100, b"p" * 155 + b"/" + b"n" * 100, b"p" * 120 + b"/" + b"n" * 99 + b"/"):
        kind = tar.DIRECTORY if name.endswith(b"/") else tar.REGULAR
        assert len(headers(entry(name, kind))) == tar.BLOCK
        same([(entry(name, kind), b"")])
    for name in (b"n" * 101, b"p" * 156 + b"/n", "\N{SNOWMAN}".encode()):
        assert len(headers(entry(name))) == 3 * tar.BLOCK
    assert len(headers(entry(b"n", mtime_ns=1_700_000_000 * 10**9, uid=65534))) == tar.BLOCK


def test_sizes_beyond_eight_gibibytes() -> None:
    """The header alone: the reader wants the contents only when they are asked for."""
    big = entry(b"big", size=1 << 40)
    (found,) = [next(tar.Reader(Stream(iter([headers(big)]))))]
    assert found.size == 1 << 40


def test_many_xattrs_make_records_of_every_length() -> None:
    """A record counts the digits of its own length, which matters around 10, 100 and 1000 bytes."""
    for length in [*range(120), *range(960, 1020)]:
        same([(entry(b"f", xattrs={b"user.n": b"v" * length}), b"")])


def test_the_same_entries_give_the_same_bytes_in_any_order_of_attributes() -> None:
    one = entry(b"f", xattrs={b"user.a": b"1", b"user.b": b"2"})
    other = entry(b"f", xattrs={b"user.b": b"2", b"user.a": b"1"})
    assert written([(one, b"")]) == written([(other, b"")])


def test_contents_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = os.urandom(10_000)
    path.write_bytes(data)
    with path.open("rb") as file:
        pieces: list[bytes] = []
        writer = Writer(lambda piece: pieces.append(bytes(piece)), 4096)
        writer.add(entry(b"file", size=len(data)), file.fileno())
        with pytest.raises(Truncated, match="'longer' became shorter"):
            writer.add(entry(b"longer", size=len(data) + 1), file.fileno())
    (found, content), *_ = read(b"".join(pieces)[:10_752] + bytes(1024))
    assert (found.name, content) == (b"file", data)


def test_a_piece_stays_until_the_next_is_taken() -> None:
    """Whoever takes the pieces may still be at work on the last one while the next is being filled."""
    late: list[tuple[memoryview, bytes]] = []

    def put(piece: memoryview) -> None:
        if late:
            view, copy = late[-1]
            assert bytes(view) == copy
        late.append((piece, bytes(piece)))

    writer = Writer(put, 1024)
    for number in range(20):
        writer.add(entry(b"%d" % number, size=700), os.urandom(700))
    writer.finish()
    assert len(late) > 10


@pytest.mark.parametrize("size", [5 << 20, (5 << 20) + 123])
def test_gnu_tar_reads_it(tmp_path: Path, size: int) -> None:
    if reason := probe.missing_programs("tar"):
        pytest.skip(reason)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"data" * 100_000)
        file.truncate(size)
    name = "long/" * 60 + "n\u00e4me"
    holes = entry(name.encode(), size=400_000, real_size=size, segments=[(1 << 20, 400_000), (size, 0)])
    pieces: list[bytes] = []
    writer = Writer(lambda piece: pieces.append(bytes(piece)))
    with sparse.open("rb") as file:
        writer.add(holes, file.fileno())
    writer.add(entry(b"plain\xff", size=3, mtime_ns=1_234_567_890_123_456_789), b"abc")
    writer.finish()
    archive = tmp_path / "archive.tar"
    archive.write_bytes(b"".join(pieces))
    assert len(b"".join(pieces)) < 500_000
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-C", out, "-xf", archive], check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    assert (out / name).read_bytes() == sparse.read_bytes()
    assert os.stat(out / name).st_blocks * 512 < 1 << 20
    plain = os.path.join(os.fsencode(out), b"plain\xff")
    assert os.stat(plain).st_mtime_ns == 1_234_567_890_123_456_789
    found, data = read(archive.read_bytes())[0]
    assert (found.segments, found.real_size, data) == (holes.segments, size, b"data" * 100_000)
