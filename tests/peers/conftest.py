"""The peers, started once for the session, and one image that all of them have written in their own way."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from support import docker_registry, peers, probe, recipe
from support.beside import Both
from support.command import Runner
from support.peers import PeerImage, Tool

BUSYBOX = "busybox:test"


def _directory(parent: str, name: str) -> str:
    path = os.path.join(parent, name)
    os.mkdir(path)
    return path


def _need(*programs: str) -> None:
    if reason := probe.missing_programs(*programs):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def docker(short_directory: str) -> Iterator[Tool]:
    _need("docker", "dockerd", "containerd", "runc")
    with peers.docker(_directory(short_directory, "docker")) as client:
        yield client


@pytest.fixture(scope="session")
def podman(short_directory: str) -> Tool:
    _need("podman", "runc")
    return peers.podman(_directory(short_directory, "podman"))


@pytest.fixture(scope="session")
def buildah(short_directory: str) -> Tool:
    _need("buildah")
    return peers.buildah(_directory(short_directory, "buildah"))


@pytest.fixture(scope="session")
def skopeo(short_directory: str) -> Tool:
    _need("skopeo")
    return peers.skopeo(_directory(short_directory, "skopeo"))


@pytest.fixture(scope="session")
def umoci() -> Tool:
    _need("umoci")
    return peers.umoci()


@pytest.fixture(scope="session")
def registry(short_directory: str) -> Iterator[str]:
    """Debian's docker-registry in plain HTTP, open to everyone: host:port."""
    _need("docker-registry")
    with docker_registry.serve(_directory(short_directory, "registry")) as address:
        yield address


@pytest.fixture(scope="session")
def docker_image(docker: Tool, pristine_rootfs: str, short_directory: str) -> PeerImage:
    directory = _directory(short_directory, "everything")
    context = recipe.write_context(_directory(directory, "context"), pristine_rootfs)
    docker("build", "--network", "none", "--tag", recipe.NAME, context, timeout=120)
    image = PeerImage(
        recipe.NAME, directory, os.path.join(directory, "saved.tar"), os.path.join(directory, "exported.tar")
    )
    docker("save", "--output", image.saved, image.name)
    docker("create", "--name", "exported", image.name)
    docker("export", "--output", image.exported, "exported")
    docker("rm", "exported")
    return image


@pytest.fixture(scope="module")
def docker_busybox(docker: Tool, busybox_tar: str) -> Iterator[Tool]:
    docker("import", busybox_tar, BUSYBOX)
    yield docker
    docker("rmi", BUSYBOX)


@pytest.fixture
def both(docker_busybox: Tool, mydocker: Runner, image: str) -> Iterator[Both]:
    assert image == BUSYBOX
    yield Both(docker_busybox, mydocker)
    left = docker_busybox("ps", "-aq").out.split()
    if left:
        docker_busybox("rm", "-fv", *left)
