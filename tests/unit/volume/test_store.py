"""Volumes: named after nobody, filled with what the image has at their place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.volume.store import ANONYMOUS, VolumeStore
from support import tree

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(str(tmp_path))


@pytest.fixture
def lowers(tmp_path: Path) -> list[str]:
    """``data`` in two layers: the upper one adds, deletes, and replaces a directory."""
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for path in (upper / "data/opaque", lower / "data/opaque/old", lower / "data/sub", lower / "var"):
        path.mkdir(parents=True)
    os.setxattr(upper / "data/opaque", "trusted.overlay.opaque", b"y")
    (upper / "data/opaque/new").write_text("new")
    (upper / "data/added").write_text("added")
    os.mknod(upper / "data/deleted", stat.S_IFCHR, os.makedev(0, 0))
    (lower / "data/deleted").write_text("deleted")
    (lower / "data/sub/one").write_text("one")
    os.link(lower / "data/sub/one", lower / "data/two")
    os.symlink("/data", lower / "var/link")
    os.mkfifo(lower / "data/fifo", 0o640)
    os.mknod(lower / "data/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    with open(lower / "data/sparse", "wb") as file:
        file.seek(10 << 20)
        file.write(b"middle")
        file.truncate(30 << 20)
    os.chown(lower / "data/sub", 1000, 1001)
    os.chmod(lower / "data/sub", 0o2750)
    os.chown(upper / "data", 7, 8)
    os.chmod(upper / "data", 0o1777)
    os.setxattr(lower / "data/sub/one", "user.color", b"green")
    for name in ("data/sub/one", "data/sub", "data/fifo"):
        os.utime(lower / name, ns=(0, 1_234_567_890_123_456_789))
    return [str(upper), str(lower)]


def test_create_and_remove(store: VolumeStore, tmp_path: Path) -> None:
    name = store.create(labels={"owner": "me"})
    assert len(name) == 64
    assert store.path(name) == str(tmp_path / "volume" / name / "_data")
    assert os.listdir(store.path(name)) == []
    assert store.get(name).labels == {ANONYMOUS: "", "owner": "me"}
    assert store.names() == [name]
    with pytest.raises(errors.Conflict, match=name):
        store.create(name)
    store.remove(name)
    store.remove(name)
    assert store.names() == []
    with pytest.raises(errors.NotFound, match=name):
        store.get(name)


@pytest.mark.parametrize("name", ["..", "../x", "x", "", "A" * 64, "a" * 63])
def test_names(store: VolumeStore, name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="64 hex digits"):
        store.path(name)


@pytest.mark.parametrize("place", ["/data", "/var/link", "/var/../data/"])
def test_starts_with_the_content_of_the_image(store: VolumeStore, lowers: list[str], place: str) -> None:
    name = store.create()
    store.populate(name, lowers, place)
    found = tree.from_directory(store.path(name))
    lower = tree.from_directory(lowers[1] + "/data")
    upper = tree.from_directory(lowers[0] + "/data")
    assert set(found) == {
        "added", "fifo", "null", "opaque", "opaque/new", "sparse", "sub", "sub/one", "two",
    }  # fmt: skip
    for entry in ("fifo", "null", "sparse", "sub", "sub/one", "two"):
        assert found[entry] == lower[entry], entry
    assert found["added"] == upper["added"]
    assert found["opaque"].xattrs == ()
    assert os.stat(store.path(name) + "/sparse").st_blocks < 100
    top = os.stat(store.path(name))
    assert (stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid) == (0o1777, 7, 8)


def test_nothing_there(store: VolumeStore, lowers: list[str]) -> None:
    name = store.create()
    store.populate(name, lowers, "/nothing/here")
    assert os.listdir(store.path(name)) == []
    assert stat.S_IMODE(os.stat(store.path(name)).st_mode) == 0o755


def test_a_file_there(store: VolumeStore, lowers: list[str]) -> None:
    name = store.create()
    with pytest.raises(errors.InvalidArgument, match="file exists /data/added"):
        store.populate(name, lowers, "/data/added")
