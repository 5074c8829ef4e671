"""What is committed and saved here is the same tree, and the same bytes, for the others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from support import recipe, tree
from support.command import Runner
from support.image_tree import comparable
from support.peers import PeerImage, Tool

NAME = "peers/committed:2"
FULL = f"docker.io/{NAME}"

# Every way in which a container can change what it stands on.
SCRIPT = r"""
set -e
rm /lower/kept && rm -r /lower/new-name-of-directory && rm -r /second
rm -r /opaque && mkdir /opaque && echo third > /opaque/newest
mv /made /renamed && mkdir -p /fresh/a/b && mv /fresh/a /fresh/z
echo more >> /lower/appended && chmod 0 /lower/replaced && chown 5:6 /lower/second-only
ln /lower/hard-one /lower/hard-four && ln /fresh/z /nowhere 2>/dev/null || ln -s /fresh/z /link
rm /odd/symlink && mkdir /odd/symlink && touch /odd/symlink/in
mkfifo /odd/third-fifo && mknod /odd/null c 1 3 && mknod /odd/disk b 7 8
printf 'latin' > "$(printf '/odd/\351')" && printf x > "$(printf '/odd/\345\220\215')"
dd if=/dev/zero of=/odd/sparse bs=1 count=1 seek=20000000 2>/dev/null
touch -d '2002-03-04 05:06:07' /lower/touched /fresh
chmod 1777 /fresh && chmod u+s /fresh/z && echo volume > /data/file && echo hosts >> /etc/hosts
echo "$(cat /lower/appended)" > "/a name with spaces
and a line"
chmod 750 /
"""


@dataclass(frozen=True)
class Committed:
    saved: str
    exported: str
    image: dict[str, object]
    layers: list[str]


@pytest.fixture(scope="module")
def committed(
    session_runner: Runner, docker_image: PeerImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Committed]:
    directory = tmp_path_factory.mktemp("committed")
    saved, exported = str(directory / "saved.tar"), str(directory / "exported.tar")
    session_runner("load", "--input", docker_image.saved, timeout=120)
    session_runner(
        *("run", "--name", "changed", "--user", "0", "--entrypoint", "/bin/sh", recipe.NAME, "-c", SCRIPT)
    )
    changes = ("--change", 'CMD ["true"]', "--change", "WORKDIR /renamed/by/workdir")
    session_runner("commit", "--author", "a person", *changes, "changed", NAME)
    session_runner("export", "--output", exported, "changed")
    session_runner("rm", "-v", "changed")
    session_runner("save", "--output", saved, NAME)
    index = json.loads(Path(session_runner.root, "image/index.json").read_text())
    (digest,) = {
        entry["digest"]
        for entry in index["manifests"]
        if (entry.get("annotations") or {}).get("io.containerd.image.name") == FULL
    }
    manifest = json.loads(
        Path(session_runner.root, "image/blobs/sha256", digest.removeprefix("sha256:")).read_text()
    )
    yield Committed(
        saved, exported, session_runner.inspect(NAME), [layer["digest"] for layer in manifest["layers"]]
    )
    session_runner("rmi", NAME, recipe.NAME)


@pytest.fixture(scope="module")
def committed_tree(committed: Committed) -> tree.Tree:
    found = comparable(tree.from_tar(committed.exported))
    assert "lower/kept" not in found
    assert set(found) >= {"renamed/by/workdir", "opaque/newest", "fresh/z/b", "odd/caf\udce9-latin-1"}
    assert not any(name.startswith(("made", "opaque/old", "second")) for name in found)
    assert found["odd/capability"].xattrs == (("security.capability", recipe.CAPABILITY),)
    # overlayfs copies up one name of a file, which then is a file of its own
    assert found["lower/hard-one"].links == ("lower/hard-four", "lower/hard-one")
    return found


def exported_by(peer: Tool, image: str, path: str) -> tree.Tree:
    container = peer("create", image, "true").line
    peer("export", "--output", path, container)
    peer("rm", container)
    return comparable(tree.from_tar(path))


def test_our_export_is_dockers(mydocker: Runner, docker_image: PeerImage, tmp_path: Path) -> None:
    """Names, modes, owners, contents, and the files that the engine itself puts there."""
    mydocker("load", "--input", docker_image.saved)
    mydocker("create", "--name", "plain", docker_image.name)
    mydocker("export", "--output", str(tmp_path / "ours.tar"), "plain")
    mydocker("rm", "-v", "plain")
    mydocker("rmi", docker_image.name)
    theirs = tree.whole_seconds(tree.from_tar(docker_image.exported))
    ours = tree.whole_seconds(tree.from_tar(str(tmp_path / "ours.tar")))
    now = ("etc", *(name for name in ours if name.startswith(("dev", "proc", "sys", ".dockerenv", "etc/"))))
    made = {name: replace(ours[name], mtime=theirs[name].mtime) for name in now if name in theirs}
    assert tree.difference(theirs, {**ours, **made}) == []


def test_docker_loads_it(
    docker: Tool, committed: Committed, committed_tree: tree.Tree, tmp_path: Path
) -> None:
    assert docker("load", "--input", committed.saved).line == f"Loaded image: {NAME}"
    inspected = docker("image", "inspect", NAME).json()[0]
    found = exported_by(docker, NAME, str(tmp_path / "theirs.tar"))
    docker("rmi", NAME)
    assert tree.difference(committed_tree, found) == []
    assert inspected["Id"] == committed.image["Id"]
    assert inspected["RootFS"] == committed.image["RootFS"]
    assert inspected["Author"] == "a person"
    assert inspected["Config"]["Cmd"] == ["true"]


def test_podman_loads_it(
    podman: Tool, committed: Committed, committed_tree: tree.Tree, tmp_path: Path
) -> None:
    assert podman("load", "--input", committed.saved).line.endswith(f"/{NAME}")
    found = exported_by(podman, FULL, str(tmp_path / "theirs.tar"))
    identifier = podman("image", "inspect", FULL).json()[0]["Id"]
    podman("rmi", FULL)
    # podman's containers have a /run of their own
    assert tree.difference(committed_tree, tree.without(found, "run")) == []
    assert f"sha256:{identifier}" == committed.image["Id"]


@pytest.mark.parametrize("source", ["docker-archive:{saved}:{NAME}", "oci-archive:{saved}:{FULL}"])
def test_skopeo_copies_it(skopeo: Tool, committed: Committed, source: str, tmp_path: Path) -> None:
    """The configuration keeps its digest, and so do all layers: those of the base, and the plain new one."""
    place = source.format(saved=committed.saved, NAME=NAME, FULL=FULL)
    skopeo("copy", "--preserve-digests", place, f"dir:{tmp_path}/copy")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    assert manifest["config"]["digest"] == committed.image["Id"]
    assert [layer["digest"] for layer in manifest["layers"]] == committed.layers


def test_skopeo_reads_the_store(
    session_runner: Runner, skopeo: Tool, committed: Committed, tmp_path: Path
) -> None:
    place = f"oci:{session_runner.root}/image:{FULL}"
    found = skopeo("inspect", place).json()
    assert found["Layers"] == committed.layers
    skopeo("copy", place, f"docker-archive:{tmp_path}/copied.tar:{NAME}")


def test_it_comes_back(session_runner: Runner, fresh: Runner, committed: Committed, tmp_path: Path) -> None:
    """From another store the same archive is saved, byte for byte."""
    again, returned = str(tmp_path / "again.tar"), str(tmp_path / "returned.tar")
    session_runner("save", "--output", again, NAME)
    assert Path(again).read_bytes() == Path(committed.saved).read_bytes()
    assert fresh("load", "--input", again).line == f"Loaded image: {NAME}"
    assert fresh.inspect(NAME)["Id"] == committed.image["Id"]
    with open(returned, "wb") as out:
        assert not os.isatty(out.fileno())
        done = fresh.popen("save", NAME, stdout=out)
        assert done.wait(60) == 0
    assert Path(returned).read_bytes() == Path(committed.saved).read_bytes()


def test_docker_commits_the_same_tree(
    docker: Tool, docker_image: PeerImage, committed_tree: tree.Tree, tmp_path: Path
) -> None:
    """Docker's own commit of the same changes: what it keeps of them, we keep."""
    arguments = (
        "--user",
        "0",
        "--network",
        "none",
        "--entrypoint",
        "/bin/sh",
        docker_image.name,
        "-c",
        SCRIPT,
    )
    docker("run", "--name", "changed", *arguments)
    docker("commit", "--change", "WORKDIR /renamed/by/workdir", "changed", "peers/theirs:2")
    docker("rm", "-v", "changed")
    theirs = exported_by(docker, "peers/theirs:2", str(tmp_path / "theirs.tar"))
    docker("rmi", "peers/theirs:2")
    # times of what the script touched last are those of its run
    assert tree.difference(theirs, committed_tree, ignore=("mtime",)) == []
