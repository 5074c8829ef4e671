"""Volumes: named after nobody, filled with what the image has at their place."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.linux.tree import remove_tree
from mydocker.snapshot.copy import Target
from mydocker.volume.store import ANONYMOUS, VolumeStore, check_name
from support import deep, tree

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


def remove(store: VolumeStore, name: str) -> bool:
    with store.removing() as take_away:
        return take_away(name)


def test_create_and_remove(store: VolumeStore, tmp_path: Path) -> None:
    name = store.create(labels={"owner": "me"}).name
    assert len(name) == 64
    assert store.path(name) == str(tmp_path / "volume" / name / "_data")
    assert os.listdir(store.path(name)) == []
    assert store.get(name).labels == {ANONYMOUS: "", "owner": "me"}
    assert store.names() == [name]
    with pytest.raises(errors.Conflict, match=name):
        store.create(name)
    assert remove(store, name)
    assert not remove(store, name)
    assert store.names() == []
    with pytest.raises(errors.NotFound, match=f"get {name}: no such volume"):
        store.get(name)
    assert os.listdir(store.root) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("..", "includes invalid characters for a local volume name"),
        ("../x", "includes invalid characters"),
        ("x", "create x: volume name is too short, names should be at least two alphanumeric characters"),
        ("", "includes invalid characters"),
        ("-x", "If you intended to pass a host directory, use absolute path"),
        ("a" * 256, "at most 255 characters"),
    ],
)
def test_names(name: str, message: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        check_name(name)
    assert message in str(caught.value)


def filled(store: VolumeStore, lowers: list[str], place: str) -> str:
    return store.create(fill=lambda data: store.fill(data, lowers, place)).name


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("place", ["/data", "/var/link", "/var/../data/"])
def test_starts_with_the_content_of_the_image(
    store: VolumeStore, lowers: list[str], place: str, late: bool
) -> None:
    if late:
        name = store.create("some").name
        store.populate(name, lowers, place)
        assert sorted(os.listdir(f"{store.root}/{name}")) == ["_data", "config.json"]
    else:
        name = filled(store, lowers, place)
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


def test_however_deep_the_image_is(store: VolumeStore, tmp_path: Path) -> None:
    with deep.nested(tmp_path / "layer", 1500, "d"), deep.few_descriptors():
        name = filled(store, [str(tmp_path / "layer")], "/")
        assert deep.depth(Path(store.path(name))) == 1500
        assert remove(store, name)
        assert os.listdir(store.root) == []


def test_nothing_there(store: VolumeStore, lowers: list[str]) -> None:
    name = filled(store, lowers, "/nothing/here")
    store.populate(name, lowers, "/nothing/here")
    assert os.listdir(store.path(name)) == []
    assert stat.S_IMODE(os.stat(store.path(name)).st_mode) == 0o755


def test_a_file_there(store: VolumeStore, lowers: list[str]) -> None:
    with pytest.raises(errors.InvalidArgument, match="file exists /data/added"):
        filled(store, lowers, "/data/added")
    assert os.listdir(store.root) == []
    name = store.create("some").name
    with pytest.raises(errors.InvalidArgument, match="file exists /data/added"):
        store.populate(name, lowers, "/data/added")


def test_only_an_empty_volume_is_filled(store: VolumeStore, lowers: list[str]) -> None:
    name = store.create("some").name
    Path(store.path(name), "mine").touch()
    store.populate(name, lowers, "/data")
    assert os.listdir(store.path(name)) == ["mine"]


def test_a_filling_that_was_cut_short_is_completed(store: VolumeStore, lowers: list[str]) -> None:
    name = store.create("some").name
    directory = Path(store.root, name)
    (directory / "filling").mkdir()
    (directory / "filling/half").touch()
    store.populate(name, lowers, "/data")
    assert "half" not in os.listdir(store.path(name))
    os.rename(directory / "_data", directory / "filled")
    (directory / "_data").mkdir()
    os.rename(directory / "filled/added", directory / "_data/added")
    store.populate(name, lowers, "/data")
    assert {"added", "two", "sub"} <= set(os.listdir(store.path(name)))
    assert sorted(os.listdir(directory)) == ["_data", "config.json"]


def test_what_containers_have_written_meanwhile_stays(store: VolumeStore, lowers: list[str]) -> None:
    """Between a filling that was killed and the one that goes on with it."""
    name = store.create("some").name
    directory, data = Path(store.root, name), Path(store.path(name))
    store.populate(name, lowers, "/data")
    os.rename(data, directory / "filled")
    (data / "sub").mkdir(parents=True)
    (data / "sub/mine").touch()
    (data / "two").write_text("mine")
    os.chmod(data, 0o700)
    os.chown(data, 70, 70)
    store.populate(name, lowers, "/data")
    top = data.stat()
    assert (stat.S_IMODE(top.st_mode), top.st_uid, top.st_gid) == (0o700, 70, 70)
    assert (data / "two").read_text() == "mine"
    assert os.listdir(data / "sub") == ["mine"]
    assert (data / "added").exists()
    assert sorted(os.listdir(directory)) == ["_data", "config.json"]


def test_a_link_put_in_the_way_is_not_followed(
    store: VolumeStore, lowers: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a volume that is a directory of the host, in which a container is at work already."""
    place, outside = tmp_path / "place", tmp_path / "outside"
    for directory in (place, outside):
        directory.mkdir()
    (outside / "file").touch(0o600)
    options = {"type": "none", "o": "bind", "device": str(place)}
    store.create("bound", options=options)
    enter, mknod = Target.enter, os.mknod

    def swapped(made: Target, name: str) -> None:
        enter(made, name)
        os.rename(place / name, place / f"away-{name}")
        os.symlink(outside, place / name)

    def replaced(name: str, mode: int, device: int, *, dir_fd: int) -> None:
        mknod(name, mode, device, dir_fd=dir_fd)
        os.unlink(name, dir_fd=dir_fd)
        os.symlink(outside / "file", name, dir_fd=dir_fd)

    monkeypatch.setattr(Target, "enter", swapped)
    store.populate("bound", lowers, "/data/sub/..")
    assert os.listdir(outside) == ["file"]
    remove_tree(str(place))
    place.mkdir()
    monkeypatch.setattr(Target, "enter", enter)
    monkeypatch.setattr(os, "mknod", replaced)
    with pytest.raises(OSError, match="changed while it was copied"):
        store.populate("bound", lowers, "/data")
    status = (outside / "file").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o600, 0)


def test_rename(store: VolumeStore) -> None:
    name = store.create(labels={"a": "b"}).name
    store.create("taken")
    with store.changing():
        with pytest.raises(errors.Conflict, match="a volume with the name taken exists already"):
            store.rename(name, "taken")
        store.rename(name, "other")
    assert store.names() == ["other", "taken"]
    found = store.get("other")
    assert (found.name, found.mountpoint, found.labels) == ("other", store.path("other"), {"a": "b"})


def test_leftovers_go_but_not_what_somebody_works_on(store: VolumeStore) -> None:
    store.create("some")
    for name in (".new-1", ".gone-1", ".gone-2"):
        os.makedirs(f"{store.root}/{name}/_data/x")
    working = os.open(f"{store.root}/.gone-2", os.O_RDONLY)
    fcntl.flock(working, fcntl.LOCK_EX)
    assert sorted(store.leftovers()) == [f"{store.root}/.gone-1", f"{store.root}/.new-1"]
    remove(store, "none")
    assert sorted(os.listdir(store.root)) == [".gone-2", "some"]
    os.close(working)
    store.tidy()
    assert sorted(os.listdir(store.root)) == ["some"]
