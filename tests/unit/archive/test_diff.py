"""A directory becomes a tar, and ``apply`` makes the same of it again; overlay marks become whiteouts."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mydocker import errors
from mydocker.archive import apply as applying
from mydocker.archive import tar
from mydocker.archive.diff import pack
from mydocker.archive.stream import Stream
from mydocker.archive.write import Writer
from support import deep, tree

pytestmark = pytest.mark.root


def packed(place: Path | str, **options: Any) -> bytes:
    pieces: list[bytes] = []
    writer = Writer(lambda piece: pieces.append(bytes(piece)), 4096)
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        pack(directory, writer, **{"whiteouts": True, **options})
    finally:
        os.close(directory)
    writer.finish()
    return b"".join(pieces)


def applied(archive: bytes, place: Path) -> Path:
    place.mkdir()
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        applying.apply(Stream(iter([archive])), directory, "the archive", want_end=True)
    finally:
        os.close(directory)
    return place


def entries(archive: bytes) -> dict[bytes, tar.Entry]:
    return {entry.name: entry for entry in tar.Reader(Stream(iter([archive])))}


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    place = tmp_path / "upper"
    place.mkdir()
    return place


def test_however_deep(tmp_path: Path) -> None:
    with deep.nested(tmp_path / "top", 1500, "d"), deep.few_descriptors():
        names = [entry.name for entry in tar.Reader(Stream(iter([packed(tmp_path / "top")])))]
    assert len(names) == 1500
    assert names[-1] == b"d/" * 1500


def test_there_and_back(upper: Path, tmp_path: Path) -> None:
    (upper / "a").write_bytes(b"a" * 100_000)
    (upper / "directory/deep").mkdir(parents=True)
    os.link(upper / "a", upper / "directory/deep/hard")
    os.symlink("../a", upper / "directory/link")
    os.mkfifo(upper / "fifo")
    os.mknod(upper / "device", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
    os.chmod(upper / "directory", 0o3751)
    os.setxattr(upper / "directory", "user.x", b"\0")
    os.setxattr(upper / "directory/link", "trusted.x", b"of the link", follow_symlinks=False)
    os.chown(upper / "directory/link", 5, 6, follow_symlinks=False)
    for number, place in enumerate(sorted(upper.rglob("*"), reverse=True)):
        os.utime(place, ns=(0, 10**9 * number + number), follow_symlinks=False)
    there = applied(packed(upper), tmp_path / "there")
    assert tree.difference(tree.from_directory(str(upper)), tree.from_directory(str(there))) == []
    assert packed(there) == packed(upper)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    st.dictionaries(
        st.lists(
            st.binary(min_size=1, max_size=255).filter(
                lambda n: not set(n) & set(b"/\0") and n not in (b".", b"..") and not n.startswith(b".wh.")
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
        st.binary(max_size=2000),
        max_size=6,
    )
)
def test_any_names(tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[bytes, ...], bytes]) -> None:
    top = tmp_path_factory.mktemp("any")
    upper = top / "upper"
    upper.mkdir()
    for names, data in files.items():
        place = os.path.join(os.fsencode(upper), *names)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with open(place, "xb") as file:
                file.write(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue  # one of the paths leads through another
    there = applied(packed(upper), top / "there")
    assert tree.difference(tree.from_directory(str(upper)), tree.from_directory(str(there))) == []


def test_names_come_in_the_order_of_their_bytes(upper: Path) -> None:
    for name in (b"b", b"a", b"a.b", b"\xff", b"A", b"a-dir"):
        os.close(os.open(os.path.join(os.fsencode(upper), name), os.O_CREAT | os.O_WRONLY))
    (upper / "aa").mkdir()
    (upper / "aa/z").touch()
    assert list(entries(packed(upper))) == [
        b"A", b"a", b"a-dir", b"a.b", b"aa/", b"aa/z", b"b", b"\xff",
    ]  # fmt: skip


def test_what_overlayfs_notes(upper: Path) -> None:
    os.mknod(upper / "gone", stat.S_IFCHR, os.makedev(0, 0))
    os.link(upper / "gone", upper / "gone-too")  # kernels since 5.8 do
    (upper / "opaque").mkdir(mode=0o750)
    (upper / "opaque/new").touch()
    for key, value in (("opaque", b"y"), ("origin", b"x" * 29), ("impure", b"y"), ("uuid", b"u" * 16)):
        os.setxattr(upper / "opaque", f"trusted.overlay.{key}", value)
    os.setxattr(upper / "opaque/new", "trusted.overlay.origin", b"x")
    os.setxattr(upper / "opaque/new", "trusted.kept", b"k")
    found = entries(packed(upper))
    assert list(found) == [b".wh.gone", b".wh.gone-too", b"opaque/", b"opaque/.wh..wh..opq", b"opaque/new"]
    for name in (b".wh.gone", b".wh.gone-too", b"opaque/.wh..wh..opq"):
        assert (found[name].type, found[name].size, found[name].mode) == (tar.REGULAR, 0, 0o600)
    assert found[b"opaque/"].xattrs is None
    assert found[b"opaque/new"].xattrs == {b"trusted.kept": b"k"}


def test_without_whiteouts_a_name_is_a_name(upper: Path) -> None:
    (upper / ".wh.x").touch()
    os.mknod(upper / "zero", stat.S_IFCHR, os.makedev(0, 0))
    found = entries(packed(upper, whiteouts=False))
    assert list(found) == [b".wh.x", b"zero"]
    assert found[b"zero"].type == tar.CHARACTER


@pytest.mark.parametrize("key", ["trusted.overlay.redirect", "trusted.overlay.metacopy"])
def test_what_is_in_another_layer(upper: Path, key: str) -> None:
    (upper / "renamed").mkdir()
    os.setxattr(upper / "renamed", key, b"/old")
    with pytest.raises(errors.NotSupported, match=f"'renamed/': overlayfs has noted {key}"):
        packed(upper)


def test_whiteout_names_are_refused(upper: Path) -> None:
    (upper / ".wh.etc").touch()
    with pytest.raises(errors.NotSupported, match=r"'\.wh\.etc': no layer can hold"):
        packed(upper)


def test_the_top_directory(upper: Path) -> None:
    os.chmod(upper, 0o1711)
    found = entries(packed(upper, top=True))
    assert (list(found), found[b"./"].mode) == ([b"./"], 0o1711)


def test_holes_stay_holes(upper: Path, tmp_path: Path) -> None:
    with open(upper / "sparse", "wb") as file:
        for number in range(40):
            file.seek(number << 22)
            file.write(b"%d" % number)
        file.truncate(1 << 28)
    with open(upper / "empty", "wb") as file:
        file.truncate(1 << 28)
    with open(upper / "small hole", "wb") as file:
        file.seek(200_000)
        file.write(b"end")
    archive = packed(upper)
    assert len(archive) < 2 << 20
    assert entries(archive)[b"small hole"].segments is None
    there = applied(archive, tmp_path / "there")
    for name in ("sparse", "empty", "small hole"):
        assert (there / name).stat().st_size == (upper / name).stat().st_size
        with open(there / name, "rb") as one, open(upper / name, "rb") as other:
            while data := one.read(1 << 20):
                assert data == other.read(1 << 20)
    assert (there / "sparse").stat().st_blocks * 512 < 2 << 20
    assert packed(there) == archive


def test_a_deep_tree(upper: Path) -> None:
    """Deeper than Python's calls may be."""
    here = os.open(upper, os.O_RDONLY)
    for _ in range(900):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert len(entries(packed(upper))) == 900


def racing(act: Callable[[], None]) -> Callable[[], None]:
    """Do something again and again in a thread, until the function that is returned is called."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            act()

    thread = threading.Thread(target=run)
    thread.start()

    def end() -> None:
        stop.set()
        thread.join()

    return end


def test_directories_that_become_links(upper: Path, tmp_path: Path) -> None:
    """However a name changes between directory and link, nothing outside is ever read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (upper / "real").mkdir()
    (upper / "real/harmless").touch()
    os.symlink(outside, upper / "link")

    def swap() -> None:
        os.rename(upper / "real", upper / "aside")
        os.rename(upper / "link", upper / "real")
        os.rename(upper / "real", upper / "link")
        os.rename(upper / "aside", upper / "real")

    end = racing(swap)
    try:
        for _ in range(300):
            try:
                assert not any(name.endswith(b"secret") for name in entries(packed(upper)))
            except OSError:
                continue  # it was a directory when it was looked at, and a link when it was opened
    finally:
        end()


def test_files_that_change_while_they_are_read(upper: Path) -> None:
    """A small file goes in as it was at one moment; what comes and goes is in or not."""
    steady, fleeting = upper / "steady", upper / "fleeting"
    steady.write_bytes(b"x" * 1000)

    def change() -> None:
        with open(steady, "wb") as file:
            file.write(b"y" * 1000)
        fleeting.touch()
        fleeting.unlink()

    end = racing(change)
    try:
        for _ in range(300):
            assert set(entries(packed(upper))) - {b"fleeting"} == {b"steady"}
    finally:
        end()


def test_a_large_file_that_shrinks(upper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = upper / "large"
    large.write_bytes(bytes(1 << 20))
    real = os.fstat

    def shrinking(descriptor: int) -> os.stat_result:
        status = real(descriptor)
        if stat.S_ISREG(status.st_mode):
            os.truncate(large, 1000)
        return status

    monkeypatch.setattr(os, "fstat", shrinking)
    with pytest.raises(errors.Unavailable, match="'large' became shorter while it was read"):
        packed(upper)
