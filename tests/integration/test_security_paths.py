"""A path in a container is never looked up by the host (CVE-2021-30465, and all others of its kind).

The image, and whoever shares a volume, can put a symbolic link at every place on the way to a mount, a
device, a working directory. Followed by the host it leads to the host's files; followed inside it is the
container's own business. In each test ``outside`` is a directory of the host that exists at the same path in
the container, or nowhere, and that has to stay as it was.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Runner

RENAME_EXCHANGE, AT_FDCWD = 2, -100


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host with one file; the test fails if anything about it changes."""
    directory = tmp_path / "outside"
    directory.mkdir()
    (directory / "secret").write_text("the host's\n")
    before = picture(directory)
    yield directory
    assert picture(directory) == before


def picture(directory: Path) -> list[tuple[str, int, int]]:
    return [
        (str(p), p.lstat().st_mode, p.lstat().st_mtime_ns) for p in (directory, *sorted(directory.rglob("*")))
    ]


@pytest.fixture
def root(busybox_rootfs: str, tmp_path: Path, outside: Path) -> Path:
    """A busybox system with links that lead to ``outside``, one absolute and one by way of many dots."""
    copy = tmp_path / "root"
    subprocess.run(["cp", "-a", busybox_rootfs, copy], check=True)
    (copy / "absolute").symlink_to(outside)
    (copy / "dots").symlink_to("../" * 30 + str(outside).lstrip("/"))
    return copy


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    directory = tmp_path / "volume"
    directory.mkdir()
    (directory / "marker").write_text("mine\n")
    return directory


@pytest.mark.parametrize("link", ["absolute", "dots"])
@pytest.mark.both_ways
def test_a_mount_below_a_link(mydocker: Runner, root: Path, outside: Path, volume: Path, link: str) -> None:
    flags = ["-v", f"{volume}:/{link}/a/b", "--tmpfs", f"/{link}/t", "--mount", f"type=tmpfs,dst=/{link}/u"]
    script = f"cat /{link}/a/b/marker {outside}/a/b/marker; grep -c ' {outside}/[tu] tmpfs' /proc/mounts"
    assert mydocker("run", "--rm", *flags, "--rootfs", str(root), "sh", "-c", script).out == "mine\nmine\n2\n"


@pytest.mark.parametrize("link", ["absolute", "dots"])
def test_a_file_mounted_below_a_link(mydocker: Runner, root: Path, volume: Path, link: str) -> None:
    mount = f"{volume}/marker:/{link}/secret"
    assert (
        mydocker("run", "--rm", "-v", mount, "--rootfs", str(root), "cat", f"/{link}/secret").out == "mine\n"
    )


@pytest.mark.parametrize("link", ["absolute", "dots"])
def test_a_device_and_a_directory_below_a_link(
    mydocker: Runner, root: Path, outside: Path, link: str
) -> None:
    flags = ["--device", f"/dev/null:/{link}/device", "-w", f"/{link}/work"]
    script = f"pwd -P; test -c {outside}/device"
    out = mydocker("run", "--rm", *flags, "--rootfs", str(root), "sh", "-c", script).line
    assert out == f"{outside}/work"


def test_a_working_directory_for_exec(mydocker: Runner, root: Path, outside: Path) -> None:
    container = mydocker("run", "-d", "--rootfs", str(root), "sleep", "1000").line
    for link in ("absolute", "dots"):
        result = mydocker("exec", "-w", f"/{link}/new/one", container, "pwd", "-P", check=False)
        assert result.code != 0 or result.line == f"{outside}/new/one"


@pytest.mark.both_ways
def test_the_files_that_the_engine_mounts(
    mydocker: Runner, root: Path, outside: Path, tmp_path: Path
) -> None:
    """/etc/hosts and its like, and the directories of the usual mounts, in an image where all are links."""
    for name in ("etc", "dev", "sys", "tmp", "run"):
        place = root / name
        if place.is_dir():
            subprocess.run(["mv", str(place), str(root / f"real-{name}")], check=True)
        place.symlink_to(outside)
    archive = tmp_path / "links.tar"
    with tarfile.open(archive, "w") as tar:
        for entry in sorted(os.listdir(root)):
            tar.add(root / entry, arcname=entry)
    mydocker("import", str(archive), "links:test")
    try:
        result = mydocker("run", "--rm", "-h", "inside", "links:test", "hostname", check=False)
        assert result.code == 0 or result.code == 125, result
        assert result.code or result.line == "inside"
    finally:
        mydocker("rmi", "links:test")


def test_proc_behind_a_link(mydocker: Runner, root: Path, outside: Path) -> None:
    """procfs is mounted on a directory of the engine's own, or not at all."""
    (root / "proc").rmdir()
    (root / "proc").symlink_to(outside)
    script = "readlink /proc/self; test -d /proc/1 && test ! -h /proc && echo real"
    result = mydocker("run", "--rm", "--rootfs", str(root), "sh", "-c", script, check=False)
    assert result.code == 125 or result.out.endswith("real\n")


def exchange(one: Path, two: Path, stop: threading.Event) -> None:
    libc = ctypes.CDLL(None)
    first, second = os.fsencode(one), os.fsencode(two)
    while not stop.is_set():
        libc.renameat2(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE)


def test_a_link_that_comes_and_goes(
    mydocker: Runner, image: str, outside: Path, volume: Path, tmp_path: Path
) -> None:
    """The race as published: who shares a volume exchanges a directory on the way to a mount with a link.

    Wherever the mount ends up, or whether it is refused, nothing is made outside.
    """
    shared = tmp_path / "shared"
    (shared / "way").mkdir(parents=True)
    (shared / "link").symlink_to(outside)
    stop = threading.Event()
    thread = threading.Thread(target=exchange, args=(shared / "way", shared / "link", stop))
    thread.start()
    codes = []
    try:
        for turn in range(40):
            flags = [
                "-v",
                f"{shared}:/v",
                "-v",
                f"{volume}:/v/way/deep{turn}/er",
                "--tmpfs",
                f"/v/way/t{turn}",
            ]
            result = mydocker("run", "--rm", *flags, image, "cat", "/proc/mounts", check=False)
            codes.append(result.code)
            places = [line.split()[1] for line in result.out.splitlines()]
            assert all(place.startswith("/") and "deleted" not in place for place in places)
    finally:
        stop.set()
        thread.join()
    assert set(codes) <= {0, 125}
    assert 0 in codes
