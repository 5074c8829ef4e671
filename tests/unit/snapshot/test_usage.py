"""What a tree takes, beside what du(1) says."""

from __future__ import annotations

import os
from pathlib import Path

from mydocker.snapshot.usage import contents, usage
from support import command


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


def test_one_file_and_none(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5000)
    assert usage(str(path)) >= 5000
    assert contents(str(path)) == 5000
    assert usage(str(tmp_path / "missing")) == 0
