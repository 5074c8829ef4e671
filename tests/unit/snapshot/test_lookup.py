"""What the lookup finds in a stack of layers is what overlayfs shows of it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mydocker import errors
from mydocker.snapshot import lookup
from support import command

pytestmark = pytest.mark.root

Change = tuple[str, str]
names = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
changes = st.tuples(names, st.sampled_from(["file", "directory", "opaque", "whiteout", "link"]))


@contextmanager
def mounted(lowers: list[str], place: Path) -> Iterator[Path]:
    for name in ("upper", "work", "merged"):
        (place / name).mkdir()
    options = f"lowerdir={':'.join(lowers)},upperdir={place}/upper,workdir={place}/work"
    command.run(["mount", "-t", "overlay", "-o", options, "none", str(place / "merged")])
    try:
        yield place / "merged"
    finally:
        command.run(["umount", str(place / "merged")])


def make(layer: Path, listed: list[Change], number: int) -> None:
    """Put ``listed`` into a layer; what has no place in it any more is left out."""
    layer.mkdir()
    for name, kind in listed:
        path = layer / name
        parent = path.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            continue
        if os.path.lexists(path):
            continue
        if kind == "file":
            path.write_text(f"{number}")
        elif kind == "link":
            path.symlink_to(f"/{number}")
        elif kind == "whiteout":
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        else:
            path.mkdir(mode=0o700 + number)
            if kind == "opaque":
                os.setxattr(path, "trusted.overlay.opaque", b"y")


def shown(found: lookup.Found) -> dict[str, tuple[int, str]]:
    tree: dict[str, tuple[int, str]] = {}
    for name, one in lookup.children(found).items():
        content = ""
        if stat.S_ISLNK(one.status.st_mode):
            content = os.readlink(one.path)
        elif one.is_regular:
            content = Path(one.path).read_text()
        tree[name] = (one.status.st_mode, content)
        if one.is_directory:
            tree |= {f"{name}/{below}": what for below, what in shown(one).items()}
    return tree


def real(top: Path) -> dict[str, tuple[int, str]]:
    tree = {}
    for place, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(place, name)
            if not os.path.lexists(path):
                continue  # a whiteout in a directory that one layer has: in the list, but not there
            mode = os.lstat(path).st_mode
            content = os.readlink(path) if stat.S_ISLNK(mode) else ""
            if stat.S_ISREG(mode):
                content = Path(path).read_text()
            tree[os.path.relpath(path, top)] = (mode, content)
    return tree


@given(layers=st.lists(st.lists(changes, max_size=8), min_size=2, max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_the_same_as_overlayfs(tmp_path: Path, layers: list[list[Change]]) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    for number, listed in enumerate(layers):
        make(tmp_path / f"layer{number}", listed, number)
    lowers = [str(tmp_path / f"layer{number}") for number in range(len(layers))]
    with mounted(lowers, tmp_path) as merged:
        assert shown(lookup.top(lowers)) == real(merged)


@pytest.fixture
def stack(tmp_path: Path) -> list[str]:
    make(tmp_path / "upper-layer", [("run/lock", "directory"), ("etc", "opaque")], 1)
    make(tmp_path / "lower-layer", [("etc/old", "file"), ("run/x", "file"), ("file", "file")], 0)
    (tmp_path / "lower-layer/var").mkdir()
    for name, target in {
        "var/run": "/run",
        "var/relative": "../run/lock",
        "var/up": "../../../../../run",
        "loop": "loop",
        "dangling": "/nowhere",
        "chain": "var/run/../run",
    }.items():
        os.symlink(target, tmp_path / "lower-layer" / name)
    return [str(tmp_path / "upper-layer"), str(tmp_path / "lower-layer")]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "upper-layer"),
        ("/run", "upper-layer/run"),
        ("/run/x", "lower-layer/run/x"),
        ("/var/run/lock", "upper-layer/run/lock"),
        ("/var/relative", "upper-layer/run/lock"),
        ("/var/up", "upper-layer/run"),
        ("/chain", "upper-layer/run"),
        ("/../../run/./lock/..", "upper-layer/run"),
        ("/etc/old", None),
        ("/dangling", None),
        ("/file/x", None),
        ("/nothing/at/all", None),
    ],
)
def test_resolve(tmp_path: Path, stack: list[str], path: str, expected: str | None) -> None:
    found = lookup.resolve(stack, path)
    assert (found and found.path) == (expected and str(tmp_path / expected))


def test_has(stack: list[str]) -> None:
    assert lookup.has(stack, "/run/lock")
    assert lookup.has(stack, "run/x")
    assert lookup.has(stack, "/")
    assert not lookup.has(stack, "/var/run/lock")
    assert not lookup.has(stack, "/etc/old")
    assert not lookup.has(stack, "/file/x")


def test_loop(stack: list[str]) -> None:
    with pytest.raises(errors.InvalidArgument, match="/loop: too many levels of symbolic links"):
        lookup.resolve(stack, "/loop")
