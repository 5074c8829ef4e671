"""Archives in every form, and archives that lie: what is loaded is whole, what is refused leaves nothing."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from mydocker import errors
from mydocker.image.store import ImageStore
from support import archives
from support.archives import Member
from support.layout import Layout, files, layer

pytestmark = pytest.mark.root

Archive = Callable[..., str]
COMPRESSORS = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}
ONE, TWO = layer("one"), layer("two")
PLAIN = "application/vnd.oci.image.layer.v1.tar"


def names_in(store: ImageStore, reference: str) -> list[str]:
    """The files of the image, bottom layer first."""
    return [name for lower in reversed(store.resolve(reference).layers) for name in os.listdir(lower)]


def test_docker_archive(store: ImageStore, archive: Archive) -> None:
    path = archive("made/by-hand:1", [ONE, TWO], config={"Cmd": ["x"], "Env": ["A=b"]})
    assert store.load(path) == ["Loaded image: made/by-hand:1"]
    image = store.resolve("made/by-hand:1")
    assert names_in(store, "made/by-hand:1") == ["one", "two"]
    assert image.config.config is not None
    assert image.config.config.cmd == ["x"]
    assert image.repo_tags == ["made/by-hand:1"]
    assert image.size == 6
    with tarfile.open(path) as tar:
        configs = [name for name in tar.getnames() if name.endswith(".json") and name != "manifest.json"]
    assert configs == [image.id.removeprefix("sha256:") + ".json"]
    assert not store.content.noted()


def test_skopeo_can_read_the_store(store: ImageStore, archive: Archive, tmp_path: Path) -> None:
    from support import command, probe

    if reason := probe.missing_programs("skopeo"):
        pytest.skip(reason)
    store.load(archive("made/by-hand:1", [ONE, TWO]))
    name = "docker.io/made/by-hand:1"
    shown = command.run(["skopeo", "inspect", "--config", f"oci:{store.content.root}:{name}"]).json()
    assert shown["rootfs"]["diff_ids"] == [archives.digest(ONE), archives.digest(TWO)]
    copy = tmp_path / "copy"
    command.run(
        ["skopeo", "--insecure-policy", "copy", f"oci:{store.content.root}:{name}", f"oci:{copy}:again"]
    )
    assert store.load(str(copy)) == ["Loaded image: again:latest"]
    assert store.resolve("again").id == store.resolve("made/by-hand:1").id


@pytest.mark.parametrize("how", ["path", "descriptor", "pipe", "gzip", "zstd", "bzip2", "xz"])
def test_ways_in(store: ImageStore, archive: Archive, how: str) -> None:
    path = Path(archive("a:b", [ONE, TWO]))
    if how in COMPRESSORS:
        path.write_bytes(COMPRESSORS[how](path.read_bytes()))
    if how == "descriptor":
        with path.open("rb") as file:
            lines = store.load(file.fileno())
    elif how == "pipe":
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, path.read_bytes())
            os._exit(0)
        os.close(writing)
        lines = store.load(reading)
        os.close(reading)
        os.waitpid(child, 0)
    else:
        lines = store.load(str(path))
    assert lines == ["Loaded image: a:b"]
    assert names_in(store, "a:b") == ["one", "two"]


@pytest.mark.parametrize("kind", COMPRESSORS)
def test_compressed_layers_of_a_docker_archive(store: ImageStore, archive: Archive, kind: str) -> None:
    diff_ids = [archives.digest(ONE), archives.digest(TWO)]
    store.load(archive("a:b", [COMPRESSORS[kind](ONE), COMPRESSORS[kind](TWO)], diff_ids=diff_ids))
    assert names_in(store, "a:b") == ["one", "two"]
    starts = {next(store.content.chunks(digest))[:3] for digest in store.content.all()}
    # bzip2 and xz are no media types of OCI, so those are stored as plain tars: "one", and "two"
    assert starts & {b"one", b"\x1f\x8b\x08", b"\x28\xb5\x2f"} == {
        {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f"}.get(kind, b"one")
    }


@pytest.mark.parametrize("form", ["directory", "tar"])
@pytest.mark.parametrize("kind", ["", "gzip", "zstd"])
def test_layout(store: ImageStore, layout: Layout, form: str, kind: str) -> None:
    stored = [COMPRESSORS[kind](data) for data in (ONE, TWO)] if kind else None
    one = layout.image([ONE, TWO], stored, f"{PLAIN}+{kind}" if kind else PLAIN)
    path = layout.write({**one, "annotations": {"org.opencontainers.image.ref.name": "quay.io/a/b:c"}})
    assert store.load(path if form == "directory" else layout.tar()) == ["Loaded image: quay.io/a/b:c"]
    image = store.resolve("quay.io/a/b:c")
    assert image.digest == one["digest"]
    assert names_in(store, image.id) == ["one", "two"]


@pytest.mark.parametrize(
    ("annotations", "line"),
    [
        ({"org.opencontainers.image.ref.name": "localhost/x:1"}, "Loaded image: localhost/x:1"),
        ({"org.opencontainers.image.ref.name": "word"}, "Loaded image: word:latest"),
        (
            {"io.containerd.image.name": "docker.io/library/x:2", "org.opencontainers.image.ref.name": "2"},
            "Loaded image: x:2",
        ),
        ({}, "Loaded image ID: sha256:"),
        (None, "Loaded image ID: sha256:"),
    ],
)
def test_names_of_a_layout(
    store: ImageStore, layout: Layout, annotations: dict[str, str] | None, line: str
) -> None:
    one = layout.image([ONE])
    (found,) = store.load(layout.write(one if annotations is None else {**one, "annotations": annotations}))
    assert found.startswith(line)
    (image,) = store.list()
    assert store.resolve(image.id.removeprefix("sha256:")[:12]).id == image.id


def test_both_forms_in_one(store: ImageStore, layout: Layout) -> None:
    """docker save since 25.0: index.json and manifest.json, which has more names."""
    one = layout.image([ONE])
    manifest = json.loads((layout.path / "blobs/sha256" / one["digest"].removeprefix("sha256:")).read_text())
    config = "blobs/sha256/" + manifest["config"]["digest"].removeprefix("sha256:")
    blob = "blobs/sha256/" + manifest["layers"][0]["digest"].removeprefix("sha256:")
    (layout.path / "manifest.json").write_text(
        json.dumps([{"Config": config, "RepoTags": ["a:1", "b:2"], "Layers": [blob]}])
    )
    named = {"io.containerd.image.name": "docker.io/library/a:1", "org.opencontainers.image.ref.name": "1"}
    layout.write({**one, "annotations": named})
    assert store.load(layout.tar()) == ["Loaded image: a:1", "Loaded image: b:2"]
    assert store.resolve("b:2").repo_tags == ["a:1", "b:2"]


def test_platforms(store: ImageStore, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = {"architecture": "amd64", "os": "linux"}
    monkeypatch.setattr("mydocker.image.platforms.architecture", lambda: "amd64")
    inner = layout.index(
        [
            {**layout.image([TWO]), "platform": {"architecture": "arm64", "os": "linux"}},
            {**layout.image([TWO], comment="attestation"),
             "platform": {"architecture": "unknown", "os": "unknown"}},
            {**layout.image([ONE]), "platform": ours},
        ]
    )  # fmt: skip
    outer = {**layout.index([inner]), "annotations": {"org.opencontainers.image.ref.name": "a:b"}}
    assert store.load(layout.write(outer)) == ["Loaded image: a:b"]
    assert names_in(store, "a:b") == ["one"]
    monkeypatch.setattr("mydocker.image.platforms.architecture", lambda: "riscv64")
    with pytest.raises(errors.NotFound, match="no manifest for linux/riscv64"):
        store.load(str(layout.path))


def test_several_images_and_names(store: ImageStore, tmp_path: Path) -> None:
    path = str(tmp_path / "several.tar")
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [archives.digest(ONE)]}}).encode()
    other = json.dumps({"comment": "x", "rootfs": {"type": "layers", "diff_ids": [archives.digest(ONE)]}})
    listed = [
        {"Config": "c.json", "RepoTags": ["a:1", "a:2"], "Layers": ["x/layer.tar"]},
        {"Config": "d.json", "RepoTags": None, "Layers": ["y/layer.tar"]},
    ]
    with tarfile.open(path, "w") as tar:
        Member("x/layer.tar", ONE).add_to(tar)
        archives.symlink("y/layer.tar", "../x/layer.tar").add_to(tar)
        Member("c.json", config).add_to(tar)
        Member("d.json", other.encode()).add_to(tar)
        Member("manifest.json", json.dumps(listed).encode()).add_to(tar)
    lines = store.load(path)
    assert lines == [
        "Loaded image: a:1", "Loaded image: a:2", f"Loaded image ID: {archives.digest(other.encode())}",
    ]  # fmt: skip
    assert len(store.list()) == 2
    assert len(list(store.layers.all())) == 1


def test_loading_again_changes_nothing(store: ImageStore, archive: Archive) -> None:
    path = archive("a:b", [ONE, TWO])
    store.load(path)
    before = files(store)
    layers = [os.stat(lower).st_ino for lower in store.resolve("a:b").layers]
    assert store.load(path) == ["Loaded image: a:b"]
    assert files(store) == before
    assert [os.stat(lower).st_ino for lower in store.resolve("a:b").layers] == layers


def test_a_name_moves_to_the_new_image(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:b", [ONE]))
    old = store.resolve("a:b")
    store.load(archive("a:b", [ONE, TWO]))
    assert store.resolve("a:b").id != old.id
    assert store.resolve(old.id).repo_tags == []
    assert len(store.list()) == 2


def test_layers_are_shared(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:1", [ONE, TWO]))
    store.load(archive("a:2", [ONE, layer("three")]))
    assert len(list(store.layers.all())) == 3
    assert store.resolve("a:1").layers[1] == store.resolve("a:2").layers[1]


def test_a_layer_that_is_gone_comes_back(store: ImageStore, archive: Archive) -> None:
    """Someone has removed a directory by hand: loading repairs it, from the blob that is still there."""
    path = archive("a:b", [ONE, TWO])
    store.load(path)
    for chain_id in list(store.layers.all()):
        store.layers.remove(chain_id)
    store.load(path)
    assert names_in(store, "a:b") == ["one", "two"]


def test_progress(store: ImageStore, archive: Archive) -> None:
    seen: list[tuple[str, int, int]] = []
    store.load(archive("a:b", [ONE, TWO]), lambda *report: seen.append(report))
    assert seen == [(archives.digest(data)[7:19], len(data), len(data)) for data in (ONE, TWO)]


# Refused


@pytest.fixture
def loaded(store: ImageStore, archive: Archive) -> ImageStore:
    """A store in which ``a:b`` is taken already."""
    store.load(archive("a:b", [layer("before")]))
    return store


def refused(
    store: ImageStore, path: str, message: str, kind: type[errors.Error] = errors.CorruptData
) -> None:
    before = files(store)
    image = store.resolve("a:b").id
    with pytest.raises(kind, match=message) as caught:
        store.load(path)
    assert path in str(caught.value)
    assert files(store) == before
    assert store.resolve("a:b").id == image


def test_wrong_diff_id(loaded: ImageStore, archive: Archive) -> None:
    lie = archives.digest(b"lie")
    refused(loaded, archive("a:b", [ONE, TWO], diff_ids=[archives.digest(ONE), lie]), lie)
    refused(loaded, archive("a:b", [gzip.compress(ONE)], diff_ids=[lie]), lie)


def test_wrong_diff_id_of_a_layer_that_is_here(loaded: ImageStore, archive: Archive) -> None:
    """The directory is here under the right name, so only the blob can tell."""
    loaded.load(archive("c:d", [ONE]))
    os.unlink(loaded.content.path(archives.digest(ONE)))
    refused(loaded, archive("a:b", [TWO], diff_ids=[archives.digest(ONE)], config={"Cmd": ["x"]}), "digest")


def test_missing_layer(loaded: ImageStore, archive: Archive, tmp_path: Path) -> None:
    path = archive("a:b", [ONE, TWO])
    without = str(tmp_path / "without.tar")
    with tarfile.open(path) as source, tarfile.open(without, "w") as target:
        for info in source:
            if info.name != "1/layer.tar":
                target.addfile(info, source.extractfile(info))
    refused(loaded, without, "1/layer.tar is missing")


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8])
def test_truncated(loaded: ImageStore, archive: Archive, part: float) -> None:
    path = Path(archive("a:b", [layer(*map(str, range(50))), TWO]))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(errors.CorruptData):
        loaded.load(str(path))
    path.write_bytes(gzip.compress(data)[: int(len(gzip.compress(data)) * part)])
    refused(loaded, str(path), "truncated")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: {**image, "size": image["size"] + 1}, "digest and size"),
        (lambda image: {**image, "digest": "sha256:" + "0" * 64}, "missing"),
        (lambda image: {**image, "digest": "sha256:../../x"}, "invalid checksum digest"),
        (lambda image: {**image, "digest": 5}, "Expected `str`"),
    ],
)
def test_layout_with_a_wrong_descriptor(
    loaded: ImageStore, layout: Layout, change: Callable[..., dict[str, object]], message: str
) -> None:
    refused(loaded, layout.write(change(layout.image([ONE]))), message)


@pytest.mark.parametrize("what", ["manifest", "config", "layer"])
def test_layout_with_a_corrupt_blob(loaded: ImageStore, layout: Layout, what: str) -> None:
    path = layout.write(layout.image([ONE, TWO]))
    for blob in (layout.path / "blobs/sha256").iterdir():
        data = blob.read_bytes()
        kind = "manifest" if b'"layers": [' in data else "config" if b'"diff_ids"' in data else "layer"
        if kind == what:
            blob.write_bytes(
                data.replace(b"two", b"2wo", 1).replace(b"linux", b"Linux").replace(b"Version", b"version")
            )
    refused(loaded, path, "digest|sha256")


def test_layout_for_windows(loaded: ImageStore, layout: Layout) -> None:
    refused(loaded, layout.write(layout.image([ONE], os="windows")), "windows", errors.NotSupported)


def test_layout_with_an_artifact(loaded: ImageStore, layout: Layout) -> None:
    blob = layout.blob(b"{}", "application/vnd.example+json")
    refused(loaded, layout.write(blob), "neither an image nor an index", errors.NotSupported)


def test_index_that_contains_itself_too_deep(loaded: ImageStore, layout: Layout) -> None:
    index = layout.index([layout.image([ONE])])
    for _ in range(10):
        index = layout.index([index])
    refused(loaded, layout.write(index), "nested more than")


def test_no_image_at_all(loaded: ImageStore, tmp_path: Path) -> None:
    path = tmp_path / "rootfs.tar"
    path.write_bytes(layer("bin", "etc"))
    refused(loaded, str(path), "`import`")
    old = tmp_path / "old.tar"
    old.write_bytes(layer("repositories"))
    refused(loaded, str(old), "before 1.10", errors.NotSupported)


def test_a_directory_that_points_elsewhere(loaded: ImageStore, tmp_path: Path) -> None:
    directory = tmp_path / "unpacked"
    directory.mkdir()
    (directory / "manifest.json").write_text('[{"Config": "../outside.json", "Layers": []}]')
    refused(loaded, str(directory), "outside of it", errors.HostileArchive)


def test_hostile_layer(loaded: ImageStore, archive: Archive) -> None:
    evil = archives.layer([archives.symlink("way", "/tmp"), Member("way/evil", b"x")])
    refused(
        loaded, archive("a:b", [ONE, evil]), r"layer 1/layer.tar: entry 'way/evil'", errors.HostileArchive
    )


def test_missing_file(loaded: ImageStore, tmp_path: Path) -> None:
    refused(loaded, str(tmp_path / "nothing"), "no such file", errors.NotFound)


def test_too_many_layers(loaded: ImageStore, archive: Archive) -> None:
    refused(loaded, archive("a:b", [ONE] * 501), "501 layers", errors.NotSupported)
