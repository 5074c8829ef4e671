"""Through Debian's docker-registry, from and to docker, podman and skopeo: the same trees and digests."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from support import archives, image_tree, recipe, tree
from support.archives import Member, directory, symlink
from support.command import Runner
from support.peers import PeerImage, Tool


@pytest.fixture(scope="module")
def pushed(docker: Tool, docker_image: PeerImage, registry: str) -> Iterator[str]:
    """The name under which docker has pushed its image."""
    name = f"{registry}/{recipe.NAME}"
    docker("tag", docker_image.name, name)
    docker("push", name)
    yield name
    docker("rmi", name)


@pytest.fixture(scope="module")
def docker_tree(docker_image: PeerImage) -> tree.Tree:
    return image_tree.comparable(tree.from_tar(docker_image.exported))


def exported(tool: Tool, name: str, path: str, *options: str) -> tree.Tree:
    """What the other engine's container has in it."""
    container = tool("create", *options, name, "true").line
    tool("export", "--output", path, container)
    tool("rm", container)
    return image_tree.comparable(tree.from_tar(path))


def manifest_of(skopeo: Tool, name: str) -> bytes:
    return skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}").stdout


def test_docker_pushes_and_we_pull(
    mydocker: Runner, docker: Tool, skopeo: Tool, pushed: str, docker_tree: tree.Tree
) -> None:
    done = mydocker("pull", pushed)
    theirs, ours = docker("image", "inspect", pushed).json()[0], mydocker.inspect(pushed)
    assert ours["Id"] == theirs["Id"]
    assert ours["RootFS"] == theirs["RootFS"]
    digest = archives.digest(manifest_of(skopeo, pushed))
    assert ours["RepoDigests"] == [f"{pushed.rpartition(':')[0]}@{digest}"]
    assert ours["RepoDigests"][0] in theirs["RepoDigests"]
    assert f"Digest: {digest}" in done.out
    assert tree.difference(docker_tree, image_tree.of_image(mydocker, pushed)) == []
    mydocker("rmi", pushed)


def test_the_same_words_as_docker(mydocker: Runner, docker: Tool, pushed: str, registry: str) -> None:
    """A push that has nothing to send, a pull of what is here, and of what is nowhere."""
    mydocker("pull", pushed)
    for arguments in (("push", pushed), ("pull", pushed), ("pull", "--quiet", pushed)):
        theirs, ours = docker(*arguments), mydocker(*arguments)
        assert sorted(line for line in ours.out.splitlines() if "Waiting" not in line) == sorted(
            line for line in theirs.out.splitlines() if "Waiting" not in line
        ), arguments
    other = f"{registry}/copied/from:docker"
    for tool in (docker, mydocker):
        tool("tag", pushed, other)
    theirs, ours = docker("push", other), mydocker("push", other)
    assert theirs.out.splitlines()[-1] == ours.out.splitlines()[-1], "the digest and the size"
    for arguments in (("pull", f"{registry}/no/such"), ("push", f"{registry}/no/such")):
        theirs, ours = docker(*arguments, check=False), mydocker(*arguments, check=False)
        assert theirs.code == ours.code == 1
        assert ours.out == theirs.out
    for tool in (docker, mydocker):
        tool("rmi", other)
    mydocker("rmi", pushed)


def test_what_was_pulled_is_pushed_byte_for_byte(
    mydocker: Runner, skopeo: Tool, pushed: str, registry: str
) -> None:
    mydocker("pull", pushed)
    other = f"{registry}/copied/by-us:1"
    mydocker("tag", pushed, other)
    done = mydocker("push", other)
    assert "Mounted from " in done.out
    assert manifest_of(skopeo, other) == manifest_of(skopeo, pushed)
    mydocker("rmi", pushed, other)


@pytest.fixture
def ours(mydocker: Runner, busybox_tar: str, registry: str) -> Iterator[str]:
    """An image of two layers, the second made by a container, pushed by us as gzip."""
    base, name = "transfer/base:1", f"{registry}/transfer/ours:1"
    mydocker("import", busybox_tar, base)
    script = (
        "mkdir /made && echo made > /made/here && ln -s here /made/link && ln /made/here /made/hard && "
        "chmod 4751 /made/here && chown 12:34 /made && rm -r /home && mkfifo /made/pipe"
    )
    container = mydocker("run", "-d", base, "sh", "-c", script).line
    assert mydocker.wait_for_exit(container) == 0
    mydocker("commit", container, name)
    mydocker("rm", container)
    mydocker("push", name)
    yield name
    mydocker("rmi", name, base)


def test_docker_pulls_what_we_pushed(
    mydocker: Runner, docker: Tool, ours: str, tmp_path: os.PathLike[str]
) -> None:
    docker("pull", ours)
    assert docker("image", "inspect", ours).json()[0]["Id"] == mydocker.inspect(ours)["Id"]
    assert docker("image", "inspect", ours).json()[0]["RepoDigests"] == mydocker.inspect(ours)["RepoDigests"]
    found = exported(docker, ours, os.path.join(tmp_path, "docker.tar"), "--network", "none")
    docker("rmi", ours)
    assert tree.difference(image_tree.of_image(mydocker, ours), found) == []
    assert found["made/here"].mode == 0o4751


def test_podman_pulls_what_we_pushed(
    mydocker: Runner, podman: Tool, ours: str, tmp_path: os.PathLike[str]
) -> None:
    podman("pull", "--tls-verify=false", ours)
    assert podman("image", "inspect", "--format", "{{.Id}}", ours).line == mydocker.inspect(ours)["Id"][7:]
    found = exported(podman, ours, os.path.join(tmp_path, "podman.tar"), "--network", "none")
    podman("rmi", ours)
    # podman's export leaves out what it mounts over, and puts a directory of its own into the root
    expected = tree.without(image_tree.of_image(mydocker, ours), "run")
    assert tree.difference(expected, tree.without(found, "run"), ignore=("mtime",)) == []


def test_skopeo_copies_what_we_pushed(
    mydocker: Runner, skopeo: Tool, ours: str, tmp_path: os.PathLike[str]
) -> None:
    layout = os.path.join(tmp_path, "layout")
    skopeo("copy", "--src-tls-verify=false", f"docker://{ours}", f"oci:{layout}:transfer/back:1")
    expected = image_tree.of_image(mydocker, ours)
    assert mydocker("load", "--input", layout).line == "Loaded image: transfer/back:1"
    assert mydocker.inspect("transfer/back:1")["Id"] == mydocker.inspect(ours)["Id"]
    mydocker("rmi", "transfer/back:1")
    assert tree.difference(expected, image_tree.of_image(mydocker, ours)) == []


def test_there_and_back(
    fresh: Runner, docker: Tool, podman: Tool, pushed: str, registry: str, tmp_path: os.PathLike[str]
) -> None:
    """Pushed by docker, pulled, committed on and pushed by us, and pulled by the others."""
    name = f"{registry}/transfer/round:1"
    fresh("pull", pushed)
    script = "echo on top > /top && rm /lower/kept"
    container = fresh("run", "-d", "--user", "0", "--entrypoint", "/bin/sh", pushed, "-c", script).line
    assert fresh.wait_for_exit(container) == 0
    fresh("commit", container, name)
    fresh("rm", "--volumes", container)
    done = fresh("push", name)
    assert done.out.count("Mounted from peers/everything") >= 1
    expected = image_tree.of_image(fresh, name)
    assert "lower/kept" not in expected
    fresh("rmi", name, pushed)
    fresh("pull", name)
    assert tree.difference(expected, image_tree.of_image(fresh, name)) == []
    for tool, options in ((docker, ()), (podman, ("--tls-verify=false",))):
        tool("pull", *options, name)
        found = exported(
            tool,
            name,
            os.path.join(tmp_path, "exported.tar"),
            "--network",
            "none",
            "--entrypoint",
            "/bin/true",
        )
        tool("rmi", name)
        lacking = ("run", "var/lib/empty") if tool is podman else ()
        left = tree.difference(
            tree.without(expected, *lacking), tree.without(found, *lacking), ignore=("mtime",)
        )
        assert left == [], tool.prefix[0]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_skopeo_pushes_and_we_pull(
    mydocker: Runner, skopeo: Tool, registry: str, compression: str, tmp_path: os.PathLike[str]
) -> None:
    layers = [
        archives.layer([directory("d"), Member("d/one", b"1"), Member("gone", b"")]),
        archives.layer([Member(".wh.gone"), symlink("link", "d/one"), Member("d/two", b"2")]),
    ]
    archive = archives.docker_archive(os.path.join(tmp_path, "made.tar"), layers)
    name = f"{registry}/transfer/{compression}:1"
    layout = f"oci:{tmp_path}/layout:1"
    compress = ("--dest-compress", f"--dest-compress-format={compression}")
    skopeo("copy", *compress, f"docker-archive:{archive}", layout)
    skopeo("copy", "--preserve-digests", "--dest-tls-verify=false", layout, f"docker://{name}")
    mydocker("pull", name)
    manifest = json.loads(manifest_of(skopeo, name))
    assert all(entry["mediaType"].endswith(compression) for entry in manifest["layers"])
    assert mydocker.inspect(name)["RepoDigests"][0].endswith(archives.digest(manifest_of(skopeo, name)))
    assert mydocker("push", name).out.count("Layer already exists") == 2
    mydocker("rmi", name)
