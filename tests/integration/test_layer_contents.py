"""What a layer can hold, from archive to container, where Docker's own archives cannot say it.

``docker save`` truncates times and drops most extended attributes, so ``tests/peers`` cannot see these.
"""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import archives, probe, tree
from support.archives import Member, directory
from support.command import Runner

NAME = "made/by-hand:1"
NANOSECONDS = 1_234_567_890_123_456_789


@pytest.fixture
def base(busybox_tar: str) -> bytes:
    return Path(busybox_tar).read_bytes()


@contextmanager
def root_of(runner: Runner, archive: str) -> Iterator[Path]:
    """Load, run, and give the root of the container as seen from outside."""
    runner("load", "--input", archive, timeout=120)
    container, pid = runner.start(NAME)
    yield Path(f"/proc/{pid}/root")
    runner("rm", "-f", container)
    runner("rmi", NAME)


def test_times_to_the_nanosecond_and_attributes(fresh: Runner, base: bytes, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind in (
            ("file", tarfile.REGTYPE),
            ("directory", tarfile.DIRTYPE),
            ("link", tarfile.SYMTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "nowhere" if kind == tarfile.SYMTYPE else ""
            info.pax_headers = {"mtime": "1234567890.123456789"}
            if kind != tarfile.SYMTYPE:
                info.pax_headers["SCHILY.xattr.user.color"] = "green"
                info.pax_headers["SCHILY.xattr.trusted.deep"] = "x" * 1000
            tar.addfile(info)
        for number in range(3):
            tar.addfile(tarfile.TarInfo(f"directory/{number}"))
    archive = archives.docker_archive(str(tmp_path / "a.tar"), [base, buffer.getvalue()])
    with root_of(fresh, archive) as root:
        for name in ("file", "directory", "link"):
            assert os.lstat(root / name).st_mtime_ns == NANOSECONDS, name
        for name in ("file", "directory"):
            assert os.getxattr(root / name, "user.color") == b"green"
            assert os.getxattr(root / name, "trusted.deep") == b"x" * 1000


def test_sparse_files(fresh: Runner, base: bytes, tmp_path: Path) -> None:
    """GNU tar's sparse formats: the bytes are right, and the holes are holes."""
    if reason := probe.missing_programs("tar"):
        pytest.skip(reason)
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "sparse", "wb") as handle:
        for number in range(30):  # more than the 4 regions of a header, so extension blocks are needed
            handle.seek(number << 20)
            handle.write(b"%04d" % number)
        handle.truncate(64 << 20)
    for options in (
        ["--format=gnu"],
        ["--format=pax", "--sparse-version=1.0"],
        ["--format=pax", "--sparse-version=0.1"],
    ):
        layer = subprocess.run(
            ["tar", *options, "--sparse", "-C", source, "-cf", "-", "sparse"], capture_output=True, check=True
        ).stdout
        assert len(layer) < 1 << 20
        archive = archives.docker_archive(str(tmp_path / "a.tar"), [base, layer])
        with root_of(fresh, archive) as root:
            assert (root / "sparse").read_bytes() == (source / "sparse").read_bytes()
            assert os.stat(root / "sparse").st_blocks * 512 < 4 << 20


def test_whiteouts(fresh: Runner, base: bytes, tmp_path: Path) -> None:
    first = archives.layer(
        [
            directory("kept"),
            Member("kept/one", b"1"),
            Member("kept/two", b"2"),
            directory("gone"),
            Member("gone/x", b"x"),
            directory("opaque"),
            Member("opaque/old", b"old"),
            directory("opaque/sub"),
            Member("opaque/sub/old", b"old"),
        ]
    )
    second = archives.layer(
        [
            Member("kept/.wh.one"),
            Member(".wh.gone"),
            directory("opaque"),
            Member("opaque/.wh..wh..opq"),
            Member("opaque/new", b"new"),
            Member(".wh.never-was-there"),
        ]
    )
    archive = archives.docker_archive(str(tmp_path / "a.tar"), [base, first, second])
    with root_of(fresh, archive) as root:
        found = tree.from_directory(str(root), skip=("dev", "proc", "sys", "bin", "etc"))
        names = {name for name in found if name.partition("/")[0] in ("kept", "gone", "opaque")}
        assert names == {"kept", "kept/two", "opaque", "opaque/new"}
        assert not any(".wh." in name for name in found)


def test_a_hundred_and_twenty_eight_layers(fresh: Runner, base: bytes, tmp_path: Path) -> None:
    layers = [base]
    layers += [
        archives.layer([Member(f"layer-{number}", b"x"), Member("last-writer", str(number).encode())])
        for number in range(1, 128)
    ]
    archive = archives.docker_archive(
        str(tmp_path / "a.tar"),
        [gzip.compress(each) for each in layers],
        diff_ids=[archives.digest(each) for each in layers],
    )
    fresh("load", "--input", archive, timeout=120)
    assert len(fresh.inspect(NAME)["RootFS"]["Layers"]) == 128
    assert fresh("run", "--rm", NAME, "cat", "/last-writer").line == "127"
    assert fresh("run", "--rm", NAME, "sh", "-c", "ls / | grep -c layer-").line == "127"


def test_layers_are_shared_and_removed(fresh: Runner, base: bytes, tmp_path: Path) -> None:
    for number in (1, 2):
        own = archives.layer([Member(f"own-{number}", b"x")])
        fresh(
            "load",
            "--input",
            archives.docker_archive(str(tmp_path / f"{number}.tar"), [base, own], name=f"shares:{number}"),
        )
    layers = Path(fresh.root, "layer")
    assert len([entry for entry in layers.iterdir() if len(entry.name) >= 64]) == 3
    fresh("rmi", "shares:1")
    assert len([entry for entry in layers.iterdir() if len(entry.name) >= 64]) == 2
    fresh("rmi", "shares:2")
    assert [entry for entry in layers.iterdir() if len(entry.name) >= 64] == []
