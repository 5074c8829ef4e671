"""Copies of a volume's files, and blocks that they share where the file system can."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mydocker.linux.tree import remove_tree
from mydocker.snapshot.copy import Target
from mydocker.volume.clone import clone
from support import command, deep, probe, tree

pytestmark = pytest.mark.root


def copy(source: Path, target: Path) -> None:
    target.mkdir()
    reading, writing = (os.open(each, os.O_PATH | os.O_DIRECTORY) for each in (source, target))
    try:
        clone(reading, writing)
    finally:
        os.close(reading)
        os.close(writing)


def make(source: Path) -> None:
    """One of everything, and names that are not text."""
    (source / "d/e").mkdir(parents=True)
    (source / "d/file").write_bytes(b"x" * 100_000)
    os.link(source / "d/file", source / "hard")
    os.link(source / "d/file", source / "d/e/hard")
    os.symlink("nowhere", source / "soft")
    os.mkfifo(source / "fifo", 0o640)
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(source / "white", stat.S_IFCHR, os.makedev(0, 0))
    Path(os.fsdecode(os.fsencode(source) + b"/\xff\xfe")).touch()
    with open(source / "sparse", "wb") as file:
        file.seek(10 << 20)
        file.write(b"middle")
        file.truncate(30 << 20)
    os.setxattr(source / "d/file", "user.color", b"green")
    os.setxattr(source / "d", "trusted.overlay.opaque", b"y")
    os.chown(source / "d", 1000, 1001)
    os.chmod(source / "d", 0o2751)
    os.lchown(source / "soft", 5, 6)
    os.chmod(source, 0o1770)
    for name in ("d/file", "d/e", "d", "fifo", "soft"):
        os.utime(source / name, ns=(0, 1_234_567_890_123_456_789), follow_symlinks=False)


def test_everything_comes_along(tmp_path: Path) -> None:
    make(tmp_path)
    target = tmp_path.parent / "target"
    copy(tmp_path, target)
    assert tree.from_directory(str(target)) == tree.from_directory(str(tmp_path))
    assert os.getxattr(target / "d", "trusted.overlay.opaque") == b"y"
    assert stat.S_IMODE(target.stat().st_mode) == 0o1770
    assert (target / "sparse").stat().st_blocks < 100
    assert len({(target / name).stat().st_ino for name in ("hard", "d/file", "d/e/hard")}) == 1


def test_however_deep(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with deep.nested(source, 2000), deep.few_descriptors():
        copy(source, target)
        assert deep.depth(target) == 2000
        remove_tree(str(source))
        remove_tree(str(target))
    assert os.listdir(tmp_path) == []


def test_names_too_deep_for_a_path(tmp_path: Path) -> None:
    """The second is another file then: nobody can name the first."""
    source, target = tmp_path / "source", tmp_path / "target"
    with deep.nested(source, 300):
        deep.link_at_the_bottom(source)
        copy(source, target)
        assert deep.at_the_bottom(target) == ["one", "two"]


def test_a_file_that_becomes_shorter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    (source / "log").write_bytes(b"x" * (2 << 20))
    copy_range = os.copy_file_range

    def rotated(reading: int, writing: int, count: int, at: int, to: int) -> int:
        copied = copy_range(reading, writing, count // 2, at, to)
        os.truncate(source / "log", 1 << 20)
        return copied

    monkeypatch.setattr(os, "copy_file_range", rotated)
    copy(source, target)
    assert (target / "log").read_bytes() == b"x" * (1 << 20)


def test_a_name_whose_first_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of three names vanishes before it is copied: the others are there all the same."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("one", "two", "three"):
        (source / name).touch() if name == "one" else os.link(source / "one", source / name)
    add = Target.add
    gone: list[str] = []

    def vanishing(made: Target, name: str, path: str, status: os.stat_result) -> None:
        if not gone:
            gone.append(name)
            (source / name).unlink()
        add(made, name, path, status)

    monkeypatch.setattr(Target, "add", vanishing)
    copy(source, target)
    left = {"one", "two", "three"} - {*gone}
    assert {*os.listdir(target)} == left
    assert len({(target / name).stat().st_ino for name in left}) == 1


def test_from_one_file_system_to_another(tmp_path: Path) -> None:
    """The kernel copies between files of one kind of file system alone."""
    place = tmp_path / "memory"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        source = tmp_path / "source"
        source.mkdir()
        make(source)
        copy(source, place / "target")
        assert tree.from_directory(str(place / "target")) == tree.from_directory(str(source))
        assert (place / "target/sparse").stat().st_blocks < 100
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    missing = probe.missing_programs("mkfs.xfs", "filefrag", "mount")
    if missing:
        pytest.skip(missing)
    disk, place = tmp_path / "disk", tmp_path / "mounted"
    with open(disk, "wb") as file:
        file.truncate(320 << 20)
    command.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(disk)])
    place.mkdir()
    done = subprocess.run(["mount", "-o", "loop", disk, place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop mounts of XFS here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_blocks_are_shared(xfs: Path) -> None:
    source, target = xfs / "source", xfs / "target"
    source.mkdir()
    (source / "big").write_bytes(os.urandom(8 << 20))
    with open(source / "sparse", "wb") as file:
        file.truncate(1 << 30)
    os.sync()
    before = os.statvfs(xfs).f_bfree
    copy(source, target)
    os.sync()
    taken = (before - os.statvfs(xfs).f_bfree) * os.statvfs(xfs).f_bsize
    assert taken < 1 << 20
    assert "shared" in command.run(["filefrag", "-v", str(target / "big")]).out
    with open(target / "big", "r+b") as file:
        file.write(b"changed")
    assert (source / "big").read_bytes()[:7] != b"changed"
    assert (target / "sparse").stat().st_size == 1 << 30
