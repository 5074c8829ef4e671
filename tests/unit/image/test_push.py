"""Pushing to a registry in memory: what is sent, what is not, and what is told."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable

import pytest

from mydocker import errors
from mydocker.archive.deflate import gzipped
from mydocker.cli.transfer import line
from mydocker.image import platforms, pull, push
from mydocker.image.progress import Progress, ignore
from mydocker.image.store import ImageStore
from mydocker.oci import reference as references
from mydocker.oci.reference import Reference
from mydocker.registry.client import Registries
from support import archives
from support.fake_registry import FakeRegistry
from support.faulty import status
from support.layout import Layout, layer
from support.served_image import ServedImage

pytestmark = pytest.mark.root

ONE, TWO = layer("one"), layer("two")
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

Archive = Callable[..., str]


@pytest.fixture
def pushed(
    store: ImageStore, fake: FakeRegistry, registries: Registries, told: list[Progress]
) -> Callable[..., str]:
    """``pushed("a/b:1")`` to the fake registry."""

    def make(name: str = "a/b:1", platform: str = "") -> str:
        wanted = platforms.parse(platform) if platform else None
        return push.push(store, registries, on(fake, name), wanted, told.append)

    return make


Push = Callable[..., str]


def on(fake: FakeRegistry, name: str) -> Reference:
    return references.parse(f"{fake.address}/{name}")


def shown(told: list[Progress]) -> list[str]:
    return [text for progress in told if (text := line(progress)) is not None]


def uploads(fake: FakeRegistry) -> int:
    """How many blobs were sent."""
    return len([asked for asked in fake.asked("PUT", "/uploads/") if asked.query("digest")])


def pull_it(
    store: ImageStore, registries: Registries, fake: FakeRegistry, name: str = "a/b:1"
) -> pull.Pulled:
    return pull.pull(store, registries, on(fake, name), None, ignore)


def test_gzip_is_the_same_each_time() -> None:
    data = [b"some data " * 10_000, b"", b"and more" * 999]
    first, second = (b"".join(gzipped(iter(data))) for _ in range(2))
    assert first == second
    assert gzip.decompress(first) == b"".join(data)
    assert first[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "neither time nor name nor system"
    assert zlib.decompressobj(31).decompress(b"".join(gzipped(iter([])))) == b""


def test_plain_layers_are_compressed_and_stay_so(
    store: ImageStore, fake: FakeRegistry, pushed: Push, told: list[Progress], archive: Archive
) -> None:
    name = f"{fake.address}/a/b:1"
    store.load(archive(name, [ONE, TWO]))
    before = store.resolve(name)
    digest = pushed()
    kind, data = fake.manifests["a/b", "1"]
    manifest = json.loads(data)
    assert kind == "application/vnd.oci.image.manifest.v1+json"
    assert [entry["mediaType"] for entry in manifest["layers"]] == [
        "application/vnd.oci.image.layer.v1.tar+gzip"
    ] * 2
    sent = [gzip.decompress(fake.blobs["a/b", entry["digest"]]) for entry in manifest["layers"]]
    assert sent == [ONE, TWO]
    after = store.resolve(name)
    assert (after.id, after.digest) == (before.id, digest)
    assert after.repo_tags == [name]
    assert after.repo_digests == [f"{fake.address}/a/b@{digest}"]
    assert store.content.read(digest) == data
    assert not any(store.content.has(archives.digest(plain)) for plain in (ONE, TWO)), (
        "the plain blobs are gone"
    )
    two, one = (archives.digest(plain)[7:19] for plain in (TWO, ONE))
    lines = shown(told)
    assert lines[:3] == [
        f"The push refers to repository [{fake.address}/a/b]",
        f"{two}: Preparing",
        f"{one}: Preparing",
    ]
    assert sorted(lines[3:5]) == sorted([f"{one}: Pushed", f"{two}: Pushed"])
    assert lines[5] == f"1: digest: {digest} size: {len(data)}"


def test_again_sends_nothing(
    store: ImageStore, fake: FakeRegistry, pushed: Push, told: list[Progress], archive: Archive
) -> None:
    store.load(archive(f"{fake.address}/a/b:1", [ONE]))
    digest = pushed()
    fake.requests.clear()
    told.clear()
    assert pushed() == digest
    assert uploads(fake) == 0
    assert fake.asked("*", "/blobs/") == [], "the manifest tells that its blobs are there"
    assert shown(told)[2] == f"{archives.digest(ONE)[7:19]}: Layer already exists"


def test_what_the_registry_has_under_another_manifest(
    store: ImageStore, fake: FakeRegistry, pushed: Push, told: list[Progress], archive: Archive
) -> None:
    store.load(archive(f"{fake.address}/a/b:1", [ONE]))
    pushed()
    store.load(archive(f"{fake.address}/a/b:2", [ONE, TWO]))
    told.clear()
    fake.requests.clear()
    pushed("a/b:2")
    assert f"{archives.digest(ONE)[7:19]}: Layer already exists" in shown(told)
    assert f"{archives.digest(TWO)[7:19]}: Pushed" in shown(told)
    assert uploads(fake) == 2, "a layer and the configuration"


def test_a_layer_is_compressed_once_for_all_images(
    store: ImageStore, fake: FakeRegistry, pushed: Push, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.load(archive(f"{fake.address}/a/b:1", [ONE]))
    store.load(archive(f"{fake.address}/c:1", [ONE], config={"Cmd": ["other"]}))
    pushed()
    monkeypatch.setattr("mydocker.image.send.gzipped", None)
    pushed("c:1")
    assert fake.manifests["c", "1"][1] != fake.manifests["a/b", "1"][1]
    layers = [json.loads(fake.manifests[name, "1"][1])["layers"] for name in ("a/b", "c")]
    assert layers[0] == layers[1]


def test_what_was_pulled_goes_back_as_it_came(
    store: ImageStore, fake: FakeRegistry, registries: Registries, pushed: Push
) -> None:
    image = ServedImage(fake, [ONE, TWO])
    image.manifest["annotations"] = {"some": "thing"}
    digest = image.put()["digest"]
    pull_it(store, registries, fake)
    store.tag(image.id, f"{fake.address}/copy:2")
    assert pushed("copy:2") == digest
    assert fake.manifests["copy", "2"] == fake.manifests["a/b", "1"]


def test_layers_are_mounted_from_where_they_are(
    store: ImageStore, fake: FakeRegistry, registries: Registries, pushed: Push, told: list[Progress]
) -> None:
    image = ServedImage(fake, [ONE])
    image.put()
    pull_it(store, registries, fake)
    store.tag(image.id, f"{fake.address}/copy:2")
    store.tag(image.id, f"{fake.address}/never/pushed:1")
    fake.requests.clear()
    pushed("copy:2")
    assert f"{archives.digest(ONE)[7:19]}: Mounted from a/b" in shown(told)
    assert [asked.query("from") for asked in fake.asked("POST", "mount")] == ["a/b"]
    assert uploads(fake) == 1, "the configuration"
    assert fake.blobs["copy", image.descriptors[0]["digest"]] == image.stored[0]


def test_a_mount_that_is_refused_becomes_an_upload(
    store: ImageStore, fake: FakeRegistry, registries: Registries, pushed: Push, told: list[Progress]
) -> None:
    image = ServedImage(fake, [ONE])
    image.put()
    pull_it(store, registries, fake)
    del fake.blobs["a/b", image.descriptors[0]["digest"]]
    store.tag(image.id, f"{fake.address}/copy:2")
    pushed("copy:2")
    assert f"{archives.digest(ONE)[7:19]}: Pushed" in shown(told)
    assert fake.blobs["copy", image.descriptors[0]["digest"]] == image.stored[0]


def test_the_same_layer_twice(store: ImageStore, fake: FakeRegistry, pushed: Push, archive: Archive) -> None:
    store.load(archive(f"{fake.address}/a/b:1", [ONE, TWO, ONE]))
    pushed()
    assert uploads(fake) == 3
    layers = json.loads(fake.manifests["a/b", "1"][1])["layers"]
    assert layers[0] == layers[2] != layers[1]


@pytest.mark.parametrize("urls", [["https://publisher.example/one"], []])
def test_foreign_layers_are_left_where_they_are(
    store: ImageStore,
    fake: FakeRegistry,
    pushed: Push,
    told: list[Progress],
    layout: Layout,
    urls: list[str],
) -> None:
    """One that is nowhere else is sent: without it the image could not be pulled."""
    image = layout.image([ONE], [gzip.compress(ONE)], media_type=FOREIGN, urls=urls)
    store.load(layout.write({**image, "annotations": {"io.containerd.image.name": f"{fake.address}/a/b:1"}}))
    pushed()
    skipped = f"{archives.digest(ONE)[7:19]}: Skipped foreign layer" in shown(told)
    assert (skipped, uploads(fake)) == ((True, 1) if urls else (False, 2)), "one is the configuration"
    layer = json.loads(fake.manifests["a/b", "1"][1])["layers"][0]
    assert (layer["mediaType"], layer["urls"]) == (FOREIGN, urls)


def test_all_tags(
    store: ImageStore, fake: FakeRegistry, registries: Registries, told: list[Progress], archive: Archive
) -> None:
    for tag, plain in (("1", ONE), ("2", TWO)):
        store.load(archive(f"{fake.address}/a/b:{tag}", [plain]))
    store.load(archive(f"{fake.address}/other:3", [ONE]))
    digests = push.push_all(store, registries, on(fake, "a/b"), None, told.append)
    assert {reference for name, reference in fake.manifests if name == "a/b"} == {"1", "2", *digests}
    assert [text.partition(":")[0] for text in shown(told) if "digest: " in text] == ["1", "2"]
    assert not [name for name, _ in fake.manifests if name == "other"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none:1", "An image does not exist locally with the tag: 127.0.0.1:[0-9]+/none"),
        ("a/b:2", "tag does not exist: 127.0.0.1:[0-9]+/a/b:2"),
    ],
)
def test_what_is_not_here(
    store: ImageStore, fake: FakeRegistry, pushed: Push, archive: Archive, name: str, message: str
) -> None:
    store.load(archive(f"{fake.address}/a/b:1", [ONE]))
    with pytest.raises(errors.NotFound, match=message):
        pushed(name)
    assert fake.requests == []


def test_a_digest_cannot_be_pushed(
    store: ImageStore, fake: FakeRegistry, pushed: Push, archive: Archive
) -> None:
    store.load(archive(f"{fake.address}/a/b:1", [ONE]))
    with pytest.raises(errors.InvalidArgument, match="cannot push a digest reference"):
        pushed(f"a/b@{store.resolve(f'{fake.address}/a/b:1').digest}")


def test_only_for_a_platform(store: ImageStore, fake: FakeRegistry, pushed: Push, archive: Archive) -> None:
    store.load(archive(f"{fake.address}/a/b:1", [ONE]))
    with pytest.raises(errors.NotFound, match="wanted linux/s390x, actual: linux/amd64"):
        pushed(platform="linux/s390x")
    pushed(platform="linux/amd64")


@pytest.mark.parametrize(
    ("method", "code", "kind"),
    [("HEAD", 401, errors.Unauthorized), ("POST", 403, errors.Forbidden), ("PUT", 500, errors.Unavailable)],
)
def test_a_refusal(
    store: ImageStore,
    fake: FakeRegistry,
    pushed: Push,
    archive: Archive,
    method: str,
    code: int,
    kind: type[errors.Error],
) -> None:
    store.load(archive(f"{fake.address}/a/b:1", [ONE]))
    before = store.resolve(f"{fake.address}/a/b:1")
    fake.when(method, "/blobs/", status(code))
    with pytest.raises(kind, match=fake.address):
        pushed()
    after = store.resolve(f"{fake.address}/a/b:1")
    assert (after.digest, after.repo_digests) == (before.digest, [])
    assert store.content.has(archives.digest(ONE))
