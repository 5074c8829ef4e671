"""A tar into a root file system: what it may replace, and that no link leads outside."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.archive.extract import extract
from mydocker.archive.stream import Stream
from support import archives
from support.archives import Member, directory, hardlink, symlink

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "root"
    (place / "dst").mkdir(parents=True)
    return place


def put(members: Sequence[Member], root: Path, place: str = "dst", *, owners: bool = True) -> None:
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    before = len(os.listdir("/proc/self/fd"))
    try:
        archive = archives.layer(members)
        extract(Stream(iter([archive])), descriptor, place.encode(), "the archive", owners=owners)
    finally:
        os.close(descriptor)
        assert len(os.listdir("/proc/self/fd")) == before - 1


def test_files_and_directories(root: Path) -> None:
    put([directory("d"), Member("d/f", b"text"), symlink("d/l", "f"), hardlink("d/h", "d/f")], root)
    assert (root / "dst/d/f").read_text() == "text"
    assert os.readlink(root / "dst/d/l") == "f"
    assert os.stat(root / "dst/d/h").st_ino == os.stat(root / "dst/d/f").st_ino


def test_names_of_whiteouts_are_names_like_others(root: Path) -> None:
    put([Member(".wh.x", b"1"), Member(".wh..wh..opq", b"2")], root)
    assert sorted(os.listdir(root / "dst")) == [".wh..wh..opq", ".wh.x"]


def test_a_leading_slash_counts_for_nothing(root: Path) -> None:
    put([Member("/etc/f", b"1")], root)
    assert (root / "dst/etc/f").read_bytes() == b"1"


def test_what_is_replaced(root: Path) -> None:
    (root / "dst/f").write_text("old")
    os.symlink("f", root / "dst/l")
    (root / "dst/d").mkdir()
    (root / "dst/d/kept").write_text("kept")
    put([Member("f", b"new"), Member("l", b"file"), directory("d"), Member("d/more", b"")], root)
    assert (root / "dst/f").read_text() == "new"
    assert stat.S_ISREG(os.lstat(root / "dst/l").st_mode)
    assert sorted(os.listdir(root / "dst/d")) == ["kept", "more"]


@pytest.mark.parametrize(
    ("there", "member", "message"),
    [
        ("directory", Member("x", b""), 'cannot overwrite directory "/dst/x" with non-directory'),
        ("file", directory("x"), 'cannot overwrite non-directory "/dst/x" with directory'),
        ("link", directory("x"), 'cannot overwrite non-directory "/dst/x" with directory'),
    ],
)
def test_what_is_not_replaced(root: Path, there: str, member: Member, message: str) -> None:
    place = root / "dst/x"
    if there == "directory":
        place.mkdir()
    elif there == "file":
        place.write_text("old")
    else:
        place.symlink_to(".")
    with pytest.raises(errors.Conflict, match=f"^{message}$"):
        put([member], root)
    assert os.path.lexists(place)


def test_the_directory_itself_stays_as_it_is(root: Path) -> None:
    os.chmod(root / "dst", 0o711)
    put([directory("./", mode=0o777), Member("f", b"")], root)
    assert stat.S_IMODE(os.stat(root / "dst").st_mode) == 0o711


def test_links_are_followed_inside_of_the_root(root: Path) -> None:
    """An absolute link is absolute in the container, as for every process in it."""
    (root / "real").mkdir()
    os.symlink("/real", root / "dst/link")
    put([Member("link/f", b"1")], root)
    assert (root / "real/f").read_bytes() == b"1"


def test_the_way_to_the_directory_may_be_a_link(root: Path) -> None:
    os.symlink("/dst", root / "way")
    put([Member("f", b"1")], root, "way")
    assert (root / "dst/f").read_bytes() == b"1"


@pytest.mark.parametrize("target", ["/outside", "../../outside", "../../../../../outside"])
def test_no_link_leads_outside(root: Path, tmp_path: Path, target: str) -> None:
    """The host's directory of that name is not reached: in the root there is none, or its own."""
    (tmp_path / "outside").mkdir()
    with pytest.raises(errors.Error):
        put([symlink("l", target), Member("l/f", b"")], root)
    assert os.listdir(tmp_path / "outside") == []
    (root / "outside").mkdir()
    put([Member("l/f", b"1")], root)
    assert (root / "outside/f").read_bytes() == b"1"
    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize("name", ["../f", "a/../../f", ".."])
def test_names_that_go_up_are_refused(root: Path, name: str) -> None:
    with pytest.raises(errors.HostileArchive, match=r"has '\.\.' in it"):
        put([Member(name, b"")], root)
    assert os.listdir(root) == ["dst"]


def test_owners(root: Path) -> None:
    put([Member("theirs", b"", owner=(1234, 5678)), directory("d", owner=(7, 8))], root)
    put([Member("ours", b"", owner=(1234, 5678)), directory("e", owner=(7, 8))], root, owners=False)
    found = {name: os.stat(root / "dst" / name) for name in ("theirs", "d", "ours", "e")}
    me = (os.getuid(), os.getgid())
    expected = {"theirs": (1234, 5678), "d": (7, 8), "ours": me, "e": me}
    assert {name: (one.st_uid, one.st_gid) for name, one in found.items()} == expected


def test_an_archive_that_is_cut_short(root: Path) -> None:
    archive = archives.layer([Member("f", b"x" * 2000)])[:1000]
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(errors.CorruptData, match="truncated"):
            extract(Stream(iter([archive])), descriptor, b"dst", "the archive", owners=True)
    finally:
        os.close(descriptor)
