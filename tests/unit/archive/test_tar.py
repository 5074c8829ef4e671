"""The reader against Python's own writer, in each format, and against headers that lie."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mydocker import errors
from mydocker.archive import tar
from mydocker.archive.stream import Stream

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
every_format = pytest.mark.parametrize("form", FORMATS)


def write(
    members: list[tuple[tarfile.TarInfo, bytes]], form: int = tarfile.PAX_FORMAT, **options: Any
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form, errors="surrogateescape", **options) as archive:
        for info, content in members:
            info.size = len(content) if info.isreg() else info.size
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **attributes: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(data: bytes, size: int = 1 << 20) -> list[tuple[tar.Entry, bytes]]:
    stream = Stream(pieces(data, size))
    return [(entry, b"".join(map(bytes, stream.parts(entry.size)))) for entry in tar.Reader(stream)]


def one(info: tarfile.TarInfo, content: bytes = b"", form: int = tarfile.PAX_FORMAT) -> tar.Entry:
    ((entry, found),) = read(write([(info, content)], form))
    assert found == content
    return entry


names = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]) | st.sampled_from("\udce9\udcff"),
    min_size=1,
    max_size=80,
).filter(lambda name: name.strip(" ") not in ("", ".", ".."))
paths = st.lists(names, min_size=1, max_size=6).map("/".join)


@given(
    listed=st.lists(
        st.tuples(paths, st.binary(max_size=1500), st.integers(0, 0o7777), st.integers(0, 2**32 - 2)),
        max_size=6,
    ),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    size=st.integers(1, 3000),
)
@settings(deadline=None)
def test_files(listed: list[tuple[str, bytes, int, int]], form: int, size: int) -> None:
    data = write(
        [(member(name, mode=mode, uid=uid, gid=uid), body) for name, body, mode, uid in listed], form
    )
    found = read(data, size)
    assert [(entry.name, body, entry.mode, entry.uid, entry.gid, entry.type) for entry, body in found] == [
        (name.encode("utf-8", "surrogateescape"), body, mode, uid, uid, tar.REGULAR)
        for name, body, mode, uid in listed
    ]


@every_format
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (tarfile.DIRTYPE, tar.DIRECTORY),
        (tarfile.SYMTYPE, tar.SYMLINK),
        (tarfile.LNKTYPE, tar.LINK),
        (tarfile.FIFOTYPE, tar.FIFO),
        (tarfile.CHRTYPE, tar.CHARACTER),
        (tarfile.BLKTYPE, tar.BLOCK_DEVICE),
        (tarfile.AREGTYPE, tar.REGULAR),
        (tarfile.CONTTYPE, tar.REGULAR),
    ],
)
def test_types(form: str, kind: bytes, expected: bytes) -> None:
    entry = one(member("name", kind, linkname="target", devmajor=8, devminor=70000), form=FORMATS[form])
    assert entry.type == expected
    if expected in (tar.CHARACTER, tar.BLOCK_DEVICE):
        assert (entry.major, entry.minor) == (8, 70000)
    if expected in (tar.SYMLINK, tar.LINK):
        assert entry.link == b"target"


@every_format
def test_long_names(form: str) -> None:
    name = "/".join(["d" * 60] * 2) + "/" + "f" * 60  # more than 100 bytes, with a prefix that ustar can hold
    link = "l" * (100 if form == "ustar" else 3000)
    entry = one(member(name, tarfile.SYMTYPE, linkname=link), form=FORMATS[form])
    assert entry.name == name.encode()
    assert entry.link == link.encode()


@pytest.mark.parametrize("mtime", ["0", "1700000000.123456789", "-1.5", "0.000000001", "9999999999.5", "17."])
def test_times(mtime: str) -> None:
    from decimal import Decimal

    entry = one(member("x", pax_headers={"mtime": mtime}))
    assert entry.mtime_ns == int(Decimal(mtime) * 10**9)


@pytest.mark.parametrize("number", [0, 0o7777777, 0o7777777 + 1, 2**31, 2**32 - 1, 2**40])
def test_base_256(number: int) -> None:
    entry = one(member("x", uid=number, gid=number), form=tarfile.GNU_FORMAT)
    assert (entry.uid, entry.gid) == (number, number)


def test_base_256_negative_time() -> None:
    assert one(member("x", mtime=-5), form=tarfile.GNU_FORMAT).mtime_ns == -5 * 10**9


def test_negative_owner() -> None:
    with pytest.raises(errors.CorruptData, match="negative"):
        read(write([(member("x", uid=-5), b"")], tarfile.GNU_FORMAT))


def test_xattrs() -> None:
    binary = bytes(range(256))
    entry = one(
        member(
            "x",
            pax_headers={
                "SCHILY.xattr.user.text": "grün",
                "SCHILY.xattr.security.capability": binary.decode("utf-8", "surrogateescape"),
                "LIBARCHIVE.xattr.user.per%20cent%3d": base64.b64encode(binary).decode().rstrip("="),
            },
        )
    )
    assert entry.xattrs == {
        b"user.text": "grün".encode(),
        b"security.capability": binary,
        b"user.per cent=": binary,
    }


def test_global_headers_last_until_replaced() -> None:
    data = write([(member("a"), b""), (member("b", pax_headers={"mtime": "7"}), b"")],
                 pax_headers={"mtime": "5.5", "comment": "from git archive"})  # fmt: skip
    first, second = (entry for entry, _ in read(data))
    assert first.mtime_ns == 5_500_000_000
    assert second.mtime_ns == 7_000_000_000


def test_what_is_not_read_is_skipped() -> None:
    data = write([(member("a"), b"x" * 1000), (member("b"), b"y" * 10)])
    stream = Stream(pieces(data, 100))
    found = []
    for entry in tar.Reader(stream):
        next(stream.parts(min(entry.size, 3)))
        found.append(entry.name)
    assert found == [b"a", b"b"]


def test_end_marker() -> None:
    data = write([(member("a"), b"")])
    for cut, ended in ((data, True), (data[:512], False)):
        reader = tar.Reader(Stream(iter([cut])))
        assert len(list(reader)) == 1
        assert reader.ended is ended


@pytest.mark.parametrize("keep", [100, 511, 513, 1000, 1023, 1024 + 100])
def test_truncated(keep: int) -> None:
    data = write([(member("a"), b"x" * 600), (member("b"), b"")])
    with pytest.raises(errors.CorruptData, match="truncated"):
        read(data[:keep])


def header(**fields: bytes) -> bytes:
    """A ustar header with raw ``fields``, and the right checksum."""
    block = bytearray(tarfile.TarInfo("name").tobuf(tarfile.USTAR_FORMAT))
    places = {"mode": 100, "uid": 108, "size": 124, "mtime": 136, "type": 156, "magic": 257, "major": 329}
    for key, value in fields.items():
        block[places[key] : places[key] + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"garbage " * 64, "checksum"),
        (header(size=b"999999999999"), "malformed number"),
        (header(size=b"-0000000001\0"), "negative"),
        (header(type=b"Q"), "unknown type"),
        (header(type=b"M"), "unknown type"),
        (header(type=b"x", size=b"77777777777\0"), "extension"),
        (header(type=b"L", size=b"77777777777\0"), "extension"),
        (header(type=b"x", size=b"00000000000\0"), "followed by no entry"),
        (header(type=b"S"), "sparse"),
    ],
)
def test_malformed_headers(data: bytes, message: str) -> None:
    with pytest.raises(errors.CorruptData, match=message):
        read(data + bytes(1024))


def pax(records: bytes) -> bytes:
    length = b"%011o\0" % len(records)
    return header(type=b"x", size=length) + records + bytes(-len(records) % 512) + header() + bytes(1024)


@pytest.mark.parametrize(
    "records",
    [
        b"no length\n",
        b"99 path=x\n",
        b"8 path=x\n",
        b"10 path=x ",
        b"8 pathx\n",
        b"-1 path=x\n",
        b"0 =\n",
        b"14 size=12abc\n",
        b"13 uid=-1234\n",
        b"13 mtime=1e9\n",
        b"32 LIBARCHIVE.xattr.user.x=!!!!!\n",
        b"12 \xff\xff\xff",
    ],
)
def test_malformed_records(records: bytes) -> None:
    with pytest.raises(errors.CorruptData, match="malformed"):
        read(pax(records))


@pytest.mark.parametrize(
    "records",
    [
        {"GNU.sparse.map": "0,5,3,5", "GNU.sparse.size": "100"},  # overlap
        {"GNU.sparse.map": "0,5,10", "GNU.sparse.size": "100"},  # odd
        {"GNU.sparse.map": "0,10", "GNU.sparse.size": "5"},  # beyond the end
        {"GNU.sparse.map": "0,9", "GNU.sparse.size": "100"},  # not all that is stored
        {"GNU.sparse.map": "0,10"},  # no size
        {"GNU.sparse.map": "x,10", "GNU.sparse.size": "100"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "100"},
    ],
)
def test_malformed_sparse_maps(records: dict[str, str]) -> None:
    with pytest.raises(errors.CorruptData, match=r"sparse|truncated"):
        read(write([(member("x", pax_headers=records), b"0123456789")]))


@given(st.binary(max_size=3000))
def test_any_bytes_end_in_an_error_of_ours(data: bytes) -> None:
    try:
        read(data)
    except errors.CorruptData:
        return


@given(data=st.data())
@settings(deadline=None)
def test_any_flipped_byte_ends_in_an_error_of_ours(data: st.DataObject) -> None:
    archive = bytearray(
        write(
            [
                (
                    member("d/" * 80 + "x", pax_headers={"mtime": "1.5", "SCHILY.xattr.user.a": "b"}),
                    b"content",
                ),
                (member("link", tarfile.LNKTYPE, linkname="t" * 200), b""),
            ]
        )[:6144]
    )
    at = data.draw(st.integers(0, len(archive) - 1))
    archive[at] ^= data.draw(st.integers(1, 255))
    block = at // 512 * 512
    archive[block + 148 : block + 156] = b" " * 8
    archive[block + 148 : block + 156] = b"%06o\0 " % (sum(archive[block : block + 512]) & 0o777777)
    try:
        read(bytes(archive))
    except errors.CorruptData:
        return
