"""Mount options that do more than set an attribute: tmpcopyup, idmap, links not followed, propagation."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mydocker.errors import Forbidden, InvalidArgument, StartFailed
from support import bundle, command, probe
from support.bundle import document, namespaces, run, run_document

MAPPED = [{"containerID": 0, "hostID": 100_000, "size": 1000}]


def _run(rootfs: str, script: str, *mounts: dict[str, Any], **changes: Any) -> bundle.Result:
    spec = document(rootfs, ["sh", "-c", script], **changes)
    spec["mounts"] += mounts
    return run_document(spec)


# -- tmpcopyup and the mode of a tmpfs --------------------------------------------------------------------


def test_a_tmpfs_is_filled_with_what_it_hides(busybox_rootfs: str) -> None:
    place = Path(busybox_rootfs, "filled")
    (place / "sub/deep").mkdir(parents=True)
    (place / "sub/file").write_bytes(b"x" * 100_000)
    os.chown(place / "sub/file", 5, 6)
    os.chmod(place / "sub/file", 0o4751)
    os.chmod(place / "sub", 0o700)
    os.utime(place / "sub/file", (1000, 2000))
    os.setxattr(place / "sub/file", "user.mark", b"kept")
    (place / "link").symlink_to("/etc/passwd")
    os.mkfifo(place / "fifo")
    os.chmod(place, 0o1757)
    mount = {"destination": "/filled", "type": "tmpfs", "options": ["tmpcopyup"]}
    script = (
        "stat -c '%n %a %u:%g %s %Y' sub/file; stat -c '%n %a %F' . sub sub/deep fifo; readlink link; "
        "cmp sub/file /proc/self/fd/0; echo $?; touch new && ls"
    )
    spec = document(busybox_rootfs, ["sh", "-c", script], process={"cwd": "/filled"})
    spec["mounts"].append(mount)
    assert run_document(spec, stdin=b"x" * 100_000).lines == [
        "sub/file 4751 5:6 100000 2000",
        ". 1757 directory",
        "sub 700 directory",
        "sub/deep 755 directory",
        "fifo 644 fifo",
        "/etc/passwd",
        "0",
        "fifo",
        "link",
        "new",
        "sub",
    ]
    assert not (place / "new").exists()


def test_a_tmpfs_has_the_mode_of_what_it_hides_or_its_own(busybox_rootfs: str) -> None:
    place = Path(busybox_rootfs, "moded")
    place.mkdir()
    os.chmod(place, 0o712)
    mounts: list[dict[str, Any]] = [
        {"destination": "/moded", "type": "tmpfs", "options": ["ro"]},
        {"destination": "/other", "type": "tmpfs", "options": ["mode=1733"]},
        {"destination": "/made", "type": "tmpfs"},
    ]
    assert _run(busybox_rootfs, "stat -c %a /moded /other /made", *mounts).lines == ["712", "1733", "1777"]


def test_a_read_only_tmpfs_has_what_is_mounted_in_it(busybox_rootfs: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("seen")
    mounts: list[dict[str, Any]] = [
        {"destination": "/sealed", "type": "tmpfs", "options": ["ro", "mode=755"]},
        {"destination": "/sealed/in/here", "type": "bind", "source": str(tmp_path), "options": ["rbind"]},
    ]
    script = "cat /sealed/in/here/file; echo; touch /sealed/x 2> /dev/null; echo $?"
    assert _run(busybox_rootfs, script, *mounts).lines == ["seen", "1"]


def test_a_read_only_tmpfs_leaves_what_hides_it_writable(busybox_rootfs: str, tmp_path: Path) -> None:
    mounts: list[dict[str, Any]] = [
        {"destination": "/covered", "type": "tmpfs", "options": ["ro"]},
        {"destination": "/covered", "type": "bind", "source": str(tmp_path), "options": ["rbind"]},
    ]
    assert _run(
        busybox_rootfs, "touch /covered/file && umount /covered; touch /covered/file; echo $?", *mounts
    )
    assert (tmp_path / "file").exists()


# -- id-mapped mounts -------------------------------------------------------------------------------------


def _needs_idmap(directory: Path) -> None:
    if os.uname().release.split(".")[:2] < ["5", "12"]:
        pytest.skip("needs id-mapped mounts (Linux 5.12)")
    assert directory.is_dir()


@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_owners_are_mapped_without_a_user_namespace(busybox_rootfs: str, tmp_path: Path, option: str) -> None:
    _needs_idmap(tmp_path)
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 3, 4)
    mount = {
        "destination": "/mapped",
        "type": "bind",
        "source": str(tmp_path),
        "options": ["rbind", option],
        "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
        "gidMappings": [{"containerID": 0, "hostID": 2000, "size": 10}],
    }
    script = "stat -c %u:%g /mapped/file; touch /mapped/new 2>&1; chown 1005:2006 /mapped/file"
    assert _run(busybox_rootfs, script, mount).lines[0] == "1003:2004"
    # What is written through the mount is mapped back.
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (5, 6)


def test_idmap_alone_is_the_map_of_the_user_namespace(busybox_rootfs: str, tmp_path: Path) -> None:
    """What belongs to root on the host belongs to root in the container, whose root is user 100000."""
    _needs_idmap(tmp_path)
    os.chmod(tmp_path, 0o755)
    (tmp_path / "file").touch()
    linux = {
        "namespaces": namespaces("pid", "mount", "network", "ipc", "uts", "user"),
        "uidMappings": MAPPED,
        "gidMappings": MAPPED,
    }
    bind = {"type": "bind", "source": str(tmp_path)}
    mounts: list[dict[str, Any]] = [
        {**bind, "destination": "/plain", "options": ["bind"]},
        {**bind, "destination": "/mapped", "options": ["bind", "idmap"]},
    ]
    os.chmod(os.path.dirname(busybox_rootfs), 0o711)
    for mount in mounts:
        os.makedirs(busybox_rootfs + mount["destination"], exist_ok=True)
    script = "stat -c %u /plain/file /mapped/file; touch /mapped/new && stat -c %u /mapped/new"
    assert _run(busybox_rootfs, script, *mounts, linux=linux).lines == ["65534", "0", "0"]
    assert (tmp_path / "new").stat().st_uid == 0


# -- symbolic links ---------------------------------------------------------------------------------------


def test_links_that_are_not_followed(busybox_rootfs: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/elsewhere")
    (tmp_path / "file").write_text("bound")
    Path(busybox_rootfs, "target").symlink_to("/etc/passwd")
    mounts = [
        {
            "destination": "/target",
            "type": "bind",
            "source": str(tmp_path / "file"),
            "options": ["bind", "dest-nofollow"],
        },
        {
            "destination": "/shown",
            "type": "bind",
            "source": str(tmp_path / "link"),
            "options": ["bind", "src-nofollow", "dest-nofollow"],
        },
    ]
    result = _run(busybox_rootfs, "cat /target; grep -c bound /etc/passwd; readlink /shown", *mounts)
    assert result.lines == ["bound0", "/elsewhere"]


# -- a mount that hides the root --------------------------------------------------------------------------


def test_a_mount_that_hides_the_root_becomes_it(busybox_rootfs: str, tmp_path: Path) -> None:
    for name in ("bin", "lib", "lib64", "usr"):
        if os.path.isdir(os.path.join(busybox_rootfs, name)):
            command.run(["cp", "-a", os.path.join(busybox_rootfs, name), str(tmp_path)])
    (tmp_path / "mark").touch()
    spec = document(busybox_rootfs, ["sh", "-c", "ls -d /mark /proc/self/status /dev/null; ls /etc"])
    spec["mounts"].insert(
        0, {"destination": "/", "type": "bind", "source": str(tmp_path), "options": ["rbind"]}
    )
    result = run_document(spec)
    assert result.lines == ["/dev/null", "/mark", "/proc/self/status"]
    assert "/etc" in result.err


# -- propagation of the root ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("propagation", "shown"), [("", ""), ("private", ""), ("shared", "shared:"), ("rshared", "shared:")]
)
def test_the_propagation_of_the_root(busybox_rootfs: str, propagation: str, shown: str) -> None:
    script = "while read -r l; do case $l in *' / '*) echo \"$l\";; esac; done < /proc/self/mountinfo"
    lines = run(busybox_rootfs, script, linux={"rootfsPropagation": propagation}).lines
    row = next(line for line in lines if line.split()[4] == "/")
    optional = row.split(" - ")[0].split()[6:]
    assert any(field.startswith(shown) for field in optional) if shown else not optional


# -- sysfs of a user namespace ----------------------------------------------------------------------------


def test_sysfs_of_the_host_is_bound_where_no_other_can_be_mounted(busybox_rootfs: str) -> None:
    linux = {
        "namespaces": namespaces("pid", "mount", "ipc", "uts", "user"),
        "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1000}],
        "gidMappings": [{"containerID": 0, "hostID": 0, "size": 1000}],
    }
    script = "ls -d /sys/class/net/lo; ls /sys/fs/cgroup | head -1; echo 1 > /sys/kernel/mm/x"
    result = run(busybox_rootfs, script, linux=linux)
    assert "/sys/class/net/lo" in result.lines
    assert "ead-only" in result.err or "nonexistent" in result.err or "ermission" in result.err


# -- memory policy ----------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists("/proc/self/numa_maps"), reason="needs a kernel with NUMA")
@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        ({"mode": "MPOL_DEFAULT"}, " default"),
        ({"mode": "MPOL_LOCAL"}, " local"),
        ({"mode": "MPOL_BIND", "nodes": "0"}, " bind:0"),
        ({"mode": "MPOL_INTERLEAVE", "nodes": "0-0"}, " interleave:0"),
        ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}, " prefer=static:0"),
    ],
)
def test_memory_policies(busybox_rootfs: str, policy: dict[str, Any], shown: str) -> None:
    result = run(busybox_rootfs, "head -1 /proc/self/numa_maps", linux={"memoryPolicy": policy})
    assert shown in result.out


def test_a_memory_policy_that_the_kernel_refuses(busybox_rootfs: str) -> None:
    with pytest.raises(StartFailed, match="cannot set the memory policy MPOL_BIND: invalid argument"):
        run(busybox_rootfs, "true", linux={"memoryPolicy": {"mode": "MPOL_BIND"}})


# -- network devices --------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> Any:
    """Two ends of a virtual cable, in the session's own network namespace."""
    if reason := probe.missing_programs("ip"):
        pytest.skip(reason)
    command.run(["ip", "link", "add", "mdt0", "type", "veth", "peer", "name", "mdt1"])
    yield "mdt0", "mdt1"
    command.run(["ip", "link", "delete", "mdt0"], check=False)
    command.run(["ip", "link", "delete", "mdt1"], check=False)


def test_a_network_device_moves_with_its_addresses(busybox_rootfs: str, pair: tuple[str, str]) -> None:
    command.run(["ip", "address", "add", "10.99.0.1/24", "brd", "+", "dev", pair[0]])
    command.run(["ip", "address", "add", "fd99::1/64", "dev", pair[0], "nodad"])
    command.run(["ip", "link", "set", pair[0], "up"])
    script = "ip -o address show dev eth7; cat /sys/class/net/eth7/flags; ls /sys/class/net"
    result = run(busybox_rootfs, script, linux={"netDevices": {pair[0]: {"name": "eth7"}}})
    assert "inet 10.99.0.1/24 brd 10.99.0.255 scope global" in result.out
    assert "inet6 fd99::1/64 scope global" in result.out
    assert int(result.lines[-3], 16) & 1  # IFF_UP
    assert result.lines[-2:] == ["eth7", "lo"]
    # A virtual one goes with the namespace, and its other end too, as soon as the kernel gets to it.
    end = time.monotonic() + 20
    while pair[1] in [name for _, name in socket.if_nameindex()]:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_network_device_keeps_its_name(busybox_rootfs: str, pair: tuple[str, str]) -> None:
    assert run(busybox_rootfs, "ls /sys/class/net", linux={"netDevices": {pair[0]: {}}}).lines == [
        "lo",
        pair[0],
    ]


def test_a_name_that_is_taken_in_there(busybox_rootfs: str, pair: tuple[str, str]) -> None:
    with pytest.raises(
        StartFailed, match=f"cannot give the network interface {pair[0]} to the container as lo"
    ):
        run(busybox_rootfs, "true", linux={"netDevices": {pair[0]: {"name": "lo"}}})
    assert pair[0] in [name for _, name in socket.if_nameindex()]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"netDevices": {"mdt0": {}}, "namespaces": namespaces("mount", "pid")}, "needs a network namespace"),
        ({"netDevices": {"a": {"name": "x"}, "b": {"name": "x"}}}, "two interfaces cannot have one name"),
        ({"netDevices": {"sixteen-letters-": {}}}, "not the name of a network interface"),
        ({"netDevices": {"a": {"name": ".."}}}, "not the name of a network interface"),
    ],
)
def test_bad_network_devices(busybox_rootfs: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        run(busybox_rootfs, "true", linux=changes)


def test_nothing_is_filled_over_proc(busybox_rootfs: str) -> None:
    mount = {"destination": "/proc/fs", "type": "tmpfs", "options": ["tmpcopyup"]}
    with pytest.raises(Forbidden, match="/proc is for procfs"):
        _run(busybox_rootfs, "true", mount)
