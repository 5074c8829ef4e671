"""Manifest lists: put together from a registry, said what they are for, pushed; bad input."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mydocker import errors
from mydocker.image import manifests
from mydocker.image.documents import Platform
from mydocker.image.lists import Lists, Member
from mydocker.oci import descriptor as descriptors
from mydocker.oci import reference as references
from mydocker.oci.reference import Reference
from mydocker.registry.client import Registries
from mydocker.registry.configuration import Configuration
from mydocker.registry.credentials import Given
from mydocker.registry.patience import Patience
from support.fake_registry import FakeRegistry, digest_of

Image = Callable[..., str]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def registries() -> Registries:
    patience = Patience(delay=0.001, longest=2, connect=5, probe=2, read=5, commit=5)
    return Registries(Configuration(certificates=()), Given("", None), patience=patience)


@pytest.fixture
def lists(tmp_path: Path) -> Lists:
    return Lists(str(tmp_path / "config"))


@pytest.fixture
def image(fake: FakeRegistry) -> Image:
    """``image("a/b", "tag", "arm64")`` puts one on the registry; its digest."""

    def make(repository: str, tag: str, architecture: str, media_type: str = descriptors.OCI_MANIFEST,
             **config: Any) -> str:  # fmt: skip
        raw = json.dumps(
            {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers"}, **config}
        )
        layer = f"layer of {architecture}".encode()
        for data in (raw.encode(), layer):
            fake.blobs[repository, digest_of(data)] = data
        document = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": described(raw.encode(), descriptors.OCI_CONFIG),
            "layers": [described(layer, descriptors.OCI_LAYER)],
        }
        data = json.dumps(document).encode()
        for reference in (tag, digest_of(data)):
            fake.manifests[repository, reference] = (media_type, data)
        return digest_of(data)

    return make


def described(data: bytes, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


@pytest.fixture
def at(fake: FakeRegistry) -> Callable[[str], Reference]:
    return lambda text: references.parse(f"{fake.address}/{text}").tagged()


At = Callable[[str], Reference]


def entries(fake: FakeRegistry, repository: str, tag: str) -> list[tuple[str, dict[str, Any]]]:
    """Digest and platform of each entry of a list on the registry."""
    document = json.loads(fake.manifests[repository, tag][1])
    return [(entry["digest"], entry["platform"]) for entry in document["manifests"]]


def test_a_list(lists: Lists, registries: Registries, fake: FakeRegistry, image: Image, at: At) -> None:
    amd64, arm64 = image("a/b", "one", "amd64"), image("a/b", "two", "arm64", variant="v8")
    manifests.create(lists, registries, at("a/b:all"), [at("a/b:one"), at("a/b:two")], amend=False)
    lines = list(manifests.push(lists, registries, at("a/b:all"), references.parse, purge=False))
    media_type, data = fake.manifests["a/b", "all"]
    assert lines == [digest_of(data)]
    assert media_type == json.loads(data)["mediaType"] == descriptors.OCI_INDEX
    assert entries(fake, "a/b", "all") == [
        (amd64, {"architecture": "amd64", "os": "linux"}),
        (arm64, {"architecture": "arm64", "os": "linux", "variant": "v8"}),
    ]
    assert len(lists.get(at("a/b:all"))) == 2
    list(manifests.push(lists, registries, at("a/b:all"), references.parse, purge=True))
    with pytest.raises(errors.NotFound, match=f"no such manifest: {fake.address}/a/b:all"):
        lists.get(at("a/b:all"))


def test_a_list_of_docker_manifests(
    lists: Lists, registries: Registries, fake: FakeRegistry, image: Image, at: At
) -> None:
    image("a/b", "one", "amd64", descriptors.DOCKER_MANIFEST)
    manifests.create(lists, registries, at("a/b:all"), [at("a/b:one")], amend=False)
    list(manifests.push(lists, registries, at("a/b:all"), references.parse, purge=False))
    assert fake.manifests["a/b", "all"][0] == descriptors.DOCKER_INDEX


def test_from_another_repository(
    lists: Lists, registries: Registries, fake: FakeRegistry, image: Image, at: At
) -> None:
    digest = image("from/here", "one", "amd64")
    manifests.create(lists, registries, at("to/there:all"), [at("from/here:one")], amend=False)
    lines = list(manifests.push(lists, registries, at("to/there:all"), references.parse, purge=False))
    assert lines[0] == f"Pushed ref {fake.address}/to/there@{digest} with digest: {digest}"
    assert fake.manifests["to/there", digest] == fake.manifests["from/here", digest]
    here, there = (
        {blob for name, blob in fake.blobs if name == repository} for repository in ("from/here", "to/there")
    )
    assert here == there


def test_from_another_registry(lists: Lists, registries: Registries, image: Image, at: At) -> None:
    image("a/b", "one", "amd64")
    target = references.parse("localhost:1/a/b:all")
    manifests.create(lists, registries, target, [at("a/b:one")], amend=False)
    with pytest.raises(errors.InvalidArgument, match="cannot use source images from a different registry"):
        list(manifests.push(lists, registries, target, references.parse, purge=False))


def test_amend(lists: Lists, registries: Registries, image: Image, at: At) -> None:
    image("a/b", "one", "amd64")
    image("a/b", "two", "arm64")
    manifests.create(lists, registries, at("a/b:all"), [at("a/b:one")], amend=False)
    with pytest.raises(errors.Conflict, match="refusing to amend an existing manifest list with no --amend"):
        manifests.create(lists, registries, at("a/b:all"), [at("a/b:two")], amend=False)
    manifests.create(lists, registries, at("a/b:all"), [at("a/b:two")], amend=True)
    names = [member.reference for member in lists.get(at("a/b:all"))]
    assert names == [str(at("a/b:one")), str(at("a/b:two"))]


def test_annotate(lists: Lists, registries: Registries, image: Image, at: At) -> None:
    image("a/b", "one", "amd64", **{"os.features": ["x"]})
    manifests.create(lists, registries, at("a/b:all"), [at("a/b:one")], amend=False)
    change = Platform(architecture="arm", variant="v7", os_version="1.2", os_features=("x", "y"))
    manifests.annotate(lists, at("a/b:all"), at("a/b:one"), change)
    (member,) = lists.get(at("a/b:all"))
    assert member.entry()["platform"] == {
        "architecture": "arm", "os": "linux", "os.version": "1.2", "os.features": ["x", "y"], "variant": "v7",
    }  # fmt: skip
    manifests.annotate(lists, at("a/b:all"), at("a/b:one"), Platform(architecture="arm64"))
    platform = lists.member(at("a/b:one"), at("a/b:all")).descriptor.platform
    assert platform is not None
    assert (platform.architecture, platform.variant) == ("arm64", "v7")
    for bad in (Platform(architecture="none"), Platform(os="none"), Platform(os="solaris")):
        with pytest.raises(errors.InvalidArgument, match="has unsupported os/arch combination"):
            manifests.annotate(lists, at("a/b:all"), at("a/b:one"), bad)
    with pytest.raises(errors.NotFound, match=r"manifest for image \S+a/b:two does not exist in \S+a/b:all"):
        manifests.annotate(lists, at("a/b:all"), at("a/b:two"), change)


def test_inspect(lists: Lists, registries: Registries, fake: FakeRegistry, image: Image, at: At) -> None:
    digest = image("a/b", "one", "amd64")
    alone = manifests.inspect(lists, registries, at("a/b:one"), within=None, whole=False)
    assert isinstance(alone, Member)
    assert alone.raw == fake.manifests["a/b", "one"][1]
    manifests.create(lists, registries, at("a/b:all"), [at("a/b:one")], amend=False)
    local = manifests.inspect(lists, registries, at("a/b:all"), within=None, whole=False)
    assert local == [alone]
    list(manifests.push(lists, registries, at("a/b:all"), references.parse, purge=True))
    for whole, raw in ((False, b""), (True, alone.raw)):
        (found,) = remote(manifests.inspect(lists, registries, at("a/b:all"), within=None, whole=whole))
        assert (found.reference, found.raw) == (f"{at('a/b:all')}@{digest}", raw)
        assert found.descriptor.platform == Platform(architecture="amd64", os="linux")


def remote(found: Member | list[Member]) -> list[Member]:
    assert isinstance(found, list)
    return found


def test_refused(lists: Lists, registries: Registries, image: Image, at: At, fake: FakeRegistry) -> None:
    image("a/b", "one", "amd64")
    for wanted in ("a/b:two", "no/such:one"):
        with pytest.raises(errors.NotFound, match=f"no such manifest: {at(wanted)}"):
            manifests.create(lists, registries, at("a/b:all"), [at("a/b:one"), at(wanted)], amend=False)
    with pytest.raises(errors.NotFound, match="no such manifest"):
        lists.get(at("a/b:all"))
    manifests.create(lists, registries, at("a/b:all"), [at("a/b:one")], amend=False)
    list(manifests.push(lists, registries, at("a/b:all"), references.parse, purge=True))
    with pytest.raises(errors.InvalidArgument, match=f"{at('a/b:all')} is a manifest list"):
        manifests.create(lists, registries, at("a/b:other"), [at("a/b:all")], amend=False)
    with pytest.raises(errors.NotFound, match="no such manifest"):
        lists.remove(at("a/b:all"))
    fake.manifests["a/b", "bad"] = (descriptors.OCI_MANIFEST, b'{"config": 1}')
    with pytest.raises(errors.CorruptData, match=r"manifest \S+a/b:bad"):
        manifests.inspect(lists, registries, at("a/b:bad"), within=None, whole=False)


def test_a_damaged_list(lists: Lists, registries: Registries, image: Image, at: At, tmp_path: Path) -> None:
    image("a/b", "one", "amd64")
    manifests.create(lists, registries, at("a/b:all"), [at("a/b:one")], amend=False)
    (path,) = (tmp_path / "config/manifests").glob("*/*")
    document = json.loads(path.read_text())
    for bad in ("{", json.dumps({**document, "Raw": "not base64"}), json.dumps({"Ref": 1})):
        path.write_text(bad)
        with pytest.raises(errors.CorruptData, match=str(path)):
            lists.get(at("a/b:all"))
    lists.remove(at("a/b:all"))
    assert os.listdir(tmp_path / "config/manifests") == []
