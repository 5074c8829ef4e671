"""Manifests and tags: what is asked for, what is believed, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mydocker import errors
from mydocker.oci import descriptor as descriptors
from mydocker.registry.client import Document
from mydocker.registry.remote import MANIFEST_LIMIT
from support import faulty
from support.fake_registry import FakeRegistry, digest_of

DESCRIBED = {"mediaType": descriptors.OCI_CONFIG, "digest": digest_of(b"{}"), "size": 2}
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": descriptors.OCI_MANIFEST, "config": DESCRIBED, "layers": []}
).encode()
INDEX = json.dumps({"schemaVersion": 2, "manifests": []}).encode()

Connect = Callable[..., Any]


def test_by_tag_and_by_digest(fake: FakeRegistry, connect: Connect) -> None:
    digest = fake.add_manifest("a/b", "1", MANIFEST)
    expected = Document(descriptors.OCI_MANIFEST, digest, MANIFEST, len(MANIFEST))
    repository = connect(fake)
    assert repository.manifest("1") == expected
    assert repository.manifest(digest) == expected
    assert repository.name == f"{fake.address}/a/b"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (descriptors.OCI_MANIFEST, MANIFEST),
        (descriptors.OCI_INDEX, INDEX),
        (
            descriptors.DOCKER_MANIFEST,
            MANIFEST.replace(b"oci.image.manifest.v1", b"docker.distribution.manifest.v2"),
        ),
        (descriptors.DOCKER_INDEX, INDEX),
    ],
)
def test_every_kind_is_asked_for_and_taken(
    fake: FakeRegistry, connect: Connect, kind: str, data: bytes
) -> None:
    fake.add_manifest("a/b", "1", data, kind)
    assert connect(fake).manifest("1").media_type == kind
    assert kind in fake.asked("GET", "/manifests/1")[0].headers["accept"]


@pytest.mark.parametrize(
    ("data", "expected"), [(MANIFEST, descriptors.OCI_MANIFEST), (INDEX, descriptors.OCI_INDEX)]
)
def test_a_vague_media_type_is_read_from_the_document(
    fake: FakeRegistry, connect: Connect, data: bytes, expected: str
) -> None:
    fake.add_manifest("a/b", "1", data, "application/json; charset=utf-8")
    assert connect(fake).manifest("1").media_type == expected


@pytest.mark.parametrize(
    ("kind", "data", "error", "message"),
    [
        ("text/html", MANIFEST, errors.CorruptData, "media type 'text/html' is that of neither"),
        (descriptors.OCI_INDEX, MANIFEST, errors.CorruptData, "but was sent as"),
        (descriptors.OCI_MANIFEST, b"<html>", errors.CorruptData, "not JSON"),
        (descriptors.OCI_MANIFEST, b"[]", errors.CorruptData, "no JSON object"),
        ("application/json", b"{}", errors.CorruptData, "neither a manifest nor an index"),
        (
            descriptors.OCI_INDEX,
            b'{"manifests":[],"layers":[]}',
            errors.CorruptData,
            "or both",
        ),
        (
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            b"{}",
            errors.NotSupported,
            "schema 1 is not supported",
        ),
        ("application/json", b'{"schemaVersion":1}', errors.NotSupported, "schema 1 is not supported"),
    ],
)
def test_what_is_no_manifest_is_refused(
    fake: FakeRegistry, connect: Connect, kind: str, data: bytes, error: type[errors.Error], message: str
) -> None:
    fake.add_manifest("a/b", "1", data, kind)
    with pytest.raises(error, match=message) as caught:
        connect(fake).manifest("1")
    assert f"{fake.address}/a/b:1" in str(caught.value)


def test_a_manifest_that_is_not_what_its_digest_says(fake: FakeRegistry, connect: Connect) -> None:
    digest = fake.add_manifest("a/b", "1", MANIFEST)
    fake.when("GET", digest, faulty.corrupt(-3))
    with pytest.raises(errors.CorruptData, match=f"not {digest}"):
        connect(fake).manifest(digest)


def test_the_registrys_own_digest_is_checked(fake: FakeRegistry, connect: Connect) -> None:
    fake.add_manifest("a/b", "1", MANIFEST)
    fake.when("GET", "/manifests/1", faulty.header("Docker-Content-Digest", digest_of(b"other")))
    with pytest.raises(errors.CorruptData, match=digest_of(b"other")):
        connect(fake).manifest("1")


def test_a_manifest_that_is_too_large(fake: FakeRegistry, connect: Connect) -> None:
    data = MANIFEST + b" " * (MANIFEST_LIMIT + 1 - len(MANIFEST))
    fake.add_manifest("a/b", "1", data)
    with pytest.raises(errors.CorruptData, match="too large"):
        connect(fake).manifest("1")
    fake.add_manifest("a/b", "2", data[:-1])
    assert connect(fake).manifest("2").size == MANIFEST_LIMIT


def test_a_manifest_that_is_cut_off_is_asked_for_again(fake: FakeRegistry, connect: Connect) -> None:
    fake.add_manifest("a/b", "1", MANIFEST)
    fake.when("GET", "/manifests/", faulty.truncate(10, reset=True), times=4)
    assert connect(fake).manifest("1").data == MANIFEST
    assert len(fake.asked("GET", "/manifests/1")) == 5


def test_resolve(fake: FakeRegistry, connect: Connect) -> None:
    digest = fake.add_manifest("a/b", "1", MANIFEST)
    repository = connect(fake)
    assert repository.resolve("1") == Document(descriptors.OCI_MANIFEST, digest, b"", len(MANIFEST))
    assert repository.resolve("2") is None
    assert fake.asked("GET", "/manifests/") == []


def test_resolve_at_a_registry_that_says_little(fake: FakeRegistry, connect: Connect) -> None:
    digest = fake.add_manifest("a/b", "1", MANIFEST)
    fake.when("HEAD", "", faulty.header("Docker-Content-Digest", None))
    assert connect(fake).resolve("1") == Document(descriptors.OCI_MANIFEST, digest, b"", len(MANIFEST))


def test_put(fake: FakeRegistry, connect: Connect) -> None:
    digest = connect(fake, push=True).put_manifest("1", descriptors.OCI_MANIFEST, MANIFEST)
    assert digest == digest_of(MANIFEST)
    assert fake.manifests["a/b", "1"] == (descriptors.OCI_MANIFEST, MANIFEST)


def test_put_is_checked(fake: FakeRegistry, connect: Connect) -> None:
    fake.when("PUT", "", faulty.header("Docker-Content-Digest", digest_of(b"other")))
    with pytest.raises(errors.CorruptData, match="but the registry has"):
        connect(fake, push=True).put_manifest("1", descriptors.OCI_MANIFEST, MANIFEST)


def test_tags_over_several_pages(fake: FakeRegistry, connect: Connect) -> None:
    for tag in ("1", "2", "3", "4", "5"):
        fake.add_manifest("a/b", tag)
    fake.page = 2
    assert list(connect(fake).tags()) == ["1", "2", "3", "4", "5"]
    assert len(fake.asked("GET", "/tags/list")) == 3


def test_no_tags(fake: FakeRegistry, connect: Connect) -> None:
    assert list(connect(fake).tags()) == []


def test_pages_without_end(fake: FakeRegistry, connect: Connect) -> None:
    fake.add_manifest("a/b", "1")
    fake.when("GET", "/tags/", faulty.header("Link", '</v2/a/b/tags/list?last=1>; rel="next"'))
    with pytest.raises(errors.CorruptData, match="no end"):
        list(connect(fake).tags())


@pytest.mark.parametrize("data", [b"<html>", b"[]", b'{"tags":"1"}', b'{"tags":[1]}'])
def test_tags_that_are_none(fake: FakeRegistry, connect: Connect, data: bytes) -> None:
    fake.when("GET", "/tags/", lambda _asked, _answer: faulty.Answer(200, {}, data))
    with pytest.raises(errors.CorruptData, match=fake.address):
        list(connect(fake).tags())
