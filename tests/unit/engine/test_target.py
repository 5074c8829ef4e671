"""The file of ``--output`` appears when it is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mydocker.content import files
from mydocker.engine.target import opened
from mydocker.errors import InvalidArgument


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_new_file(tmp_path: Path, unnamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without files that have no name: a killed command leaves nothing, or something hidden."""
    if not unnamed:
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)
    path = tmp_path / "new"
    with opened(str(path)) as descriptor:
        assert len(os.listdir(tmp_path)) == (0 if unnamed else 1)
        files.write_all(descriptor, b"whole")
    assert path.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["new"]


def test_an_error_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    target = opened(str(path))
    files.write_all(target.__enter__(), b"half")
    assert target.__exit__(ZeroDivisionError, ZeroDivisionError(), None) is not True
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["old"]


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    os.symlink("real", tmp_path / "link")
    with opened(str(tmp_path / "link")) as descriptor:
        files.write_all(descriptor, b"new")
    assert os.readlink(tmp_path / "link") == "real"
    assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("path", ["no/such/directory", ".", "fifo"])
def test_where_no_file_can_be(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InvalidArgument, match="invalid output path"), opened(str(tmp_path / path)):
        pass
    assert os.listdir(tmp_path) == ["fifo"]


def test_large_pieces_and_a_small_end(tmp_path: Path) -> None:
    """Written past the page cache for as long as the pieces are aligned."""
    import mmap

    piece = mmap.mmap(-1, 1 << 20)
    piece.write(os.urandom(1 << 20))
    path = tmp_path / "large"
    with opened(str(path)) as descriptor:
        for view in (memoryview(piece), memoryview(piece)[:1000], memoryview(piece)):
            files.write_all(descriptor, view)
    assert path.read_bytes() == piece[:] + piece[:1000] + piece[:]


def test_a_descriptor(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file, opened(file.fileno()) as descriptor:
        assert descriptor == file.fileno()
