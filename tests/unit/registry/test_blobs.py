"""Blobs that come down: whole, in part, over connections that break, from hosts that lie."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from mydocker import errors
from mydocker.registry.client import Repository
from support import faulty
from support.fake_registry import FakeRegistry, digest_of

BLOB = os.urandom(1 << 20)
DIGEST = digest_of(BLOB)

Connect = Callable[..., Any]


def read(repository: Repository, offset: int = 0, size: int | None = len(BLOB)) -> bytes:
    return b"".join(repository.blob(DIGEST, offset=offset, size=size))


@pytest.fixture
def full(fake: FakeRegistry) -> FakeRegistry:
    fake.add_blob(BLOB)
    return fake


@pytest.mark.parametrize("size", [len(BLOB), None])
@pytest.mark.parametrize("offset", [0, 1, 77_777, len(BLOB) - 1, len(BLOB)])
def test_from_any_byte(full: FakeRegistry, connect: Connect, offset: int, size: int | None) -> None:
    assert read(connect(full), offset, size) == BLOB[offset:]


def test_past_the_end(full: FakeRegistry, connect: Connect) -> None:
    with pytest.raises(errors.InvalidArgument, match="cannot be read from"):
        read(connect(full), len(BLOB) + 1)
    with pytest.raises(errors.CorruptData, match="there is nothing from byte"):
        read(connect(full), len(BLOB) + 1, None)


def test_a_host_that_ignores_ranges(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "/blobs/", lambda _asked, _answer: faulty.Answer(200, {}, BLOB))
    assert read(connect(full), 123_456) == BLOB[123_456:]


def test_a_broken_connection_is_taken_up_where_it_broke(
    full: FakeRegistry, connect: Connect, notices: list[str]
) -> None:
    full.when("GET", "/blobs/", faulty.truncate(300_000), times=3)
    assert read(connect(full)) == BLOB
    ranges = [asked.headers.get("range") for asked in full.asked("GET", "/blobs/")]
    assert ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert len(notices) == 3
    assert all(full.address in notice and "retrying in 1 second" in notice for notice in notices)


def test_progress_counts_as_success(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "/blobs/", faulty.truncate(70_000))
    assert read(connect(full)) == BLOB
    assert len(full.asked("GET", "/blobs/")) == 15


def test_no_progress_is_given_up(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "/blobs/", faulty.truncate(10))
    with pytest.raises(errors.Unavailable, match=r"a/b: cannot reach 127\.0\.0\.1:\d+: connection"):
        read(connect(full))
    assert len(full.asked("GET", "/blobs/")) == 5


def test_a_host_that_ignores_ranges_and_breaks(full: FakeRegistry, connect: Connect) -> None:
    def whole(_asked: faulty.Asked, answer: faulty.Answer) -> faulty.Answer:
        return faulty.Answer(200, {}, BLOB, answer.cut)

    full.when("GET", "/blobs/", faulty.truncate(300_000), times=1)
    full.when("GET", "/blobs/", whole)
    assert read(connect(full)) == BLOB


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_a_status_that_may_pass(full: FakeRegistry, connect: Connect, code: int) -> None:
    full.when("GET", "/blobs/", faulty.status(code), times=4)
    assert read(connect(full)) == BLOB


def test_a_connection_that_is_closed_in_place_of_a_reply(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "/blobs/", faulty.hang_up(), times=2)
    assert read(connect(full)) == BLOB


def test_a_body_without_length(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "/blobs/", faulty.without_length())
    assert read(connect(full)) == BLOB


@pytest.mark.parametrize("claimed", [len(BLOB) - 1, len(BLOB) + 1])
def test_a_length_that_is_not_the_descriptors(full: FakeRegistry, connect: Connect, claimed: int) -> None:
    with pytest.raises(errors.CorruptData, match=f"it has {len(BLOB)} bytes, and should have {claimed}"):
        read(connect(full), 0, claimed)


@pytest.mark.parametrize("offset", [0, 5])
def test_more_bytes_than_the_descriptor_says(full: FakeRegistry, connect: Connect, offset: int) -> None:
    """No length is given, so only counting finds it out; what came before has been handed on."""
    full.when("GET", "/blobs/", faulty.without_length())
    full.when("GET", "/blobs/", faulty.header("Content-Range", f"bytes {offset}-{len(BLOB) - 1}/*"))
    with pytest.raises(errors.CorruptData, match="it has more than 1000 bytes"):
        read(connect(full), offset, 1000)


def test_fewer_bytes_than_the_descriptor_says(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "/blobs/", faulty.without_length())
    with pytest.raises(errors.CorruptData, match=f"it ends at byte {len(BLOB)} of {len(BLOB) + 1}"):
        read(connect(full), 0, len(BLOB) + 1)


def test_another_range_than_was_asked_for(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "/blobs/", faulty.header("Content-Range", f"bytes 0-9/{len(BLOB)}"))
    with pytest.raises(errors.CorruptData, match="asked for it from byte 10, and got bytes 0"):
        read(connect(full), 10)


def test_a_blob_that_is_not_there(fake: FakeRegistry, connect: Connect) -> None:
    with pytest.raises(errors.NotFound, match=f"blob {DIGEST} of {fake.address}/a/b not found: blob unknown"):
        read(connect(fake))


def test_nothing_is_asked_before_the_first_byte_is_wanted(full: FakeRegistry, connect: Connect) -> None:
    connect(full).blob(DIGEST)
    assert full.requests == []


def test_size(full: FakeRegistry, connect: Connect) -> None:
    repository = connect(full)
    assert repository.blob_size(DIGEST) == len(BLOB)
    assert repository.blob_size(digest_of(b"")) is None
    assert full.asked("GET", "/blobs/") == []


def test_size_at_a_registry_that_does_not_tell(full: FakeRegistry, connect: Connect) -> None:
    full.when("HEAD", "/blobs/", lambda _asked, _answer: faulty.Answer(200, {"Transfer-Encoding": "chunked"}))
    assert connect(full).blob_size(DIGEST) == len(BLOB)


def test_a_connection_is_used_again(full: FakeRegistry, connect: Connect) -> None:
    repository = connect(full)
    read(repository)
    read(repository, 1000)
    assert repository.blob_size(DIGEST) == len(BLOB)
    assert len({asked.peer for asked in full.requests}) == 1


def test_a_child_makes_connections_of_its_own(full: FakeRegistry, connect: Connect) -> None:
    repository = connect(full)
    read(repository)
    child = os.fork()
    if child == 0:
        try:
            same = read(repository, 1000) == BLOB[1000:]
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    signal.alarm(20)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    signal.alarm(0)
    assert read(repository, 2000) == BLOB[2000:]
    mine, child_s, again = (asked.peer for asked in full.asked("GET", "/blobs/"))
    assert mine == again != child_s


def test_a_connection_that_is_reset(full: FakeRegistry, connect: Connect) -> None:
    full.when("GET", "/blobs/", faulty.truncate(300_000, reset=True), times=2)
    assert read(connect(full)) == BLOB
