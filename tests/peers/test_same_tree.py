"""However a tool has packed it, an image loads to the tree of ``docker export``, and to the same config."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable

import pytest
import zstandard

from support import image_tree, recipe, tree
from support.command import Runner
from support.peers import PeerImage, Tool

Writer = Callable[[str], None]


@pytest.fixture(scope="session")
def docker_tree(docker_image: PeerImage) -> tree.Tree:
    return image_tree.comparable(tree.from_tar(docker_image.exported))


def loaded_tree(mydocker: Runner, archive: str, name: str = recipe.NAME) -> tree.Tree:
    """Load, run, and read the container's root from outside, through its init process."""
    assert mydocker("load", "--input", archive, timeout=120).line == f"Loaded image: {name}"
    found = image_tree.of_image(mydocker, name)
    mydocker("rmi", name)
    return found


def test_docker_save(mydocker: Runner, docker_image: PeerImage, docker_tree: tree.Tree) -> None:
    assert tree.difference(docker_tree, loaded_tree(mydocker, docker_image.saved)) == []


def test_docker_save_from_standard_input(mydocker: Runner, docker_image: PeerImage) -> None:
    with open(docker_image.saved, "rb") as archive:
        assert mydocker("load", stdin=archive.read()).line == f"Loaded image: {recipe.NAME}"
    mydocker("rmi", recipe.NAME)


@pytest.mark.parametrize(
    "compress", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"]
)
def test_docker_save_compressed(
    mydocker: Runner,
    docker_image: PeerImage,
    docker_tree: tree.Tree,
    compress: Callable[[bytes], bytes],
    tmp_path: os.PathLike[str],
) -> None:
    archive = os.path.join(tmp_path, "compressed")
    with open(docker_image.saved, "rb") as source, open(archive, "wb") as target:
        target.write(compress(source.read()))
    assert tree.difference(docker_tree, loaded_tree(mydocker, archive)) == []


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "oci-dir"])
def test_podman_save(
    mydocker: Runner,
    podman: Tool,
    docker_image: PeerImage,
    docker_tree: tree.Tree,
    form: str,
    tmp_path: os.PathLike[str],
) -> None:
    archive = os.path.join(tmp_path, "saved")
    podman("load", "--input", docker_image.saved)
    podman("save", "--format", form, "--output", archive, recipe.NAME)
    found = loaded_tree(mydocker, archive, f"localhost/{recipe.NAME}")
    assert tree.difference(docker_tree, found) == []


@pytest.mark.parametrize(
    ("transport", "options"),
    [("docker-archive", []), ("oci-archive", []), ("oci", []), ("oci", ["--dest-compress"])],
    ids=["docker-archive", "oci-archive", "oci", "oci compressed"],
)
def test_skopeo_copy(
    mydocker: Runner,
    skopeo: Tool,
    docker_image: PeerImage,
    docker_tree: tree.Tree,
    transport: str,
    options: list[str],
    tmp_path: os.PathLike[str],
) -> None:
    archive = os.path.join(tmp_path, "copied")
    skopeo("copy", *options, f"docker-archive:{docker_image.saved}", f"{transport}:{archive}:{recipe.NAME}")
    assert tree.difference(docker_tree, loaded_tree(mydocker, archive)) == []


def test_skopeo_copy_zstd(
    mydocker: Runner,
    skopeo: Tool,
    docker_image: PeerImage,
    docker_tree: tree.Tree,
    tmp_path: os.PathLike[str],
) -> None:
    archive = os.path.join(tmp_path, "copied")
    skopeo(
        "copy",
        "--dest-compress",
        "--dest-compress-format=zstd",
        f"docker-archive:{docker_image.saved}",
        f"oci:{archive}:{recipe.NAME}",
    )
    assert tree.difference(docker_tree, loaded_tree(mydocker, archive)) == []


@pytest.mark.parametrize("transport", ["docker-archive", "oci-archive", "oci"])
def test_buildah_push(
    mydocker: Runner,
    buildah: Tool,
    docker_image: PeerImage,
    docker_tree: tree.Tree,
    transport: str,
    tmp_path: os.PathLike[str],
) -> None:
    archive = os.path.join(tmp_path, "pushed")
    name = buildah("pull", f"docker-archive:{docker_image.saved}").line
    buildah("push", name, f"{transport}:{archive}:{recipe.NAME}")
    assert tree.difference(docker_tree, loaded_tree(mydocker, archive)) == []


def test_umoci_reads_and_writes(
    mydocker: Runner, umoci: Tool, skopeo: Tool, docker_image: PeerImage, tmp_path: os.PathLike[str]
) -> None:
    """A layer that umoci repacks: its whiteouts and its form of extended attributes."""
    layout, bundle = os.path.join(tmp_path, "layout"), os.path.join(tmp_path, "bundle")
    skopeo("copy", f"docker-archive:{docker_image.saved}", f"oci:{layout}:everything")
    umoci("unpack", "--image", f"{layout}:everything", bundle)
    rootfs = os.path.join(bundle, "rootfs")
    os.remove(os.path.join(rootfs, "lower/kept"))
    os.setxattr(os.path.join(rootfs, "lower/touched"), "user.color", b"green\0blue")
    umoci("repack", "--image", f"{layout}:repacked", bundle)
    umoci("rm", "--image", f"{layout}:everything")
    expected = image_tree.comparable(tree.from_directory(rootfs, skip=("dev", "proc", "sys")))
    found = loaded_tree(mydocker, layout, "repacked:latest")
    assert ("user.color", b"green\0blue") in found["lower/touched"].xattrs
    assert tree.difference(expected, found, ignore=("mtime",)) == []


def test_config_is_the_same(mydocker: Runner, docker: Tool, docker_image: PeerImage) -> None:
    theirs = docker("image", "inspect", docker_image.name).json()[0]
    mydocker("load", "--input", docker_image.saved)
    ours = mydocker.inspect(docker_image.name)
    mydocker("rmi", docker_image.name)
    same = (
        "User",
        "ExposedPorts",
        "Env",
        "Entrypoint",
        "Cmd",
        "Volumes",
        "WorkingDir",
        "Labels",
        "StopSignal",
    )
    assert {key: ours["Config"].get(key) for key in same} == {key: theirs["Config"].get(key) for key in same}
    for key in ("Id", "RepoTags", "Created", "Architecture", "Os", "RootFS"):
        assert ours[key] == theirs[key], key


def test_config_applies(mydocker: Runner, docker_image: PeerImage) -> None:
    """Entrypoint, Cmd, Env, WorkingDir, User and the anonymous volume of the image, seen from inside."""
    mydocker("load", "--input", docker_image.saved)
    assert mydocker("run", "--rm", recipe.NAME).line == "entry command two words"
    assert mydocker("run", "--rm", recipe.NAME, "other").line == "entry other"
    seen = mydocker(
        *("run", "--rm", "--entrypoint", "/bin/sh", recipe.NAME, "-c"),
        "id -u; id -g; id -G; pwd; echo $GREETING; echo $PATH; echo $HOME; grep -c ' /data ' /proc/mounts",
    ).out.splitlines()
    assert seen == [
        "1000",
        "1000",
        "1000 10 29",
        "/made/by/workdir",
        "hello world",
        "/bin:/usr/bin",
        "/home/alice",
        "1",
    ]
    mydocker("rmi", recipe.NAME)
