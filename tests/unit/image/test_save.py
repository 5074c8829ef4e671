"""One archive in two forms: which images and names are in it, and that it is always the same."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mydocker import errors
from mydocker.image.store import ImageStore
from support.layout import Layout, layer

pytestmark = pytest.mark.root

Archive = Callable[..., str]
ONE, TWO, THREE = layer("one"), layer("two"), layer("three")


class Saved:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = path.read_bytes()
        with tarfile.open(path) as tar:
            self.members = tar.getmembers()
            self.contents = {
                member.name: tar.extractfile(member).read()  # type: ignore[union-attr]
                for member in self.members
                if member.isfile()
            }

    def json(self, name: str) -> Any:
        return json.loads(self.contents[name])

    @property
    def tags(self) -> list[list[str]]:
        return [image["RepoTags"] for image in self.json("manifest.json")]


@pytest.fixture
def save(store: ImageStore, tmp_path: Path) -> Callable[..., Saved]:
    def save(*references: str, platform: str = "") -> Saved:
        path = tmp_path / f"saved-{len(os.listdir(tmp_path))}.tar"
        with path.open("wb") as file:
            store.save(references, file.fileno(), platform)
        return Saved(path)

    return save


Save = Callable[..., Saved]


def loaded_elsewhere(saved: Saved, tmp_path: Path) -> tuple[ImageStore, Sequence[str]]:
    other = ImageStore(str(tmp_path / f"other-{len(os.listdir(tmp_path))}"))
    return other, other.load(str(saved.path))


def test_both_forms(store: ImageStore, archive: Archive, save: Save, tmp_path: Path) -> None:
    store.load(archive("made/by-hand:1", [ONE, TWO]))
    saved = save("made/by-hand:1")
    image = store.resolve("made/by-hand:1")
    manifest = store.manifest(image)
    assert saved.json("oci-layout") == {"imageLayoutVersion": "1.0.0"}
    (described,) = saved.json("index.json")["manifests"]
    assert described["digest"] == image.digest
    assert described["platform"] == {"architecture": "amd64", "os": "linux"}
    assert described["annotations"]["io.containerd.image.name"] == "docker.io/made/by-hand:1"
    assert saved.json("manifest.json") == [
        {
            "Config": f"blobs/sha256/{image.id[7:]}",
            "RepoTags": ["made/by-hand:1"],
            "Layers": [f"blobs/sha256/{blob.digest[7:]}" for blob in manifest.layers],
        }
    ]
    assert saved.json("repositories") == {"made/by-hand": {"1": manifest.layers[-1].digest[7:]}}
    assert saved.contents[f"blobs/sha256/{image.id[7:]}"] == image.raw
    assert [member.name for member in saved.members] == [
        "blobs",
        "blobs/sha256",
        *sorted(name for name in saved.contents if name.startswith("blobs/")),
        "index.json",
        "manifest.json",
        "oci-layout",
        "repositories",
    ]
    assert {(member.mtime, member.uid, member.gid) for member in saved.members} == {(0, 0, 0)}
    other, lines = loaded_elsewhere(saved, tmp_path)
    assert lines == ["Loaded image: made/by-hand:1"]
    assert other.resolve("made/by-hand:1").digest == image.digest


@pytest.mark.parametrize("form", ["manifest.json", "index.json"])
def test_each_form_is_enough(
    store: ImageStore, archive: Archive, save: Save, tmp_path: Path, form: str
) -> None:
    """Without the other one's documents the same image is loaded."""
    store.load(archive("a:1", [ONE, TWO]))
    saved = save("a:1")
    unwanted = {"index.json", "oci-layout"} if form == "manifest.json" else {"manifest.json", "repositories"}
    with tarfile.open(saved.path) as source, tarfile.open(tmp_path / "half.tar", "w") as target:
        for member in source:
            if member.name not in unwanted:
                target.addfile(member, source.extractfile(member))
    other = ImageStore(str(tmp_path / "other"))
    assert other.load(str(tmp_path / "half.tar")) == ["Loaded image: a:1"]
    assert other.resolve("a:1").id == store.resolve("a:1").id


def test_names(store: ImageStore, archive: Archive, save: Save) -> None:
    store.load(archive("a:1", [ONE]))
    store.load(archive("a:2", [ONE, TWO]))
    store.load(archive("a:latest", [ONE, TWO, THREE]))
    store.tag("a:1", "a:also-1")
    store.tag("a:1", "other:1")
    one = store.resolve("a:1")
    assert save("a:1").tags == [["a:1"]]
    assert save("a").tags == [["a:1", "a:also-1"], ["a:2"], ["a:latest"]]
    assert save("a:1", "other:1", "a:1").tags == [["a:1", "other:1"]]
    assert save(one.id).tags == [None]
    assert save(one.id[7:19]).tags == [None]
    assert save(one.id, "a:1").tags == [["a:1"]]
    assert "repositories" not in save(one.id).contents
    two = save("a:2", "a:1")
    assert two.tags == [["a:2"], ["a:1"]]
    assert len([name for name in two.contents if name.startswith("blobs/")]) == 6, "one layer is shared"
    with pytest.raises(errors.NotFound, match="no such image: nothing"):
        save("a:1", "nothing")


def test_layers_keep_their_compression(store: ImageStore, layout: Layout, save: Save, tmp_path: Path) -> None:
    compressed = gzip.compress(ONE, mtime=0)
    media_type = "application/vnd.oci.image.layer.v1.tar+gzip"
    entry = layout.image([ONE], stored=[compressed], media_type=media_type)
    (line,) = store.load(layout.write(entry))
    identifier = line.rpartition(" ")[2]
    saved = save(identifier)
    assert compressed in saved.contents.values()
    other, _ = loaded_elsewhere(saved, tmp_path)
    assert other.resolve(identifier).digest == store.resolve(identifier).digest == entry["digest"]


def test_always_the_same(store: ImageStore, archive: Archive, save: Save, tmp_path: Path) -> None:
    store.load(archive("a:1", [ONE]))
    store.load(archive("b:1", [ONE, TWO]))
    saved = save("a:1", "b:1")
    assert save("a:1", "b:1").bytes == saved.bytes
    other, _ = loaded_elsewhere(saved, tmp_path)
    with (tmp_path / "again.tar").open("wb") as file:
        other.save(["a:1", "b:1"], file.fileno())
    assert (tmp_path / "again.tar").read_bytes() == saved.bytes


def test_platform(store: ImageStore, archive: Archive, save: Save) -> None:
    store.load(archive("a:1", [ONE]))
    assert save("a:1", platform="linux/amd64").tags == [["a:1"]]
    missing = r"a:1 was found but does not provide the specified platform \(linux/arm64\)"
    with pytest.raises(errors.NotFound, match=missing):
        save("a:1", platform="linux/arm64")


def test_loading_for_a_platform(store: ImageStore, layout: Layout) -> None:
    """Of an index the image for that platform; of the images of an archive those that are for it."""
    platforms = {"amd64": ONE, "arm64": TWO}
    entries = []
    for architecture, data in platforms.items():
        entry = layout.image([data], architecture=architecture)
        entries.append({**entry, "platform": {"os": "linux", "architecture": architecture}})
    index = layout.index(entries)
    named = {**index, "mediaType": "application/vnd.oci.image.index.v1+json",
             "annotations": {"io.containerd.image.name": "docker.io/library/many:1"}}  # fmt: skip
    path = layout.write(named)
    for architecture, data in platforms.items():
        assert store.load(path, platform=f"linux/{architecture}") == ["Loaded image: many:1"]
        image = store.resolve("many:1")
        assert image.config.architecture == architecture
        assert store.content.read(store.manifest(image).layers[0].digest) == data
    with pytest.raises(errors.NotFound, match="no manifest for linux/s390x"):
        store.load(path, platform="linux/s390x")
    store.load(layout.write(entries[1]), platform="linux/arm64")
    with pytest.raises(errors.NotFound, match="no image in it is for linux/amd64"):
        store.load(layout.write(entries[1]), platform="linux/amd64")
    with pytest.raises(errors.InvalidArgument, match="a/b/c/d"):
        store.load(path, platform="a/b/c/d")
