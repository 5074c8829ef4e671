"""An image with a layer that its publisher has, and its registry not: docker on Linux never asks there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from support import archives
from support.archives import Member
from support.command import Runner
from support.fake_registry import FakeRegistry
from support.peers import Tool
from support.served_image import ServedImage

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.fixture
def publisher() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server


@pytest.fixture
def name(publisher: FakeRegistry) -> Iterator[str]:
    """What the image is called."""
    with FakeRegistry() as fake:
        image = ServedImage(fake, [archives.layer([Member("file", b"contents")])])
        layer = image.descriptors[0]
        del fake.blobs[image.name, layer["digest"]]
        digest = publisher.add_blob(image.stored[0], "public")
        layer.update(mediaType=FOREIGN, urls=[f"{publisher.url}/v2/public/blobs/{digest}"])
        image.put()
        yield f"{fake.address}/a/b:1"


def test_a_pull(fresh: Runner, docker: Tool, podman: Tool, publisher: FakeRegistry, name: str) -> None:
    assert "unknown blob" in docker("pull", name, check=False).err
    assert publisher.requests == []
    podman("pull", "--tls-verify=false", name)
    assert len(publisher.asked("GET", "/blobs/")) == 1
    fresh("pull", name)
    assert len(publisher.asked("GET", "/blobs/")) == 2
    assert podman("image", "inspect", "--format", "{{.Id}}", name).line == fresh.inspect(name)["Id"][7:]
    podman("rmi", name)
    assert "no faults" in fresh("system", "check").out


def test_a_push_leaves_the_layer_where_it_is(fresh: Runner, skopeo: Tool, registry: str, name: str) -> None:
    fresh("pull", name)
    copy = f"{registry}/foreign/copy:1"
    fresh("tag", name, copy)
    assert "Skipped foreign layer" in fresh("push", copy).out
    manifest = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{copy}").stdout)
    assert [layer["mediaType"] for layer in manifest["layers"]] == [FOREIGN]
    fresh("rmi", copy, name)
    fresh("pull", copy)
    assert fresh.inspect(copy)["RootFS"]["Layers"]


def test_a_layout_without_the_layer(
    fresh: Runner, skopeo: Tool, name: str, tmp_path: os.PathLike[str]
) -> None:
    """skopeo leaves a foreign layer out of what it copies, and no archive can say more than it has."""
    layout = os.path.join(tmp_path, "layout")
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{layout}:a/b:1")
    done = fresh("load", "--input", layout, check=1)
    assert "foreign" in done.err
    assert fresh("images", "--quiet").out == ""
