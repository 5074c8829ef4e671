"""What a tree takes, beside what du(1) says."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mydocker.linux.tree import remove_tree
from mydocker.snapshot.usage import _everything, contents, usage
from support import command, deep


def test_as_du(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/file").write_bytes(b"x" * 100_000)
    os.link(tmp_path / "a/file", tmp_path / "a/b/again")
    os.symlink("/etc", tmp_path / "a/b/link")
    with open(tmp_path / "a/sparse", "wb") as file:
        file.truncate(50 << 20)
    os.sync()
    du = int(command.run(["du", "--summarize", "--block-size=1", str(tmp_path)]).out.split()[0])
    assert usage(str(tmp_path)) == du
    assert contents(str(tmp_path)) == 100_000 + (50 << 20) + len("/etc")


def test_however_deep(tmp_path: Path) -> None:
    top = str(tmp_path / "top")
    with deep.nested(tmp_path / "top", 1500, "d" * 200), deep.few_descriptors():
        assert usage(top) == int(command.run(["du", "--summarize", "--block-size=1", top]).out.split()[0])
        remove_tree(top)
        assert os.listdir(tmp_path) == []


def test_what_is_moved_away(tmp_path: Path) -> None:
    """While it is counted, from so deep that the way back is not open any more."""
    counted = 0
    with deep.nested(tmp_path / "top", 100, "d"):
        way = tmp_path / "top" / "/".join("d" * 90)
        (way / "file").touch()
        for status in _everything(str(tmp_path / "top")):
            counted += 1
            if stat.S_ISREG(status.st_mode):
                os.rename(tmp_path / "top/d/d/d", tmp_path / "away")
    assert counted == 1 + 100 + 1


def test_one_file_and_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5000)
    assert usage(str(path)) >= 5000
    assert contents(str(path)) == 5000
    assert usage(str(tmp_path / "missing")) == 0
