"""Pulling from a registry in memory: what is taken, what is told, and what happens to bad replies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mydocker import errors
from mydocker.cli.transfer import line
from mydocker.image import platforms, pull
from mydocker.image.check import Check
from mydocker.image.progress import Progress, ignore
from mydocker.image.store import ImageStore
from mydocker.oci import reference as references
from mydocker.registry.client import Registries
from mydocker.registry.configuration import Configuration
from mydocker.registry.credentials import Auth, Given
from support import archives
from support.archives import Member, directory
from support.fake_registry import FakeRegistry
from support.faulty import Answer, Asked, Spoil, corrupt, header, status, truncate
from support.layout import files, layer
from support.served_image import CONFIG, INDEX, MANIFEST, ServedImage, gzipped, on, put_index

pytestmark = pytest.mark.root

ONE, TWO = layer("one"), layer("two")
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

Pull = Callable[..., pull.Pulled]


@pytest.fixture
def pulled(store: ImageStore, fake: FakeRegistry, registries: Registries, told: list[Progress]) -> Pull:
    """``pulled("a/b:1")`` from the fake registry."""

    def make(name: str = "a/b:1", platform: str = "") -> pull.Pulled:
        reference = references.parse(f"{fake.address}/{name}").tagged()
        wanted = platforms.parse(platform) if platform else None
        return pull.pull(store, registries, reference, wanted, told.append)

    return make


def shown(told: list[Progress]) -> list[str]:
    """The lines that a pipe gets."""
    return [text for progress in told if (text := line(progress)) is not None]


def content_of(store: ImageStore, reference: str) -> dict[str, str]:
    """The regular files of an image's layers, top first."""
    found: dict[str, str] = {}
    for top in store.resolve(reference).layers:
        for place, _, names in os.walk(top):
            for name in names:
                path = os.path.join(place, name)
                found.setdefault(os.path.relpath(path, top), Path(path).read_text())
    return found


def test_a_manifest(store: ImageStore, fake: FakeRegistry, pulled: Pull, told: list[Progress]) -> None:
    image = ServedImage(fake, [ONE, TWO])
    digest = image.put()["digest"]
    assert pulled() == pull.Pulled(image.id, digest, True)
    name = f"{fake.address}/a/b"
    found = store.resolve(f"{name}:1")
    assert (found.id, found.digest) == (image.id, digest)
    assert found.repo_tags == [f"{name}:1"]
    assert found.repo_digests == [f"{name}@{digest}"]
    for reference in (f"{name}@{digest}", f"{name}:1@{digest}", f"{name}:other@{digest}"):
        assert store.resolve(reference).id == image.id, reference
    assert content_of(store, f"{name}:1") == {"one": "one", "two": "two"}
    one, two = (entry["digest"][7:19] for entry in image.descriptors)
    lines = shown(told)
    assert lines[:3] == ["1: Pulling from a/b", f"{one}: Pulling fs layer", f"{two}: Pulling fs layer"]
    assert lines[-2:] == [f"Digest: {digest}", f"Status: Downloaded newer image for {name}:1"]
    for id in (one, two):
        mine = [text.partition(": ")[2] for text in lines if text.startswith(f"{id}: ")]
        assert mine == ["Pulling fs layer", "Verifying Checksum", "Download complete", "Pull complete"]
    assert os.listdir(Path(store.content.root, "download")) == []
    assert os.listdir(Path(store.content.root, "ingest")) == []


def test_again(fake: FakeRegistry, pulled: Pull, told: list[Progress]) -> None:
    ServedImage(fake, [ONE]).put()
    pulled()
    told.clear()
    before = len(fake.asked("GET", "/blobs/"))
    assert not pulled().new
    assert shown(told)[-1] == f"Status: Image is up to date for {fake.address}/a/b:1"
    assert len(fake.asked("GET", "/blobs/")) - before == 1, "the configuration, and no layer"


def test_shared_layers_are_not_fetched_again(fake: FakeRegistry, pulled: Pull, told: list[Progress]) -> None:
    first, second = ServedImage(fake, [ONE]), ServedImage(fake, [ONE, TWO])
    first.put("1")
    second.put("2")
    pulled("a/b:1")
    told.clear()
    pulled("a/b:2")
    one, two = (entry["digest"] for entry in second.descriptors)
    assert f"{one[7:19]}: Already exists" in shown(told)
    assert f"{two[7:19]}: Pull complete" in shown(told)
    assert len(fake.asked("GET", one)) == 1


def test_the_same_layer_twice(store: ImageStore, fake: FakeRegistry, pulled: Pull) -> None:
    image = ServedImage(fake, [ONE, TWO, ONE])
    image.put()
    pulled()
    assert len(fake.asked("GET", image.descriptors[0]["digest"])) == 1
    assert len(store.resolve(image.id).layers) == 3
    assert content_of(store, image.id) == {"one": "one", "two": "two"}


def test_whiteouts_hide_what_is_below_and_no_more(
    store: ImageStore, fake: FakeRegistry, pulled: Pull
) -> None:
    below = archives.layer([directory("d"), Member("d/gone", b""), Member("d/kept", b"")])
    above = archives.layer([directory("d"), Member("d/.wh.gone"), directory("n"), Member("n/.wh.never")])
    image = ServedImage(fake, [below, above])
    image.put()
    pulled()
    top = Path(store.resolve(image.id).layers[0])
    assert sorted(path.name for path in top.rglob("*")) == ["d", "gone", "n"]
    assert os.listdir(top.parent) != []
    assert not (top.parent / "whiteouts").exists()


@pytest.mark.parametrize("compressed", [True, False])
def test_a_layer_as_it_is_stored(
    store: ImageStore, fake: FakeRegistry, pulled: Pull, compressed: bool
) -> None:
    image = ServedImage(fake, [ONE], compressed=compressed)
    image.put()
    pulled()
    assert store.content.read(image.descriptors[0]["digest"]) == image.stored[0]


def test_a_tag_that_moves(store: ImageStore, fake: FakeRegistry, pulled: Pull) -> None:
    first, second = ServedImage(fake, [ONE]), ServedImage(fake, [TWO])
    old = first.put()["digest"]
    pulled()
    second.put()
    assert pulled().new
    name = f"{fake.address}/a/b"
    assert store.resolve(f"{name}:1").id == second.id
    left = store.resolve(first.id)
    assert (left.repo_tags, left.repo_digests) == ([], [f"{name}@{old}"])


def test_by_digest(store: ImageStore, fake: FakeRegistry, pulled: Pull, told: list[Progress]) -> None:
    image = ServedImage(fake, [ONE])
    digest = image.put()["digest"]
    pulled(f"a/b@{digest}")
    found = store.resolve(image.id)
    assert (found.repo_tags, found.repo_digests) == ([], [f"{fake.address}/a/b@{digest}"])
    assert shown(told)[0] == f"{fake.address}/a/b@{digest}: Pulling from a/b"
    assert shown(told)[-1] == f"Status: Downloaded newer image for {fake.address}/a/b@{digest}"


def test_all_tags(
    store: ImageStore, fake: FakeRegistry, registries: Registries, told: list[Progress]
) -> None:
    ServedImage(fake, [ONE]).put("1")
    ServedImage(fake, [TWO]).put("2")
    reference = references.parse(f"{fake.address}/a/b")
    assert len(pull.pull_all(store, registries, reference, None, told.append)) == 2
    assert {image.repo_tags[0] for image in store.list()} == {f"{reference}:1", f"{reference}:2"}
    assert shown(told)[-1] == f"Status: Downloaded newer image for {fake.address}/a/b"


# Platforms


def indexed(fake: FakeRegistry, *names: str) -> dict[str, ServedImage]:
    """Images of one tag, ``1``, by platform."""
    images = {}
    entries = []
    for name in names:
        architecture = name.split("/")[1]
        images[name] = ServedImage(fake, [layer(name.replace("/", "-"))], architecture=architecture)
        entries.append(on(images[name].put(f"for-{name.replace('/', '-')}"), name))
    put_index(fake, "1", entries)
    return images


def test_an_index(store: ImageStore, fake: FakeRegistry, pulled: Pull) -> None:
    here = platforms.show(platforms.host()).removesuffix("/v2").removesuffix("/v3").removesuffix("/v4")
    images = indexed(fake, "linux/s390x", here, "unknown/unknown")
    found = pulled()
    assert found.id == images[here].id
    index = fake.manifests["a/b", "1"][1]
    image = store.resolve(found.id)
    assert image.repo_digests == [f"{fake.address}/a/b@{archives.digest(index)}"]
    assert image.digest == archives.digest(fake.manifests["a/b", f"for-{here.replace('/', '-')}"][1])


def test_another_platform(store: ImageStore, fake: FakeRegistry, pulled: Pull, told: list[Progress]) -> None:
    images = indexed(fake, "linux/s390x", "linux/amd64")
    assert pulled(platform="linux/s390x").id == images["linux/s390x"].id
    assert not [text for text in shown(told) if text.startswith("WARNING")]
    assert pulled(platform="linux/amd64").id == images["linux/amd64"].id
    assert store.resolve(f"{fake.address}/a/b:1").id == images["linux/amd64"].id


@pytest.mark.parametrize("platform", ["linux/riscv64", "linux/arm/v5", "windows/amd64"])
def test_no_such_platform(store: ImageStore, fake: FakeRegistry, pulled: Pull, platform: str) -> None:
    indexed(fake, "linux/s390x", "linux/arm/v7")
    with pytest.raises(
        errors.NotFound,
        match=f"{fake.address}/a/b:1: no matching manifest for {platform} in the manifest list entries",
    ):
        pulled(platform=platform)
    assert list(store.list()) == []


def test_a_single_image_of_another_platform(fake: FakeRegistry, pulled: Pull, told: list[Progress]) -> None:
    ServedImage(fake, [ONE], architecture="s390x").put()
    pulled(platform="linux/amd64")
    assert "does not match the specified platform: wanted linux/amd64, actual: linux/s390x" in shown(told)[-2]


def test_an_index_in_an_index(fake: FakeRegistry, pulled: Pull) -> None:
    image = ServedImage(fake, [ONE])
    inner = put_index(fake, "inner", [on(image.put("image"), "linux/amd64")])
    put_index(fake, "1", [on(image.put("image"), "linux/s390x"), inner])
    assert pulled(platform="linux/amd64").id == image.id


def test_indexes_without_end(fake: FakeRegistry, pulled: Pull) -> None:
    entry = ServedImage(fake, [ONE]).put("image")
    for depth in range(6):
        entry = put_index(fake, str(depth), [entry])
    with pytest.raises(errors.CorruptData, match="nested more than 4 deep"):
        pulled("a/b:5")


def test_an_index_that_contains_itself(fake: FakeRegistry, pulled: Pull) -> None:
    """It cannot have its own digest in it, but a registry may serve it under the one that it has."""
    entry: dict[str, Any] = {"mediaType": INDEX, "digest": "sha256:" + "1" * 64, "size": 100}
    put_index(fake, "1", [entry])
    fake.manifests["a/b", entry["digest"]] = fake.manifests["a/b", "1"]
    with pytest.raises(errors.CorruptData, match="digest"):
        pulled()


# Bad replies


def spoiled(change: Callable[[ServedImage], None]) -> Callable[[FakeRegistry], None]:
    def put(fake: FakeRegistry) -> None:
        image = ServedImage(fake, [TWO])
        change(image)
        image.put()

    return put


def set_manifest(**members: Any) -> Callable[[FakeRegistry], None]:
    return spoiled(lambda image: image.manifest.update(members))


def set_layer(**members: Any) -> Callable[[FakeRegistry], None]:
    return spoiled(lambda image: image.descriptors[0].update(members))


def set_config(**members: Any) -> Callable[[FakeRegistry], None]:
    return spoiled(lambda image: image.config.update(members))


def fault(part: str, *arguments: Any, **options: Any) -> Callable[[FakeRegistry], None]:
    def put(fake: FakeRegistry) -> None:
        image = ServedImage(fake, [TWO])
        image.put()
        where = image.descriptors[0]["digest"] if part == "layer" else part
        fake.when("GET", where, *arguments, **options)

    return put


def lying_layer(data: bytes, stored: bytes | None = None) -> Callable[[FakeRegistry], None]:
    """A layer that has its digest, and is no good."""

    def change(image: ServedImage) -> None:
        image.descriptors[0] = image.blob(
            data if stored is None else stored, "application/vnd.oci.image.layer.v1.tar+gzip"
        )
        image.manifest["layers"] = image.descriptors
        image.config["rootfs"]["diff_ids"] = [archives.digest(data)]
        image.config["author"] = "a liar"

    return spoiled(change)


BAD: dict[str, tuple[Callable[[FakeRegistry], None], type[errors.Error], str]] = {
    "no such tag": (lambda fake: fake.manifests.clear(), errors.NotFound, "a/b"),
    "401": (fault("/manifests/", status(401)), errors.Unauthorized, "a/b"),
    "403": (fault("/manifests/", status(403)), errors.Forbidden, "a/b"),
    "429": (fault("/manifests/", status(429)), errors.TooManyRequests, "a/b"),
    "500": (fault("/manifests/", status(500)), errors.Unavailable, "a/b"),
    "500 for a layer": (fault("layer", status(500)), errors.Unavailable, "500"),
    "layer is gone": (fault("layer", status(404)), errors.NotFound, "sha256"),
    "layer is corrupt": (fault("layer", corrupt(30)), errors.CorruptData, "its contents have the digest"),
    "layer is cut": (fault("layer", truncate(0)), errors.Unavailable, "connection"),
    "manifest is corrupt": (fault("/manifests/", corrupt(5)), errors.CorruptData, "digest|JSON"),
    "manifest is a page": (fault("/manifests/", header("Content-Type", "a/b")), errors.CorruptData, "."),
    "layer of another size": (set_layer(size=5), errors.CorruptData, "5"),
    "layer of negative size": (set_layer(size=-5), errors.CorruptData, "-5 bytes"),
    "layer of a wrong digest": (set_layer(digest="sha256:" + "1" * 64), errors.NotFound, "1111"),
    "layer of no digest": (set_layer(digest="../../etc"), errors.CorruptData, "digest"),
    "layer of an unknown type": (set_layer(mediaType="application/x"), errors.NotSupported, "application/x"),
    "foreign layer nowhere": (
        set_layer(digest="sha256:" + "2" * 64, urls=["ftp://publisher.example/layer"]),
        errors.CorruptData,
        "a foreign layer, which the registry does not have: cannot use the URL 'ftp://publisher.example",
    ),
    "an artifact": (
        spoiled(lambda image: image.manifest.update(config=image.blob(b"{}", "application/vnd.cncf.helm"))),
        errors.NotSupported,
        "helm: an artifact",
    ),
    "config is no JSON": (
        spoiled(lambda image: image.manifest.update(config=image.blob(b"x", CONFIG))),
        errors.CorruptData,
        "configuration",
    ),
    "config of another digest": (fault("/blobs/", corrupt(1)), errors.CorruptData, "configuration.*digest"),
    "fewer diff_ids": (set_config(rootfs={"diff_ids": []}), errors.CorruptData, "0 diff_ids"),
    "other diff_ids": (
        set_config(rootfs={"type": "layers", "diff_ids": ["sha256:" + "3" * 64]}),
        errors.CorruptData,
        "uncompressed digest",
    ),
    "no diff_ids": (set_config(rootfs={"type": "layers", "diff_ids": ["x"]}), errors.CorruptData, "digest"),
    "windows": (set_config(os="windows"), errors.NotSupported, 'operating system "windows" cannot be used'),
    "too many layers": (set_manifest(layers=[{"mediaType": "x", "digest": "x", "size": 1}] * 501),
                        errors.NotSupported, "501 layers"),
    "both manifest and index": (set_manifest(manifests=[]), errors.CorruptData, "both"),
    "no tar": (lying_layer(b"x" * 1024, gzipped(b"x" * 1024)), errors.CorruptData, "not a tar header"),
    "no gzip": (lying_layer(TWO, gzipped(TWO)[:-9]), errors.CorruptData, "truncated gzip"),
    "another layer": (lying_layer(ONE, gzipped(TWO)), errors.CorruptData, "uncompressed digest"),
    "tar ends early": (lying_layer(ONE[:700], gzipped(ONE[:700])), errors.CorruptData, "truncated"),
    "climbs out": (
        lying_layer(out := archives.layer([Member("../x")]), gzipped(out)), errors.HostileArchive, r"'\.\.'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_the_image_before_stays(store: ImageStore, fake: FakeRegistry, pulled: Pull, case: str) -> None:
    first = ServedImage(fake, [ONE])
    first.put()
    pulled()
    before = files(store)
    spoil, kind, message = BAD[case]
    spoil(fake)
    with pytest.raises(kind, match=message) as caught:
        pulled()
    assert f"{fake.address}" in str(caught.value), "it names the registry"
    assert store.resolve(f"{fake.address}/a/b:1").id == first.id
    kept = [name for name in files(store) if not name.startswith("image/download/")]
    assert kept == [name for name in before if not name.startswith("image/download/")]


def test_a_download_that_was_spoiled_on_disk(store: ImageStore, fake: FakeRegistry, pulled: Pull) -> None:
    """What an interrupted pull had left was lost with the power: once more, from the beginning."""
    image = ServedImage(fake, [ONE])
    image.put()
    store.list()
    digest = image.descriptors[0]["digest"]
    for rubbish in (bytes(50), image.stored[0][:50] + b"xx"):
        Path(store.content.root, "download", digest[7:]).write_bytes(rubbish)
        fake.requests.clear()
        pulled()
        ranges = [asked.headers.get("range") for asked in fake.asked("GET", digest)]
        assert ranges == [f"bytes={len(rubbish)}-", None]
        assert content_of(store, image.id) == {"one": "one"}
        store.remove(image.id, force=True)


# ---- foreign layers: at URLs of a publisher, and not in the registry


@pytest.fixture
def publisher() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


def foreign(fake: FakeRegistry, publisher: FakeRegistry, data: bytes) -> ServedImage:
    """An image with a layer that only ``publisher`` has, at the second of the two URLs that it has there."""
    image = ServedImage(fake, [ONE, data])
    layer, stored = image.descriptors[1], image.stored[1]
    del fake.blobs[image.name, layer["digest"]]
    digest = publisher.add_blob(stored, "public")
    urls = [f"{publisher.url}/gone", f"{publisher.url}/v2/public/blobs/{digest}"]
    layer.update(mediaType=FOREIGN, urls=urls)
    image.put()
    return image


def test_a_foreign_layer(
    store: ImageStore, fake: FakeRegistry, publisher: FakeRegistry, pulled: Pull, told: list[Progress]
) -> None:
    image = foreign(fake, publisher, TWO)
    pulled()
    assert content_of(store, image.id) == {"one": "one", "two": "two"}
    checked = Check(store, [])
    checked.run()
    assert checked.faults == []
    short = image.descriptors[1]["digest"][7:19]
    assert f"{short}: Foreign layer, which is fetched from its publisher" in shown(told)
    assert f"{short}: {publisher.url}/gone: {publisher.address} replied 404 Not Found" in shown(told)


def test_a_foreign_layer_that_the_registry_has(
    fake: FakeRegistry, publisher: FakeRegistry, pulled: Pull
) -> None:
    image = foreign(fake, publisher, TWO)
    fake.add_blob(image.stored[1])
    pulled()
    assert publisher.requests == []


def test_a_foreign_layer_is_taken_up_where_it_broke(
    fake: FakeRegistry, publisher: FakeRegistry, pulled: Pull
) -> None:
    foreign(fake, publisher, archives.layer([Member("random", os.urandom(400_000))]))
    publisher.when("GET", "/blobs/", truncate(200_000), times=1)
    pulled()
    assert [asked.headers.get("range") for asked in publisher.asked("GET", "/blobs/")] == [
        None,
        "bytes=200000-",
    ]


@pytest.mark.parametrize(
    ("spoil", "kind", "message"),
    [
        (corrupt(30), errors.CorruptData, "its contents have the digest"),
        (header("Content-Length", "7"), errors.CorruptData, "it has 7 bytes, and should have"),
        (status(403), errors.Forbidden, "does not have: http://.*denied"),
        (status(401), errors.Unauthorized, "unauthorized: authentication required$"),
        (status(500), errors.Unavailable, "replied 500"),
        (header("Location", "ftp://x/"), errors.CorruptData, "redirected to 'ftp://x/'"),
    ],
)
def test_a_publisher_that_has_no_such_layer(
    store: ImageStore,
    fake: FakeRegistry,
    publisher: FakeRegistry,
    pulled: Pull,
    spoil: Spoil,
    kind: type[errors.Error],
    message: str,
) -> None:
    def redirected(asked: Asked, answer: Answer) -> Answer:
        answer = spoil(asked, answer)
        return replace(answer, status=302) if "Location" in answer.headers else answer

    foreign(fake, publisher, TWO)
    publisher.when("GET", "/blobs/", redirected)
    with pytest.raises(kind, match=message):
        pulled()
    assert store.entries() == []


def test_a_publisher_sees_no_credentials(fake: FakeRegistry, publisher: FakeRegistry, told: list[Progress],
                                         store: ImageStore) -> None:  # fmt: skip
    """Not even those for its own address: whoever wrote the manifest chose where the request goes."""
    foreign(fake, publisher, TWO)
    publisher.users = {"alice": "secret"}
    registries = Registries(Configuration(certificates=()), Given(publisher.address, Auth("alice", "secret")))
    with pytest.raises(errors.Unauthorized):
        pull.pull(store, registries, references.parse(f"{fake.address}/a/b:1"), None, told.append)
    assert publisher.requests
    assert [asked for asked in publisher.requests if "authorization" in asked.headers] == []


def test_a_broken_connection_loses_nothing(fake: FakeRegistry, pulled: Pull) -> None:
    data = archives.layer([Member("random", os.urandom(400_000))])
    image = ServedImage(fake, [data])
    image.put()
    digest = image.descriptors[0]["digest"]
    fake.when("GET", digest, truncate(200_000), times=1)
    pulled()
    first, second = fake.asked("GET", digest)
    assert "range" not in first.headers
    begin = int(second.headers["range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < begin <= 200_000


def test_what_came_before_an_error_is_not_fetched_again(
    store: ImageStore, fake: FakeRegistry, pulled: Pull
) -> None:
    data = archives.layer([Member("random", os.urandom(400_000))])
    image = ServedImage(fake, [data])
    image.put()
    digest = image.descriptors[0]["digest"]
    spoil = iter([truncate(200_000), *[status(500)] * 20])
    fake.when("GET", digest, lambda asked, answer: next(spoil)(asked, answer))
    with pytest.raises(errors.Unavailable):
        pulled()
    fake.faults.clear()
    fake.requests.clear()
    here = os.path.getsize(Path(store.content.root, "download", digest[7:]))
    assert here > 0
    pulled()
    assert [asked.headers.get("range") for asked in fake.asked("GET", digest)] == [f"bytes={here}-"]
    assert os.listdir(Path(store.content.root, "download")) == []


def test_a_pull_without_anybody_who_looks(
    store: ImageStore, fake: FakeRegistry, registries: Registries
) -> None:
    image = ServedImage(fake, [])
    image.put()
    reference = references.parse(f"{fake.address}/a/b:1")
    assert pull.pull(store, registries, reference, None, ignore).id == image.id
    assert json.loads(store.content.read(image.id)) == image.config


def test_the_manifest_is_stored_as_it_came(store: ImageStore, fake: FakeRegistry, pulled: Pull) -> None:
    image = ServedImage(fake, [ONE])
    image.manifest["annotations"] = {"some": "thing"}
    image.manifest["unknown"] = [1, 2]
    digest = image.put()["digest"]
    pulled()
    assert store.content.read(digest) == fake.manifests["a/b", "1"][1]
    assert store.entries()[0].media_type == MANIFEST
