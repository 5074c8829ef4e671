"""Blobs that go up: in one piece, in chunks, over connections that break; and mounts, which send nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mydocker import errors
from mydocker.registry.configuration import Configuration, Settings
from support import faulty
from support.fake_registry import FakeRegistry, digest_of, error

BLOB = os.urandom(1_000_000)
DIGEST = digest_of(BLOB)

Connect = Callable[..., Any]


def read(offset: int) -> Iterator[bytes]:
    for at in range(offset, len(BLOB), 150_000):
        yield BLOB[at : at + 150_000]


def chunked(fake: FakeRegistry, size: int) -> Configuration:
    return Configuration({fake.address: Settings(chunk_size=size)}, certificates=())


def ranges(fake: FakeRegistry) -> list[str | None]:
    return [asked.headers.get("content-range") for asked in fake.asked("PATCH")]


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_in_one_piece(connect: Connect, absolute: bool) -> None:
    with FakeRegistry(absolute=absolute) as fake:
        connect(fake, push=True).upload(DIGEST, len(BLOB), read)
        assert fake.blobs["a/b", DIGEST] == BLOB
        assert [asked.method for asked in fake.requests] == ["POST", "PUT"]
        put = fake.asked("PUT")[0]
        assert put.headers["content-length"] == str(len(BLOB))
        assert put.query("state") == "0"
        assert put.headers["content-type"] == "application/octet-stream"


def test_nothing_at_all(fake: FakeRegistry, connect: Connect) -> None:
    empty = digest_of(b"")
    connect(fake, push=True).upload(empty, 0, lambda _offset: iter(()))
    assert fake.blobs["a/b", empty] == b""


def test_in_chunks(fake: FakeRegistry, connect: Connect) -> None:
    connect(fake, push=True, configuration=chunked(fake, 400_000)).upload(DIGEST, len(BLOB), read)
    assert fake.blobs["a/b", DIGEST] == BLOB
    assert ranges(fake) == ["0-399999", "400000-799999", "800000-999999"]
    assert fake.asked("PUT")[0].body == b""


def test_the_registrys_smallest_chunk(connect: Connect) -> None:
    with FakeRegistry(chunk_minimum=600_000) as fake:
        connect(fake, push=True, configuration=chunked(fake, 400_000)).upload(DIGEST, len(BLOB), read)
        assert fake.blobs["a/b", DIGEST] == BLOB
        assert ranges(fake) == ["0-599999", "600000-999999"]


def test_a_broken_upload_goes_on_where_the_registry_says(
    fake: FakeRegistry, connect: Connect, notices: list[str]
) -> None:
    fake.when("PUT", "/uploads/", times=1, upload_limit=300_000)
    connect(fake, push=True).upload(DIGEST, len(BLOB), read)
    assert fake.blobs["a/b", DIGEST] == BLOB
    assert ranges(fake) == ["300000-999999"]
    assert len(notices) == 1


def test_a_broken_chunk(fake: FakeRegistry, connect: Connect) -> None:
    fake.when("PATCH", "/uploads/", times=2, upload_limit=100_000)
    connect(fake, push=True, configuration=chunked(fake, 400_000)).upload(DIGEST, len(BLOB), read)
    assert fake.blobs["a/b", DIGEST] == BLOB
    assert ranges(fake) == [
        "0-399999",
        "100000-499999",
        "200000-599999",
        "600000-999999",
    ]


def test_a_chunk_whose_reply_is_lost(fake: FakeRegistry, connect: Connect) -> None:
    """The registry has it all the same, so it is not sent again."""
    fake.when("PATCH", "/uploads/", faulty.hang_up(), times=1)
    connect(fake, push=True, configuration=chunked(fake, 400_000)).upload(DIGEST, len(BLOB), read)
    assert ranges(fake) == ["0-399999", "400000-799999", "800000-999999"]


def test_an_upload_that_the_registry_has_forgotten_starts_anew(fake: FakeRegistry, connect: Connect) -> None:
    def forget(_asked: faulty.Asked, _answer: faulty.Answer) -> faulty.Answer:
        fake.uploads.clear()
        return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")

    fake.when("PATCH", "/uploads/", forget, times=1)
    connect(fake, push=True, configuration=chunked(fake, 600_000)).upload(DIGEST, len(BLOB), read)
    assert fake.blobs["a/b", DIGEST] == BLOB
    assert len(fake.asked("POST", "/uploads/")) == 2


def test_a_registry_that_fails_for_a_while(fake: FakeRegistry, connect: Connect) -> None:
    fake.when("PUT", "/uploads/", faulty.status(503), times=3, instead=True)
    connect(fake, push=True).upload(DIGEST, len(BLOB), read)
    assert fake.blobs["a/b", DIGEST] == BLOB


def test_a_registry_that_goes_on_failing(fake: FakeRegistry, connect: Connect) -> None:
    fake.when("PUT", "/uploads/", faulty.status(503), instead=True)
    with pytest.raises(errors.Unavailable, match="503 Service Unavailable"):
        connect(fake, push=True).upload(DIGEST, len(BLOB), read)
    assert len(fake.asked("PUT")) == 5


def test_bytes_that_do_not_have_the_digest(fake: FakeRegistry, connect: Connect) -> None:
    with pytest.raises(errors.CorruptData, match="digest invalid: provided digest did not match"):
        connect(fake, push=True).upload(digest_of(b"other"), len(BLOB), read)


def test_a_source_that_is_too_short(fake: FakeRegistry, connect: Connect) -> None:
    with pytest.raises(errors.CorruptData, match="ends 5 bytes before its size"):
        connect(fake, push=True).upload(DIGEST, len(BLOB) + 5, read)
    assert fake.blobs == {}


def test_a_source_that_is_too_long(fake: FakeRegistry, connect: Connect) -> None:
    connect(fake, push=True).upload(digest_of(BLOB[:10]), 10, read)
    assert fake.blobs["a/b", digest_of(BLOB[:10])] == BLOB[:10]


def test_a_source_that_cannot_be_read(fake: FakeRegistry, connect: Connect) -> None:
    def broken(_offset: int) -> Iterator[bytes]:
        yield b"x"
        raise OSError(5, "Input/output error")

    with pytest.raises(errors.CorruptData, match=f"cannot read blob {DIGEST}: Input/output error"):
        connect(fake, push=True).upload(DIGEST, len(BLOB), broken)


def test_a_registry_that_does_not_say_where(fake: FakeRegistry, connect: Connect) -> None:
    fake.when("POST", "", faulty.header("Location", None))
    with pytest.raises(errors.CorruptData, match="does not say where the upload goes"):
        connect(fake, push=True).upload(DIGEST, len(BLOB), read)


def test_a_redirect_in_the_middle(fake: FakeRegistry, connect: Connect) -> None:
    with FakeRegistry() as other:
        other.uploads = fake.uploads
        other.blobs = fake.blobs
        fake.when("PUT", "", faulty.redirect(f"{other.url}{{target}}"), instead=True)
        connect(fake, push=True).upload(DIGEST, len(BLOB), read)
        assert other.asked("PUT")


def test_mount(fake: FakeRegistry, connect: Connect) -> None:
    fake.add_blob(BLOB, "other/place")
    assert connect(fake, push=True).mount(DIGEST, "other/place")
    assert fake.blobs["a/b", DIGEST] == BLOB
    assert [asked.method for asked in fake.requests] == ["POST"]


def test_a_mount_that_becomes_an_upload(fake: FakeRegistry, connect: Connect) -> None:
    repository = connect(fake, push=True)
    assert not repository.mount(DIGEST, "other/place")
    repository.upload(DIGEST, len(BLOB), read)
    assert fake.blobs["a/b", DIGEST] == BLOB
    assert [asked.method for asked in fake.requests] == ["POST", "PUT"]


@pytest.mark.parametrize("code", [403, 404, 405])
def test_a_mount_that_is_refused(fake: FakeRegistry, connect: Connect, code: int) -> None:
    fake.when("POST", "mount=", faulty.status(code))
    repository = connect(fake, push=True)
    assert not repository.mount(DIGEST, "other/place")
    repository.upload(DIGEST, len(BLOB), read)
    assert fake.blobs["a/b", DIGEST] == BLOB
