"""What an archive becomes in a directory, read back from the kernel; and what it must not become."""

from __future__ import annotations

import base64
import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mydocker import errors
from mydocker.archive.apply import apply, prune
from mydocker.archive.compression import Limits
from mydocker.archive.stream import Stream
from support import archives, deep, probe, tree
from support.archives import Member, directory, hardlink, symlink

pytestmark = pytest.mark.root

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # cap_net_raw=ep (linux/capability.h)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target"
    path.mkdir()
    return path


def unpack(data: bytes, target: Path, **options: object) -> int:
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    before = sorted(os.listdir("/proc/self/fd"))
    try:
        return apply(Stream(iter([data])), descriptor, "the archive", **options)  # type: ignore[arg-type]
    finally:
        os.close(descriptor)
        assert len(os.listdir("/proc/self/fd")) == len(before) - 1


def put(members: Sequence[Member], target: Path, **options: object) -> None:
    unpack(archives.layer(members), target, **options)


def is_whiteout(path: Path) -> bool:
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def test_a_file_takes_the_place_of_directories_however_deep(target: Path) -> None:
    with deep.cleaned(target):
        put([directory("d/" * 1500), Member("d", b"file")], target)
        assert (target / "d").read_bytes() == b"file"


def opaque(path: Path) -> bool:
    return "trusted.overlay.opaque" in os.listxattr(path) and (
        os.getxattr(path, "trusted.overlay.opaque") == b"y"
    )


# Attributes


def test_attributes(target: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, mode in (
            ("./", tarfile.DIRTYPE, 0o1777),
            ("d", tarfile.DIRTYPE, 0o2750),
            ("d/setuid", tarfile.REGTYPE, 0o6755),
            ("d/fifo", tarfile.FIFOTYPE, 0o640),
            ("d/null", tarfile.CHRTYPE, 0o666),
            ("d/disk", tarfile.BLKTYPE, 0o660),
            ("d/link", tarfile.SYMTYPE, 0o777),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.gid, info.linkname = kind, mode, 4000000000, 7, "d/setuid"
            info.devmajor, info.devminor = (259, 70000) if kind == tarfile.BLKTYPE else (1, 3)
            info.pax_headers = {"mtime": "1234567890.123456789"}
            tar.addfile(info)
    old = os.umask(0o077)
    try:
        unpack(buffer.getvalue(), target)
    finally:
        os.umask(old)
    for name, mode in (
        ("", stat.S_IFDIR | 0o1777),
        ("d", stat.S_IFDIR | 0o2750),
        ("d/setuid", stat.S_IFREG | 0o6755),
        ("d/fifo", stat.S_IFIFO | 0o640),
        ("d/null", stat.S_IFCHR | 0o666),
        ("d/disk", stat.S_IFBLK | 0o660),
        ("d/link", stat.S_IFLNK | 0o777),
    ):
        status = os.lstat(target / name)
        assert status.st_mode == mode, name
        assert (status.st_uid, status.st_gid) == (4000000000, 7), name
        assert status.st_mtime_ns == 1234567890123456789, name
    assert os.lstat(target / "d/disk").st_rdev == os.makedev(259, 70000)
    assert os.readlink(target / "d/link") == "d/setuid"


def test_xattrs(target: Path) -> None:
    buffer = io.BytesIO()
    acl = struct.pack("<IHHIHHIHHI", 2, 1, 7, 2**32 - 1, 4, 5, 2**32 - 1, 32, 0, 2**32 - 1)
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for name, kind, records in (
            (
                "d",
                tarfile.DIRTYPE,
                {"SCHILY.xattr.system.posix_acl_default": acl, "SCHILY.xattr.user.d": b"1"},
            ),
            ("d/capable", tarfile.REGTYPE, {"SCHILY.xattr.security.capability": CAPABILITY}),
            ("d/libarchive", tarfile.REGTYPE, {"LIBARCHIVE.xattr.user.x": base64.b64encode(b"\0\xff")}),
            ("d/link", tarfile.SYMTYPE, {"SCHILY.xattr.trusted.x": b"on a link"}),
            ("d/overlay", tarfile.DIRTYPE, {"SCHILY.xattr.trusted.overlay.redirect": b"/etc"}),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.uid, info.linkname = kind, 0o755, 5, "x"
            info.pax_headers = {
                key: value.decode("utf-8", "surrogateescape") for key, value in records.items()
            }
            tar.addfile(info)
    unpack(buffer.getvalue(), target)
    assert os.getxattr(target / "d", "user.d") == b"1"
    assert os.getxattr(target / "d", "system.posix_acl_default") == acl
    assert os.getxattr(target / "d/capable", "security.capability") == CAPABILITY
    assert os.listxattr(target / "d/capable") == ["security.capability"], (
        "nothing inherited from the directory"
    )
    assert os.getxattr(target / "d/libarchive", "user.x") == b"\0\xff"
    assert os.getxattr(target / "d/link", "trusted.x", follow_symlinks=False) == b"on a link"
    assert os.listxattr(target / "d/overlay") == [], "what overlayfs would obey is not the archive's to say"


def test_hard_links(target: Path) -> None:
    links = [hardlink("two", "a/one"), hardlink("a/three", "./two"), hardlink("two", "two")]
    through = [symlink("s", "a"), hardlink("four", "s/one"), hardlink("t", "s")]
    put([Member("a/one", b"x"), *links, *through], target)
    inodes = {os.lstat(target / name).st_ino for name in ("a/one", "two", "a/three", "four")}
    assert len(inodes) == 1
    assert os.lstat(target / "two").st_nlink == 4
    assert os.path.islink(target / "t")


def test_parents_are_made(target: Path) -> None:
    old = os.umask(0o077)
    try:
        put([Member("a/b/c", b"x")], target)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(target / "a/b").st_mode) == 0o755
    assert (target / "a/b/c").read_bytes() == b"x"


@pytest.mark.parametrize("name", [b"caf\xe9", b"new\nline", b" ", b"\x7f\x01", b"-rf", b"x" * 255])
def test_names_are_bytes(target: Path, name: bytes) -> None:
    put([Member(os.fsdecode(name), b"x")], target)
    assert os.listdir(os.fsencode(target)) == [name]


# Replacement


@pytest.mark.parametrize("again", ["file", "directory", "symlink", "fifo", "hardlink"])
@pytest.mark.parametrize("before", ["file", "directory", "full directory", "symlink", "fifo", "whiteout"])
def test_later_entries_replace_earlier_ones(target: Path, before: str, again: str) -> None:
    kinds = {
        "file": [Member("x", b"file")],
        "directory": [directory("x")],
        "full directory": [directory("x"), Member("x/in", b""), directory("x/d"), Member("x/d/in", b"")],
        "symlink": [symlink("x", "/nowhere")],
        "fifo": [Member("x", kind=tarfile.FIFOTYPE)],
        "hardlink": [hardlink("x", "other")],
        "whiteout": [Member(".wh.x")],
    }
    put([Member("other", b"other"), *kinds[before], *kinds[again]], target)
    found = tree.from_directory(str(target))
    if again == "directory" and before == "full directory":
        assert set(found) == {"other", "x", "x/in", "x/d", "x/d/in"}
    else:
        assert set(found) == {"other", "x"}
    assert found["x"].kind == {"hardlink": "file"}.get(again, again)
    if again == "hardlink":
        assert found["x"].digest == found["other"].digest
    if again == "directory":
        assert opaque(target / "x") is (before == "whiteout")


def test_replacing_a_directory_that_is_open(target: Path) -> None:
    first = [Member("a/b/one", b"1"), symlink("a", "c"), Member("c/x", b"")]
    put([*first, directory("a"), Member("a/b/two", b"2")], target)
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*")) == [
        "a",
        "a/b",
        "a/b/two",
        "c",
        "c/x",
    ]


def test_a_link_that_is_replaced_is_not_remembered(target: Path) -> None:
    put(
        [directory("real"), symlink("way", "real"), Member("way/one"), directory("way"), Member("way/two")],
        target,
    )
    assert os.listdir(target / "real") == ["one"]
    assert os.listdir(target / "way") == ["two"]


def test_times_of_directories_that_were_replaced(target: Path) -> None:
    put([directory("a/b"), Member("a", b"now a file"), directory("c"), symlink("c", "a")], target)
    assert (target / "a").read_bytes() == b"now a file"


# Whiteouts


def test_whiteouts(target: Path) -> None:
    put([directory("d"), Member("d/.wh.gone"), Member(".wh.top"), directory("o"), Member("o/.wh..wh..opq"),
         Member("implied/.wh..wh..opq"), Member(".wh..wh.plnk/12.34", b"x"), Member(".wh..wh.aufs", b""),
         Member("not.wh.one", b""), Member(".wh", b"")], target)  # fmt: skip
    assert is_whiteout(target / "d/gone")
    assert is_whiteout(target / "top")
    assert opaque(target / "o")
    assert opaque(target / "implied")
    assert not opaque(target / "d")
    assert not os.path.lexists(target / ".wh..wh.aufs")
    assert (target / "not.wh.one").is_file()
    assert (target / ".wh").is_file()


@pytest.mark.parametrize("first", ["whiteout", "entry"])
def test_a_whiteout_hides_nothing_of_its_own_layer(target: Path, first: str) -> None:
    whiteouts = [Member(".wh.file"), Member(".wh.dir"), Member(".wh.implied")]
    entries = [Member("file", b"x"), directory("dir"), Member("dir/in", b""), Member("implied/in", b"")]
    put([*whiteouts, *entries] if first == "whiteout" else [*entries, *whiteouts], target)
    assert (target / "file").read_bytes() == b"x"
    for name in ("dir", "implied"):
        assert (target / name / "in").is_file()
        assert opaque(target / name), "what lies below it is hidden"


def test_whiteouts_of_nothing_are_pruned(target: Path) -> None:
    found: list[bytes] = []
    members = [directory("real"), symlink("way", "real"), Member("way/.wh.below"), Member("real/.wh.nothing")]
    put([*members, Member(".wh.top")], target, whiteouts=found)
    assert found == [b"real/below", b"real/nothing", b"top"]
    assert is_whiteout(target / "top")
    before = (target / "real").stat().st_mtime_ns
    pruned(target, found, lambda path: path == "real/below")
    assert os.listdir(target / "real") == ["below"]
    assert is_whiteout(target / "real/below")
    assert (target / "real").stat().st_mtime_ns == before
    assert not os.path.lexists(target / "top")


def test_pruning_leaves_alone_what_has_come_in_the_place_of_a_whiteout(target: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    os.mknod(outside / "gone", stat.S_IFCHR, os.makedev(0, 0))
    found: list[bytes] = []
    members = [Member(".wh.file"), Member("file", b"x"), Member("d/.wh.gone"), symlink("d", str(outside))]
    put([*members, Member("e/.wh.gone"), Member("e", b"x"), Member("f/.wh.gone")], target, whiteouts=found)
    shutil.rmtree(target / "f")
    pruned(target, found, lambda _: False)
    assert (target / "file").read_bytes() == b"x"
    assert (target / "e").read_bytes() == b"x"
    assert is_whiteout(outside / "gone")


def pruned(target: Path, whiteouts: list[bytes], hides: Callable[[str], bool]) -> None:
    directory = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        prune(directory, whiteouts, hides)
    finally:
        os.close(directory)


# Sparse files


@pytest.mark.parametrize(
    "options",
    [
        ["--format=gnu"],
        ["--format=pax", "--sparse-version=0.0"],
        ["--format=pax", "--sparse-version=0.1"],
        ["--format=pax", "--sparse-version=1.0"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("regions", [0, 1, 3, 4, 5, 25, 26, 60])
def test_sparse(tmp_path: Path, target: Path, options: list[str], regions: int) -> None:
    if reason := probe.missing_programs("tar"):
        pytest.skip(reason)
    source = tmp_path / "source"
    source.mkdir()
    with open(source / "sparse", "wb") as file:
        for number in range(regions):
            file.seek((number + 1) << 16)
            file.write(b"%04d" % number)
        file.truncate(8 << 20)
    (source / "after").write_bytes(b"after")
    data = subprocess.run(
        ["tar", *options, "--sparse", "-C", source, "-cf", "-", "sparse", "after"],
        capture_output=True,
        check=True,
    ).stdout
    unpack(data, target, want_end=True)
    assert (target / "sparse").read_bytes() == (source / "sparse").read_bytes()
    assert (target / "after").read_bytes() == b"after"
    assert os.stat(target / "sparse").st_blocks <= os.stat(source / "sparse").st_blocks


# Against GNU tar and bsdtar


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "oldgnu", "pax"])
def test_gnu_tar(tmp_path: Path, target: Path, form: str) -> None:
    if reason := probe.missing_programs("tar"):
        pytest.skip(reason)
    source = make_tree(tmp_path / "source", short=form in ("v7", "ustar"))
    if form == "v7":  # it has no devices and no fifos
        for node in source.glob("node-*"):
            node.unlink()
    more = ["--xattrs", "--xattrs-include=*"] if form == "pax" else []
    data = subprocess.run(
        ["tar", f"--format={form}", *more, "-C", source, "-cf", "-", "."], capture_output=True, check=True
    ).stdout
    expected = tree.from_directory(str(source))
    unpack(data, target, want_end=True)
    found = tree.from_directory(str(target))
    if form != "pax":
        expected, found = tree.whole_seconds(expected), tree.whole_seconds(found)
    assert tree.difference(expected, found, ignore=() if form == "pax" else ("xattrs",)) == []


@pytest.mark.parametrize("form", ["ustar", "pax", "gnutar"])
def test_bsdtar(tmp_path: Path, target: Path, form: str) -> None:
    if reason := probe.missing_programs("bsdtar"):
        pytest.skip(reason)
    source = make_tree(tmp_path / "source", short=form == "ustar")
    data = subprocess.run(
        ["bsdtar", "--format", form, "-C", source, "-cf", "-", "."], capture_output=True, check=True
    ).stdout
    expected = tree.from_directory(str(source))
    unpack(data, target, want_end=True)
    found = tree.from_directory(str(target))
    if form != "pax":
        expected, found = tree.whole_seconds(expected), tree.whole_seconds(found)
    assert tree.difference(expected, found, ignore=() if form == "pax" else ("xattrs",)) == []


def make_tree(top: Path, short: bool) -> Path:
    deep = "d" if short else "/".join(["deep" * 15] * 6)
    (top / deep).mkdir(parents=True)
    (top / deep / "file").write_bytes(b"deep")
    (top / os.fsdecode(b"caf\xe9")).write_bytes(b"latin-1")
    (top / "empty").touch()
    (top / "setuid").write_bytes(b"x")
    os.chown(top / "setuid", 1000, 1001)
    os.chmod(top / "setuid", 0o4755)
    os.setxattr(top / "setuid", "user.color", b"green\0")
    os.setxattr(top / "setuid", "security.capability", CAPABILITY)
    os.link(top / "setuid", top / "hard")
    os.symlink("t" * (90 if short else 400), top / "symlink")
    os.mkfifo(top / "node-fifo", 0o600)
    os.mknod(top / "node-character", stat.S_IFCHR | 0o644, os.makedev(5, 1))
    os.mknod(top / "node-block", stat.S_IFBLK | 0o644, os.makedev(8, 17))
    for name in os.listdir(top):
        os.utime(top / name, ns=(0, 1_111_111_111_222_333_444), follow_symlinks=False)
    return top


names = st.sampled_from(["a", "b", "c", os.fsdecode(b"\xff"), "long" * 40])
places = st.lists(names, min_size=1, max_size=4).map("/".join)
entries = st.one_of(
    st.builds(Member, places, st.binary(max_size=100), mode=st.integers(0, 0o7777)),
    st.builds(directory, places, st.integers(0, 0o7777)),
    st.builds(symlink, places, st.sampled_from(["a", "b/c", "../a", "..", "/", "/etc", "nowhere", "."])),
    st.builds(hardlink, places, places),
    places.map(lambda place: Member(place, kind=tarfile.FIFOTYPE)),
    places.map(
        lambda place: Member(os.path.join(os.path.dirname(place), ".wh." + os.path.basename(place)[:200]))
    ),
    places.map(lambda place: Member(place + "/.wh..wh..opq")),
)


@given(members=st.lists(entries, max_size=12))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_nothing_leaves_the_directory(tmp_path: Path, members: list[Member]) -> None:
    """Any row of entries: applied or refused, and the neighbours are untouched."""
    shutil.rmtree(tmp_path)
    target = tmp_path / "target"
    target.mkdir(parents=True)
    neighbour = tmp_path / "a"
    neighbour.mkdir()
    (neighbour / "b").write_bytes(b"untouched")
    before = tree.from_directory(str(neighbour)), os.lstat(neighbour).st_mtime_ns
    etc = os.stat("/etc").st_mtime_ns
    with suppress(errors.CorruptData):
        put(members, target)
    assert (tree.from_directory(str(neighbour)), os.lstat(neighbour).st_mtime_ns) == before
    assert os.stat("/etc").st_mtime_ns == etc
    assert sorted(os.listdir(tmp_path)) == ["a", "target"]


# Hostile


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([Member("../outside", b"x")], "'\\.\\.'"),
        ([Member("a/../../outside", b"x")], "'\\.\\.'"),
        ([Member("..", b"x")], "'\\.\\.'"),
        ([directory("../outside")], "'\\.\\.'"),
        ([Member("/tmp/outside", b"x")], "absolute"),
        ([Member("//outside", b"x")], "absolute"),
        ([symlink("up", ".."), Member("up/outside", b"x")], "leads outside"),
        ([symlink("up", "../.."), directory("up/outside")], "leads outside"),
        ([symlink("abs", "/tmp"), Member("abs/outside", b"x")], "leads outside"),
        ([symlink("a", "/"), symlink("b", "a/tmp"), Member("b/outside", b"x")], "leads outside"),
        ([symlink("abs", "/tmp"), Member("abs/.wh.x", b"")], "leads outside"),
        ([symlink("abs", "/tmp"), Member("abs/.wh..wh..opq", b"")], "leads outside"),
        ([symlink("abs", "/tmp"), hardlink("abs/outside", "abs")], "leads outside"),
        ([symlink("loop", "loop"), Member("loop/x", b"")], "loop"),
        ([symlink("x", "nowhere"), Member("x/y", b"")], "not a directory"),
        ([Member("file", b""), Member("file/y", b"")], "not a directory"),
        ([hardlink("x", "/etc/passwd")], "hard link"),
        ([hardlink("x", "../../etc/passwd")], "'\\.\\.'"),
        ([hardlink("x", "nothing")], "hard link"),
        ([hardlink("x", ".")], "hard link"),
        ([directory("d"), hardlink("x", "d")], "hard link"),
        ([symlink("etc", "/etc"), hardlink("x", "etc/passwd")], "leads outside"),
        ([Member("a/.wh..")], "whiteout"),
        ([Member("a/.wh...")], "whiteout"),
        ([Member("a/.wh.")], "whiteout"),
        ([Member("x" * 256, b"")], "255"),
        ([Member("x/" * 2100, b"")], "4096"),
        ([Member("./", b"not a directory", kind=tarfile.CHRTYPE)], "top directory"),
        ([symlink(".", "/etc")], "top directory"),
        ([Member("dev", kind=tarfile.CHRTYPE, device=(1 << 12, 0))], "device number"),
    ],
)
def test_hostile(tmp_path: Path, target: Path, members: list[Member], message: str) -> None:
    with pytest.raises(errors.HostileArchive, match=message) as caught:
        put(members, target)
    assert str(caught.value).startswith("the archive: entry ")
    assert os.listdir(tmp_path) == ["target"]
    assert not os.path.lexists("/tmp/outside")


def test_the_top_directory_may_have_any_of_its_names(target: Path) -> None:
    for name in (".", "./", "/", "./."):
        put([directory(name, 0o700)], target)
        assert stat.S_IMODE(os.stat(target).st_mode) == 0o700
        os.chmod(target, 0o755)


def test_devices_where_they_are_not_allowed(target: Path) -> None:
    for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        with pytest.raises(errors.HostileArchive, match="device node"):
            put([Member("dev/null", kind=kind, device=(1, 3))], target, devices=False)
    put([Member("fifo", kind=tarfile.FIFOTYPE), Member(".wh.gone")], target, devices=False)
    assert is_whiteout(target / "gone")


def test_too_many_entries(target: Path) -> None:
    members = [Member(str(number)) for number in range(11)]
    put(members[:10], target, limits=Limits(entries=10))
    with pytest.raises(errors.HostileArchive, match=r"more than 10 entries \(the limit\)"):
        put(members, target, limits=Limits(entries=10))


def test_truncated(target: Path) -> None:
    data = archives.layer([Member("one", b"x" * 600), Member("two", b"y")])
    with pytest.raises(errors.CorruptData, match=r"the archive: truncated: .*'one'"):
        unpack(data[:1000], target)
    unpack(data[:-10240], target)
    with pytest.raises(errors.CorruptData, match="truncated archive: it has no end marker"):
        unpack(data[: 512 + 1024 + 512 + 512], target, want_end=True)


def test_numbers_that_the_kernel_does_not_take(target: Path) -> None:
    for field, number in (("mtime", 2**80), ("uid", 2**40)):
        info = tarfile.TarInfo("x")
        setattr(info, field, number)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
            tar.addfile(info)
        with pytest.raises(errors.CorruptData, match="the archive: entry 'x'"):
            unpack(buffer.getvalue(), target)


def test_a_full_disk_is_not_the_archives_fault(target: Path) -> None:
    from support import command

    command.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(target)])
    try:
        with pytest.raises(errors.Unavailable, match="entry 'big': No space left"):
            put([Member("big", bytes(1 << 20))], target)
    finally:
        command.run(["umount", str(target)])
