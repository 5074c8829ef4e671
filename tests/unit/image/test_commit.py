"""An image of another one and a layer, and layers that stay in their blobs until they are needed."""

from __future__ import annotations

import gzip
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.archive import tar
from mydocker.archive.write import Writer
from mydocker.image.commit import EMPTY_LAYER, About
from mydocker.image.documents import RunConfig
from mydocker.image.store import MAX_LAYERS, Image, ImageStore
from support import archives
from support.layout import Layout, files, layer

pytestmark = pytest.mark.root

Archive = Callable[..., str]
ONE, TWO = layer("one"), layer("two")
ABOUT = About(
    run=RunConfig(cmd=["x"]),
    created="2024-05-06T07:08:09Z",
    created_by="made by a test",
    author="somebody",
    comment="a comment",
)


def adding(*names: str) -> Callable[[Writer], int]:
    def write(writer: Writer) -> int:
        for name in names:
            entry = tar.Entry()
            entry.name, entry.mode, entry.size = name.encode(), 0o644, len(name)
            writer.add(entry, name.encode())
        return sum(map(len, names))

    return write


@pytest.fixture
def base(store: ImageStore, archive: Archive) -> Image:
    store.load(archive("base:1", [ONE]))
    return store.resolve("base:1")


def unpacked(store: ImageStore, image: Image) -> list[bool]:
    return [store.layers.has(chain_id) for chain_id in image.chain]


def test_a_layer_more(store: ImageStore, base: Image) -> None:
    identifier = store.commit_layer(base.id, adding("new", "newer"), ABOUT, ["docker.io/library/made:1"])
    image = store.resolve("made:1")
    assert image.id == identifier
    assert image.config.rootfs.diff_ids[:-1] == base.config.rootfs.diff_ids
    assert image.size == base.size + 8
    assert unpacked(store, image) == [True, False]
    history = (image.config.history or [])[-1]
    assert (history.created_by, history.author, history.comment) == (
        "made by a test",
        "somebody",
        "a comment",
    )
    assert image.created == "2024-05-06T07:08:09Z"
    assert image.config.config == ABOUT.run
    with store.hold():
        store.ensure_layers(image)
    assert sorted(os.listdir(image.layers[0])) == ["new", "newer"]
    assert os.path.isdir(image.lowers[0])
    assert not store.content.noted()


def test_an_empty_layer_is_none(store: ImageStore, base: Image) -> None:
    image = store.resolve(store.commit_layer(base.id, adding(), ABOUT))
    assert image.config.rootfs == base.config.rootfs
    assert (image.config.history or [])[-1].empty_layer
    assert not store.content.has(EMPTY_LAYER)


def test_an_error_leaves_nothing(store: ImageStore, base: Image) -> None:
    def fail(writer: Writer) -> int:
        adding("new")(writer)
        raise errors.Unavailable("made up")

    before = files(store)
    with pytest.raises(errors.Unavailable, match="made up"):
        store.commit_layer(base.id, fail, ABOUT, ["docker.io/library/made:1"])
    assert files(store) == before
    with pytest.raises(errors.NotFound):
        store.commit_layer("sha256:" + "0" * 64, adding("new"), ABOUT)
    assert files(store) == before


def test_more_layers_than_can_be_mounted(store: ImageStore, layout: Layout) -> None:
    """Said before anything is read."""
    entry = layout.image([ONE] * MAX_LAYERS)
    (image,) = store.load(layout.write(entry))
    with pytest.raises(errors.NotSupported, match="501 layers"):
        store.commit_layer(image.rpartition(" ")[2], adding("new"), ABOUT)


def test_an_oci_manifest_has_layers_of_oci_types(store: ImageStore, layout: Layout) -> None:
    docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    entry = layout.image([ONE], stored=[gzip.compress(ONE)], media_type=docker)
    (line,) = store.load(layout.write(entry))
    image = store.resolve(store.commit_layer(line.rpartition(" ")[2], adding("new"), ABOUT))
    assert [blob.media_type for blob in store.manifest(image).layers] == [
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar",
    ]


def test_a_load_unpacks_what_a_commit_left(store: ImageStore, base: Image, archive: Archive) -> None:
    """The same layer, from an archive: its directory is completed, not refused."""
    image = store.resolve(store.commit_layer(base.id, adding("new"), ABOUT))
    top = store.content.read(store.manifest(image).layers[-1].digest)
    assert unpacked(store, image) == [True, False]
    store.load(archive("loaded:1", [ONE, top]))
    assert unpacked(store, image) == [True, True]
    with store.hold():
        store.ensure_layers(image)
    assert os.listdir(image.layers[0]) == ["new"]


def test_a_chain_of_commits(store: ImageStore, base: Image) -> None:
    """Whiteouts find what they hide in layers that are unpacked just before."""
    first = store.commit_layer(base.id, adding("a", "b"), ABOUT)
    second = store.commit_layer(first, adding(".wh.a", ".wh.never", "c"), ABOUT)
    image = store.resolve(second)
    assert unpacked(store, image) == [True, False, False]
    with store.hold():
        store.ensure_layers(image)
    assert sorted(os.listdir(image.layers[0])) == ["a", "c"]


def test_a_blob_that_is_spoiled(store: ImageStore, base: Image) -> None:
    image = store.resolve(store.commit_layer(base.id, adding("new"), ABOUT))
    path = Path(store.content.path(store.manifest(image).layers[-1].digest))
    path.write_bytes(path.read_bytes().replace(b"new", b"old", 1))
    with store.hold(), pytest.raises(errors.CorruptData, match="layer sha256:"):
        store.ensure_layers(image)
    assert unpacked(store, image) == [True, False]
    assert not any(name.startswith(".new") for name in os.listdir(store.layers.root))


def test_it_goes_without_ever_being_unpacked(store: ImageStore, base: Image) -> None:
    before = files(store)
    identifier = store.commit_layer(base.id, adding("new"), ABOUT)
    store.remove(identifier)
    assert files(store) == before
    assert base.id in {image.id for image in store.list()}


@pytest.mark.slow
def test_killed_at_any_moment(store: ImageStore, base: Image) -> None:
    """Of a commit, and of the unpacking after it."""
    many = [f"{number:05}" * 100 for number in range(300)]

    def work() -> None:
        identifier = store.commit_layer(base.id, adding(*(name[:5] for name in many)), ABOUT)
        with store.hold():
            store.ensure_layers(store.resolve(identifier))

    started = time.monotonic()
    work()
    duration = time.monotonic() - started
    for image in store.list():
        if image.id != base.id:
            store.remove(image.id)
    before = files(store)
    for step in range(20):
        child = os.fork()
        if child == 0:
            try:
                work()
            finally:
                os._exit(0)
        time.sleep(duration * 1.2 * step / 20)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for image in store.list():
            with store.hold():
                store.ensure_layers(image)
            assert len(os.listdir(image.layers[0])) in (1, 300)
            if image.id != base.id:
                store.remove(image.id)
    store.commit_layer(base.id, adding("last"), ABOUT, ["docker.io/library/last:1"])
    store.remove("last:1")
    assert files(store) == before


def test_the_configuration_is_plain_json(store: ImageStore, base: Image) -> None:
    image = store.resolve(store.commit_layer(base.id, adding("new"), ABOUT))
    assert json.loads(image.raw)["config"] == {"Cmd": ["x"]}
    assert archives.digest(image.raw) == image.id
