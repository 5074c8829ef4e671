"""The init layer and the read-write layer, under a real overlay mount."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.snapshot.overlay import OverlaySnapshotter
from mydocker.snapshot.snapshotter import Snapshotter, Stack
from support import command, tree

pytestmark = pytest.mark.root

MTIME = 1_234_567_890_987_654_321


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    path = tmp_path / "layer"
    path.mkdir()
    return path


@pytest.fixture
def container(tmp_path: Path) -> Path:
    path = tmp_path / "container"
    path.mkdir()
    return path


@pytest.fixture
def snapshotter() -> Snapshotter:
    return OverlaySnapshotter()


@contextmanager
def mounted(stack: Stack) -> Iterator[Path]:
    merged = Path(stack.upper).parent / "merged"
    merged.mkdir()
    options = f"lowerdir={':'.join(stack.lowers)},upperdir={stack.upper},workdir={stack.work}"
    command.run(["mount", "-t", "overlay", "-o", options, "none", str(merged)])
    try:
        yield merged
    finally:
        command.run(["umount", str(merged)])


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_targets_in_an_empty_image(
    snapshotter: Snapshotter, layer: Path, container: Path, umask: int
) -> None:
    """They are for all users of the container, whatever the umask of who makes it."""
    before = os.umask(umask)
    try:
        stack = snapshotter.prepare(str(container), [str(layer)])
    finally:
        os.umask(before)
    assert stack.lowers == (str(container / "init"), str(layer))
    with mounted(stack) as root:
        found = tree.from_directory(str(root))
    kinds = {name: entry.kind for name, entry in found.items()}
    assert kinds == {
        **dict.fromkeys(["dev", "dev/pts", "dev/shm", "proc", "sys", "etc"], "directory"),
        **dict.fromkeys(
            [".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/resolv.conf"], "file"
        ),
        "etc/mtab": "symlink",
    }
    assert {entry.mode for entry in found.values() if entry.kind != "symlink"} == {0o755}
    assert os.listdir(layer) == []
    assert os.listdir(stack.upper) == []


def test_what_the_image_has_keeps_its_looks(snapshotter: Snapshotter, layer: Path, container: Path) -> None:
    os.chmod(layer, 0o751)
    for name in ("dev", "etc", "proc", "sys", "dev/pts"):
        (layer / name).mkdir()
        os.chown(layer / name, 12, 34)
        os.chmod(layer / name, 0o2711)
        os.setxattr(layer / name, "user.color", b"green")
    (layer / "etc/hosts").write_text("the image's\n")
    (layer / "etc/mtab").write_text("a file")
    for name in ("etc", "dev", "."):
        os.utime(layer / name, ns=(0, MTIME))
    with mounted(snapshotter.prepare(str(container), [str(layer)])) as root:
        for name in ("dev", "etc", "proc", "sys", "dev/pts"):
            status = os.stat(root / name)
            assert stat.S_IMODE(status.st_mode) == 0o2711, name
            assert (status.st_uid, status.st_gid) == (12, 34), name
            assert os.getxattr(root / name, "user.color") == b"green", name
        for name in ("etc", "dev", "."):
            assert os.stat(root / name).st_mtime_ns == MTIME, name
        assert stat.S_IMODE(os.stat(root).st_mode) == 0o751
        assert (root / "etc/hosts").read_text() == "the image's\n"
        assert (root / "etc/mtab").read_text() == "a file"
    init = {str(path.relative_to(container / "init")) for path in (container / "init").rglob("*")}
    assert init == {"dev", "dev/shm", "dev/console", "etc", "etc/hostname", "etc/resolv.conf", ".dockerenv"}


def test_links_in_the_way_of_targets(snapshotter: Snapshotter, layer: Path, container: Path) -> None:
    (layer / "etc").mkdir()
    os.symlink("../run/systemd/resolve/stub-resolv.conf", layer / "etc/resolv.conf")
    os.symlink("/nowhere", layer / "proc")
    (layer / "dev").write_text("a file")
    with mounted(snapshotter.prepare(str(container), [str(layer)])) as root:
        assert stat.S_ISREG(os.lstat(root / "etc/resolv.conf").st_mode)
        assert stat.S_ISDIR(os.lstat(root / "proc").st_mode)
        assert stat.S_ISDIR(os.lstat(root / "dev/shm").st_mode)


def test_layers_below_are_seen(snapshotter: Snapshotter, tmp_path: Path, container: Path) -> None:
    lowers = [tmp_path / name for name in ("top", "middle", "bottom")]
    for lower in lowers:
        (lower / "etc").mkdir(parents=True)
        os.mknod(lower / "unrelated", stat.S_IFREG | 0o644)
    for name in ("hosts", "hostname", "resolv.conf"):
        (lowers[2] / "etc" / name).write_text("bottom")
    os.mknod(lowers[1] / "etc/hosts", stat.S_IFCHR, os.makedev(0, 0))
    os.chmod(lowers[0] / "etc", 0o700)
    with mounted(snapshotter.prepare(str(container), list(map(str, lowers)))) as root:
        assert (root / "etc/hosts").read_text() == "", "deleted in the middle, so the init layer has it"
        assert (root / "etc/hostname").read_text() == "bottom"
        assert stat.S_IMODE(os.stat(root / "etc").st_mode) == 0o700
    assert sorted(os.listdir(container / "init/etc")) == ["hosts", "mtab"]


def test_the_same_stack_again(snapshotter: Snapshotter, layer: Path, container: Path) -> None:
    first = snapshotter.prepare(str(container), [str(layer)])
    with mounted(first) as root:
        (root / "written").write_text("x")
    assert snapshotter.stack(str(container), [str(layer)]) == first
    assert os.listdir(first.upper) == ["written"]


def test_the_container_below_its_own_root(snapshotter: Snapshotter, layer: Path) -> None:
    """``--rootfs /``: overlayfs takes no lower directory that is below another."""
    container = layer / "var/lib/container"
    container.mkdir(parents=True)
    stack = snapshotter.prepare(str(container), [str(layer)])
    assert stack.lowers == (str(layer),)
    with mounted(stack) as root:
        assert (root / "etc/hosts").is_file()
        (root / "var/lib/new").write_text("x")
    assert not (layer / "etc").exists()
    assert not (layer / "var/lib/new").exists()
    assert snapshotter.stack(str(container), [str(layer)]) == stack


def test_no_layers(snapshotter: Snapshotter, container: Path) -> None:
    with pytest.raises(errors.InvalidArgument, match="at least one layer"):
        snapshotter.prepare(str(container), [])
    assert os.listdir(container) == []


def test_a_missing_root_directory(snapshotter: Snapshotter, container: Path) -> None:
    with pytest.raises(errors.NotFound, match="/no/such/root"):
        snapshotter.prepare(str(container), ["/no/such/root"])
    assert os.listdir(container) == []


def test_remove(snapshotter: Snapshotter, layer: Path, container: Path) -> None:
    """After a mount, rw/work has a directory of mode 000, and the container may have left anything."""
    stack = snapshotter.prepare(str(container), [str(layer)])
    with mounted(stack) as root:
        (root / "etc/hosts").unlink()
        (root / "closed").mkdir(mode=0)
        for number in range(50):
            (root / f"{number}").write_text("x")
            (root / os.fsdecode(b"\xff%d" % number)).symlink_to("/etc")
        (root / "etc/append").write_text("x")
        (root / "immutable").mkdir()
        (root / "immutable/inside").write_text("x")
    command.run(["chattr", "+a", f"{stack.upper}/etc/append"])
    command.run(["chattr", "-R", "+i", f"{stack.upper}/immutable"])
    snapshotter.remove(str(container))
    assert not (container / "init").exists()
    assert sorted(os.listdir(container)) == []
    snapshotter.remove(str(container))
