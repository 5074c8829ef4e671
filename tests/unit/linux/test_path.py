"""Lookups that end inside of a root, whatever links are on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mydocker.linux import path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    directory = tmp_path / "outside"
    directory.mkdir()
    return directory


@pytest.fixture
def base(tmp_path: Path, outside: Path) -> Path:
    directory = tmp_path / "root"
    (directory / "real" / "sub").mkdir(parents=True)
    (directory / "file").write_text("x")
    for name, target in {
        "to-real": "real",
        "absolute": str(outside),
        "dots": "../../../../../outside",
        "dangling": "/made/by/link",
        "chain": "dangling",
        "up": "real/sub/../../other",
        "loop": "loop",
        "to-file": "file",
        "new-file": "real/../files/one",
    }.items():
        (directory / name).symlink_to(target)
    return directory


@pytest.fixture
def root(base: Path) -> Iterator[int]:
    descriptor = os.open(base, os.O_PATH | os.O_DIRECTORY)
    open_before = len(os.listdir("/proc/self/fd"))
    yield descriptor
    assert len(os.listdir("/proc/self/fd")) == open_before, "a descriptor was left open"
    os.close(descriptor)


def where(descriptor: int) -> str:
    name = path.path_of(descriptor)
    os.close(descriptor)
    return name


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/", ""),
        ("/real/sub", "/real/sub"),
        ("new/one/two", "/new/one/two"),
        ("/to-real/x", "/real/x"),
        ("/real/../../../new", "/new"),
        ("/dangling", "/made/by/link"),
        ("/dangling/x", "/made/by/link/x"),
        ("/chain/x/../y", "/made/by/link/y"),
        ("/up/x", "/other/x"),
        ("/./real//sub/", "/real/sub"),
    ],
)
def test_directories(base: Path, root: int, name: str, place: str) -> None:
    assert where(path.make_directory_in_root(root, name)) == f"{base}{place}"
    assert where(path.make_directory_in_root(root, name)) == f"{base}{place}"


@pytest.mark.parametrize("name", ["absolute", "dots", "absolute/x/y", "dots/../../x"])
def test_nothing_is_made_outside(base: Path, outside: Path, root: int, name: str) -> None:
    assert where(path.make_directory_in_root(root, name)).startswith(str(base))
    assert where(path.make_file_in_root(root, f"{name}/file")).startswith(str(base))
    assert list(outside.iterdir()) == []
    assert sorted(entry.name for entry in base.parent.iterdir()) == ["outside", "root"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/file", "/file"),
        ("/to-file", "/file"),
        ("/new-file", "/files/one"),
        ("/dangling", "/made/by/link"),
        ("/chain", "/made/by/link"),
        ("/a/b/c", "/a/b/c"),
    ],
)
def test_files(base: Path, root: int, name: str, place: str) -> None:
    assert where(path.make_file_in_root(root, name)) == f"{base}{place}"
    assert (base / place.lstrip("/")).is_file()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("/file/x", errno.ENOTDIR),
        ("/to-file/x", errno.ENOTDIR),
        ("/loop/x", errno.ELOOP),
        ("/file", errno.ENOTDIR),
    ],
)
def test_errors(root: int, name: str, code: int) -> None:
    with pytest.raises(OSError, match=name.strip("/")) as caught:
        path.make_directory_in_root(root, name)
    assert caught.value.errno == code


def test_a_loop_of_dangling_links(base: Path, root: int) -> None:
    (base / "one").symlink_to("two/x")
    (base / "two").symlink_to("one/y")
    for make in (path.make_directory_in_root, path.make_file_in_root):
        with pytest.raises(OSError, match="Too many levels") as caught:
            make(root, "/one")
        assert caught.value.errno == errno.ELOOP


def test_magic_links_of_proc_are_refused() -> None:
    root = os.open("/", os.O_PATH)
    try:
        for name in ("/proc/self/root", "/proc/self/cwd/x", "/proc/self/fd/0"):
            with pytest.raises(OSError, match="Too many levels"):
                path.make_directory_in_root(root, name)
    finally:
        os.close(root)
