"""The root file system, mounts, devices and covers; read back from inside and from mountinfo."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from typing import Any

import pytest

from mydocker.errors import Error, Forbidden, InvalidArgument, NotFound, NotSupported, StartFailed
from mydocker.runtime import rootfs as roots
from mydocker.runtime.rootfs import Overlay
from support import bundle
from support.bundle import document, namespaces, run, run_document


def overlay(tmp_path: Any, *lowers: str) -> Overlay:
    upper, work, target = (str(tmp_path / name) for name in ("upper", "work", "target"))
    for path in (upper, work, target):
        os.mkdir(path)
    return Overlay([*lowers], upper, work, target)


def mounts(result: bundle.Result) -> dict[str, tuple[str, str, str]]:
    """mountinfo: mount point -> (options, file system, its options)."""
    found = {}
    for line in result.lines:
        before, separator, after = line.partition(" - ")
        if separator:
            fields, kind = before.split(), after.split()
            found[fields[4]] = (fields[5], kind[0], kind[2])
    return found


def with_mount(**entry: Any) -> list[dict[str, Any]]:
    return [*document("/", ["x"])["mounts"], entry]


# -- root ------------------------------------------------------------------------------------------------


def test_what_is_written_goes_to_the_upper_layer(busybox_rootfs: str, tmp_path: Any) -> None:
    layer = overlay(tmp_path, busybox_rootfs)
    script = "echo changed > /etc/passwd; rm /etc/os-release; echo new > /new"
    result = run_document(document(busybox_rootfs, ["sh", "-c", script]), rootfs=layer)
    assert result.code == 0, result.err
    upper = tmp_path / "upper"
    assert (upper / "etc/passwd").read_text() == "changed\n"
    assert (upper / "new").read_text() == "new\n"
    assert stat.S_ISCHR((upper / "etc/os-release").stat().st_mode)
    with open(f"{busybox_rootfs}/etc/passwd") as file:
        assert file.read().startswith("root:")
    assert os.listdir(tmp_path / "target") == []


@pytest.mark.parametrize("call", ["fsopen", "mount"])
def test_128_layers_with_long_names_are_stacked(
    busybox_rootfs: str, tmp_path: Any, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By fsconfig(lowerdir+), and by mount(2) as on kernels before 6.8."""
    if call == "mount":

        def refuse(_: Overlay) -> int:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        monkeypatch.setattr(roots.Overlay, "detached", refuse)
    lowers = []
    for number in range(127):
        lower = tmp_path / f"{'x' * 240}{number}"
        lower.mkdir()
        (lower / "top").write_text(str(number))
        (lower / f"layer-{number}").touch()
        lowers.append(str(lower))
    spec = document(busybox_rootfs, ["sh", "-c", "cat /top; ls -d /layer-* | wc -l"])
    result = run_document(spec, rootfs=overlay(tmp_path, *lowers, busybox_rootfs))
    assert result.out == "0127\n", result.err


def test_a_read_only_root(busybox_rootfs: str) -> None:
    result = run(
        busybox_rootfs, "touch /x; echo > /dev/null && cat /proc/self/mountinfo", root={"readonly": True}
    )
    assert "Read-only file system" in result.err
    assert mounts(result)["/"][0].startswith("ro,")
    assert not os.path.exists(f"{busybox_rootfs}/x")


def test_nothing_of_the_host_is_mounted_in_there(busybox_rootfs: str) -> None:
    result = run(busybox_rootfs, "cat /proc/self/mountinfo")
    points = set(mounts(result))
    assert {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup"} <= points
    assert all(point == "/" or point.startswith(("/proc", "/dev", "/sys")) for point in points)


def test_mounts_do_not_show_outside(busybox_rootfs: str) -> None:
    with open("/proc/self/mountinfo") as file:
        before = file.read()
    with bundle.running(busybox_rootfs), open("/proc/self/mountinfo") as file:
        assert file.read() == before


def test_a_root_that_is_not_there(tmp_path: Any) -> None:
    with pytest.raises(NotFound, match="no such root directory"):
        run(str(tmp_path / "missing"), "true")


def test_a_missing_layer_is_named_and_nothing_is_left(busybox_rootfs: str, tmp_path: Any) -> None:
    spec = document(busybox_rootfs, ["true"])
    with pytest.raises(StartFailed, match="missing-layer"):
        run_document(spec, rootfs=overlay(tmp_path, str(tmp_path / "missing-layer"), busybox_rootfs))


# -- bind mounts -------------------------------------------------------------------------------------------


def test_a_directory_and_a_file_are_bound(busybox_rootfs: str, tmp_path: Any) -> None:
    (tmp_path / "file").write_text("hello")
    entries = [
        *with_mount(destination="/made/there", type="bind", source=str(tmp_path), options=["rbind", "ro"]),
        {
            "destination": "/made/one",
            "type": "bind",
            "source": str(tmp_path / "file"),
            "options": ["bind", "nosuid"],
        },
    ]
    layer = overlay(tmp_path, busybox_rootfs)
    script = "cat /made/there/file /made/one; touch /made/there/x; cat /proc/self/mountinfo"
    result = run_document(document(busybox_rootfs, ["sh", "-c", script], mounts=entries), rootfs=layer)
    assert result.out.startswith("hellohello")
    assert "Read-only" in result.err
    assert "nosuid" in mounts(result)["/made/one"][0]


def test_recursive_read_only_reaches_what_is_mounted_below(busybox_rootfs: str, tmp_path: Any) -> None:
    (tmp_path / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", str(tmp_path / "below")], check=True)
    try:
        for options, writable in ((["rbind", "ro"], True), (["rbind", "rro"], False)):
            entries = with_mount(destination="/mnt", type="bind", source=str(tmp_path), options=options)
            layers = tmp_path / str(writable)
            layers.mkdir()
            spec = document(busybox_rootfs, ["touch", "/mnt/below/x"], mounts=entries)
            result = run_document(spec, rootfs=overlay(layers, busybox_rootfs))
            assert (result.code == 0) == writable, result.err
    finally:
        subprocess.run(["umount", str(tmp_path / "below")], check=True)


@pytest.mark.parametrize(("option", "seen"), [("rprivate", False), ("rslave", True), ("rshared", True)])
def test_propagation_from_the_host(busybox_rootfs: str, tmp_path: Any, option: str, seen: bool) -> None:
    source = tmp_path / "source"
    (source / "later").mkdir(parents=True)
    (tmp_path / "rootfs").mkdir()
    subprocess.run(["mount", "--bind", str(source), str(source)], check=True)
    subprocess.run(["mount", "--make-shared", str(source)], check=True)
    entries = with_mount(destination="/tmp", type="bind", source=str(source), options=["rbind", option])
    try:
        with bundle.running(busybox_rootfs, mounts=entries) as task:
            subprocess.run(["mount", "-t", "tmpfs", "later", str(source / "later")], check=True)
            (source / "later" / "new").touch()
            listed = bundle.added(task, "ls /tmp/later").out.split()
            assert listed == (["new"] if seen else [])
            flags = bundle.added(task, "grep ' /tmp ' /proc/self/mountinfo").out
            assert ("shared:" in flags) == (option == "rshared")
            assert ("master:" in flags) == (option == "rslave")
            subprocess.run(["umount", str(source / "later")], check=True)
    finally:
        subprocess.run(["umount", "-l", str(source)], check=True)


def test_a_destination_through_a_symbolic_link_stays_inside(busybox_rootfs: str, tmp_path: Any) -> None:
    """CVE-2021-30465: a link in the root that points to a directory of the host."""
    lower = tmp_path / "lower"
    lower.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (lower / "link").symlink_to(f"../../../../../..{outside}")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "here").touch()
    entries = with_mount(
        destination="/link/x", type="bind", source=str(tmp_path / "source"), options=["bind"]
    )
    spec = document(busybox_rootfs, ["sh", "-c", f"ls {outside}/x"], mounts=entries)
    result = run_document(spec, rootfs=overlay(tmp_path, str(lower), busybox_rootfs))
    assert result.out == "here\n", result.err
    assert list(outside.iterdir()) == []


def test_proc_is_mounted_on_a_real_directory_only(busybox_rootfs: str, tmp_path: Any) -> None:
    """CVE-2019-19921: /proc of the image is a link to a directory that another container can change."""
    lower = tmp_path / "lower"
    lower.mkdir()
    (lower / "elsewhere").mkdir()
    (lower / "proc").symlink_to("elsewhere")
    with pytest.raises(Forbidden, match="/proc"):
        run_document(document(busybox_rootfs, ["true"]), rootfs=overlay(tmp_path, str(lower), busybox_rootfs))


def test_nothing_is_bound_over_the_files_of_procfs(busybox_rootfs: str, tmp_path: Any) -> None:
    (tmp_path / "fake").write_text("fake")
    for name in ("/proc/self/attr/exec", "/proc/sys/kernel/core_pattern"):
        entries = with_mount(destination=name, type="bind", source=str(tmp_path / "fake"), options=["bind"])
        with pytest.raises(Error, match="proc"):
            run(busybox_rootfs, "true", mounts=entries)
    entries = with_mount(
        destination="/proc/uptime", type="bind", source=str(tmp_path / "fake"), options=["bind"]
    )
    assert run(busybox_rootfs, "cat /proc/uptime", mounts=entries).out == "fake"


@pytest.mark.parametrize(
    ("entry", "error", "text"),
    [
        ({"type": "bind", "source": "/no/such", "options": ["bind"]}, NotFound, "/no/such"),
        ({"type": "bind", "options": ["bind"]}, InvalidArgument, "no source"),
        ({"type": "moonfs", "source": "x"}, StartFailed, "moonfs"),
        ({"type": "tmpfs", "source": "x", "options": ["size=moon"]}, StartFailed, "size=moon"),
        ({"type": "bind", "source": "/", "options": ["idmap"]}, InvalidArgument, "needs uidMappings"),
        ({"type": "tmpfs", "source": "x", "options": ["idmap=uids=0-1-2"]}, NotSupported, "idmap="),
        ({}, InvalidArgument, "no type"),
    ],
)
def test_bad_mounts(busybox_rootfs: str, entry: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run(busybox_rootfs, "true", mounts=with_mount(destination="/tmp", **entry))


def test_tmpfs_and_its_options(busybox_rootfs: str) -> None:
    options = ["nosuid", "nodev", "noexec", "noatime", "size=1m", "mode=1750", "uid=5"]
    entries = with_mount(destination="/tmp", type="tmpfs", source="tmpfs", options=options)
    result = run(busybox_rootfs, "cat /proc/self/mountinfo; stat -c %a:%u /tmp", mounts=entries)
    flags, kind, data = mounts(result)["/tmp"]
    assert flags.split(",") == ["rw", "nosuid", "nodev", "noexec", "noatime"]
    assert kind == "tmpfs"
    assert "size=1024k" in data
    assert result.lines[-1] == "1750:5"


# -- /dev, /proc, /sys ------------------------------------------------------------------------------------


def test_devices_and_links(busybox_rootfs: str) -> None:
    devices = [
        {"path": "/dev/sub/loop", "type": "b", "major": 7, "minor": 3, "fileMode": 0o600, "uid": 1, "gid": 2}
    ]
    script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty sub/loop; "
    script += "for n in fd stdin stdout stderr ptmx; do readlink $n; done; echo x > full"
    result = run(busybox_rootfs, script, linux={"devices": devices})
    lines = result.lines
    numbers = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[:7]}
    assert numbers["null"] == "character special file 1:3 666 0:0"
    assert numbers["full"] == "character special file 1:7 666 0:0"
    assert numbers["tty"] == "character special file 5:0 666 0:0"
    assert numbers["sub/loop"] == "block special file 7:3 600 1:2"
    assert lines[7:] == [
        "/proc/self/fd",
        "/proc/self/fd/0",
        "/proc/self/fd/1",
        "/proc/self/fd/2",
        "pts/ptmx",
    ]
    assert "No space left" in result.err


def test_devices_of_the_document_may_be_opened_only_as_its_rules_say(busybox_rootfs: str) -> None:
    result = run(busybox_rootfs, "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg; rm -f /tmp/kmsg")
    assert "peration not permitted" in result.err


def test_masked_paths_are_hidden(busybox_rootfs: str) -> None:
    masked = {"linux": {"maskedPaths": ["/proc/timer_list", "/proc/bus", "/proc/nothing", "/sys/firmware"]}}
    script = "cat /proc/timer_list | wc -c; ls /proc/bus | wc -l; stat -c %t:%T /proc/timer_list; "
    script += "touch /proc/bus/x"
    result = run(busybox_rootfs, script, **masked)
    assert result.lines == ["0", "0", "1:3"], result.err
    assert "Read-only file system" in result.err


def test_a_null_device_of_the_image_hides_nothing(busybox_rootfs: str, tmp_path: Any) -> None:
    """CVE-2025-31133: /dev/null of the container is a link when the masks are laid."""
    entries = [m for m in document("/", ["x"])["mounts"] if not m["destination"].startswith("/dev")]
    lower = tmp_path / "lower"
    (lower / "dev").mkdir(parents=True)
    (lower / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    spec = document(
        busybox_rootfs, ["stat", "-c", "%t:%T", "/proc/kcore", "/proc/timer_list"], mounts=entries
    )
    spec["linux"]["maskedPaths"] = ["/proc/timer_list"]
    # The link is in the place of a device that has to be there, so the container is refused altogether.
    with pytest.raises(Error):
        run_document(spec, rootfs=overlay(tmp_path, str(lower), busybox_rootfs))


def test_read_only_paths(busybox_rootfs: str) -> None:
    result = run(busybox_rootfs, "echo 1 > /proc/sys/net/ipv4/ip_forward; cat /proc/self/mountinfo")
    assert "Read-only file system" in result.err
    assert mounts(result)["/proc/sys"][0].startswith("ro")


def test_the_cgroup_mount_shows_the_containers_own(busybox_rootfs: str) -> None:
    spec = document(busybox_rootfs, ["sh", "-c", "cat $(find /sys/fs/cgroup -name cgroup.procs)"])
    result = run_document(spec)
    assert "1" in result.out.split()
    assert result.code == 0, result.err


def test_devices_are_bound_in_a_user_namespace(busybox_rootfs: str) -> None:
    os.chmod(os.path.dirname(busybox_rootfs), 0o755)
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux = {
        "namespaces": namespaces("user", "mount", "pid", "network", "ipc", "uts", "cgroup"),
        "uidMappings": maps,
        "gidMappings": maps,
    }
    result = run(
        busybox_rootfs, "stat -c %t:%T /dev/null /dev/urandom; head -c 4 /dev/urandom | wc -c", linux=linux
    )
    assert result.lines == ["1:3", "1:9", "4"], result.err


def test_devices_in_a_user_namespace_are_as_the_document_says(busybox_rootfs: str) -> None:
    os.chmod(os.path.dirname(busybox_rootfs), 0o755)
    maps = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    linux = {
        "namespaces": namespaces("user", "mount", "pid", "network", "ipc", "uts", "cgroup"),
        "uidMappings": maps,
        "gidMappings": maps,
        "devices": [
            {"path": "/dev/own", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
            {"path": "/dev/deep/fifo", "type": "p", "fileMode": 0o600},
        ],
    }
    script = (
        "stat -c '%t:%T %a %u:%g' /dev/own; stat -c '%F %a %u' /dev/deep/fifo /dev/null; "
        "head -c 3 /dev/own | wc -c; head -c 1 /dev/zero | wc -c; grep -c devices /proc/self/mountinfo; "
        "grep -c ' /dev devices ' /proc/mounts"
    )
    result = run(busybox_rootfs, script, linux=linux)
    assert result.lines[0] == "1:5 640 7:8"
    assert result.lines[1:3] == ["fifo 600 0", "character special file 666 0"]
    assert result.lines[3:5] == ["3", "1"]
    assert result.lines[6] == "0"  # of the tmpfs itself nothing is left


def test_a_device_of_an_id_that_the_user_namespace_has_not(busybox_rootfs: str) -> None:
    maps = [{"containerID": 0, "hostID": 100000, "size": 10}]
    linux = {
        "namespaces": namespaces("user", "mount", "pid"),
        "uidMappings": maps,
        "gidMappings": maps,
        "devices": [{"path": "/dev/own", "type": "c", "major": 1, "minor": 5, "uid": 10}],
    }
    with pytest.raises(InvalidArgument, match="the device /dev/own belongs to the id 10"):
        run(busybox_rootfs, "true", linux=linux)


def test_a_tree_of_another_containers_mounts_is_borrowed(busybox_rootfs: str) -> None:
    with bundle.running(busybox_rootfs) as first:
        bundle.added(first, "echo shared > /dev/shm/x")
        entries = [m for m in document("/", ["x"])["mounts"] if m["destination"] != "/dev/shm"]
        entries.append(
            {"destination": "/dev/shm", "type": "mydocker.tree", "source": f"{first.pid}:/dev/shm"}
        )
        result = run(busybox_rootfs, "cat /dev/shm/x; echo back > /dev/shm/y", mounts=entries)
        assert result.out == "shared\n", result.err
        assert bundle.added(first, "cat /dev/shm/y").out == "back\n"
