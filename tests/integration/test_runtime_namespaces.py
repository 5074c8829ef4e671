"""Namespaces of the runtime: new, joined by path, or the host's; read back from /proc."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

import pytest

from mydocker.errors import InvalidArgument, NotFound, StartFailed
from support import bundle
from support.bundle import namespaces

KINDS = {"user": "user", "mount": "mnt", "pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts"}
KINDS |= {"cgroup": "cgroup", "time": "time"}
MAPS = {
    "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
    "gidMappings": [{"containerID": 0, "hostID": 200000, "size": 65536}],
}
SHOW = "for n in user mnt pid net ipc uts cgroup time; do readlink /proc/self/ns/$n; done"


def own(kind: str, pid: int | str = "self") -> str:
    return os.readlink(f"/proc/{pid}/ns/{KINDS[kind]}")


def inside(links: list[str]) -> dict[str, str]:
    return dict(zip(("user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time"), links, strict=True))


@pytest.fixture
def other() -> Iterator[int]:
    """A process in namespaces of its own, to be joined."""
    process = subprocess.Popen(["unshare", "--net", "--ipc", "--uts", "--cgroup", "sleep", "1000"])
    deadline = time.monotonic() + 5
    while own("cgroup", process.pid) == own("cgroup") and time.monotonic() < deadline:
        time.sleep(0.01)
    yield process.pid
    process.kill()
    process.wait()


def test_all_are_new_and_different_from_the_callers(busybox_rootfs: str) -> None:
    new = namespaces("user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time")
    result = bundle.run(owned(busybox_rootfs), SHOW, linux={"namespaces": new, **MAPS})
    assert result.code == 0, result.err
    for kind, found in inside(result.lines).items():
        assert found != own(kind), kind


def test_those_not_named_are_the_callers(busybox_rootfs: str) -> None:
    spec = {"linux": {"namespaces": namespaces("mount")}}
    spec["linux"]["mounts"] = []
    mounts = [{"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]}]
    result = bundle.run(busybox_rootfs, SHOW, mounts=mounts, linux={"namespaces": namespaces("mount")})
    assert result.code == 0, result.err
    found = inside(result.lines)
    assert found.pop("mount") != own("mount")
    assert found == {kind: own(kind) for kind in found}


def test_network_ipc_uts_and_cgroup_are_joined_by_path(busybox_rootfs: str, other: int) -> None:
    paths = {kind: f"/proc/{other}/ns/{KINDS[kind]}" for kind in ("network", "ipc", "uts", "cgroup")}
    result = bundle.run(busybox_rootfs, SHOW, linux={"namespaces": namespaces("mount", "pid", **paths)})
    assert result.code == 0, result.err
    found = inside(result.lines)
    for kind in paths:
        assert found[kind] == own(kind, other), kind


def test_the_pid_namespace_of_another_container_is_joined(busybox_rootfs: str) -> None:
    before = os.readlink("/proc/self/ns/pid_for_children")
    with bundle.running(busybox_rootfs) as first:
        joined = namespaces("mount", "ipc", pid=f"/proc/{first.pid}/ns/pid")
        result = bundle.run(
            busybox_rootfs, "readlink /proc/self/ns/pid; ps -o pid,comm", linux={"namespaces": joined}
        )
        assert result.lines[0] == own("pid", first.pid)
        assert any(line.split() == ["1", "sleep"] for line in result.lines), result.out
    assert os.readlink("/proc/self/ns/pid_for_children") == before


def owned(rootfs: str) -> str:
    """``rootfs`` can be searched by the mapped root."""
    os.chmod(os.path.dirname(rootfs), 0o755)
    return rootfs


def test_a_new_user_namespace_has_its_maps_and_root_in_it(busybox_rootfs: str) -> None:
    script = (
        "cat /proc/self/uid_map /proc/self/gid_map; id -u; id -g; echo > /dev/null && stat -c %t:%T /dev/null"
    )
    new = namespaces("user", "mount", "pid", "network", "ipc", "uts")
    result = bundle.run(owned(busybox_rootfs), script, linux={"namespaces": new, **MAPS})
    assert result.code == 0, result.err
    assert [line.split() for line in result.lines] == [
        ["0", "100000", "65536"],
        ["0", "200000", "65536"],
        ["0"],
        ["0"],
        ["1:3"],
    ]


def test_a_new_user_namespace_with_a_joined_network(busybox_rootfs: str, other: int) -> None:
    new = namespaces("user", "mount", "pid", "ipc", network=f"/proc/{other}/ns/net")
    mounts = [m for m in bundle.document("/", ["x"])["mounts"] if m["type"] != "sysfs"]
    mounts = [m for m in mounts if not m["destination"].startswith("/sys")]
    changes = {"namespaces": new, "maskedPaths": [], "readonlyPaths": [], **MAPS}
    result = bundle.run(owned(busybox_rootfs), SHOW, mounts=mounts, linux=changes)
    assert result.code == 0, result.err
    assert inside(result.lines)["network"] == own("network", other)
    assert inside(result.lines)["user"] != own("user")


def test_the_user_namespace_of_another_container_is_joined(busybox_rootfs: str) -> None:
    new = namespaces("user", "mount", "pid", "network", "ipc", "uts")
    with bundle.running(owned(busybox_rootfs), linux={"namespaces": new, **MAPS}) as first:
        paths = {kind: f"/proc/{first.pid}/ns/{KINDS[kind]}" for kind in ("user", "network", "ipc")}
        joined = namespaces("mount", "pid", "uts", **paths)
        result = bundle.run(busybox_rootfs, SHOW + "; id -u", linux={"namespaces": joined})
        assert result.code == 0, result.err
        *links, uid = result.lines
        assert uid == "0"
        found = inside(links)
        assert found["user"] == own("user", first.pid)
        assert found["network"] == own("network", first.pid)
        assert found["uts"] != own("uts", first.pid)


def test_a_new_time_namespace_has_its_offsets(busybox_rootfs: str) -> None:
    offsets = {"monotonic": {"secs": 86400}, "boottime": {"secs": 1000000, "nanosecs": 5}}
    linux = {"namespaces": namespaces("mount", "pid", "time"), "timeOffsets": offsets}
    result = bundle.run(
        busybox_rootfs, "cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime", linux=linux
    )
    assert result.code == 0, result.err
    assert [line.split() for line in result.lines[:2]] == [
        ["monotonic", "86400", "0"],
        ["boottime", "1000000", "5"],
    ]
    assert int(result.lines[2]) >= 1000000


def test_a_time_namespace_with_offsets_in_a_user_namespace(busybox_rootfs: str) -> None:
    new = namespaces("user", "mount", "pid", "network", "ipc", "time")
    linux = {"namespaces": new, "timeOffsets": {"boottime": {"secs": 1000000}}, **MAPS}
    result = bundle.run(owned(busybox_rootfs), "cut -d. -f1 /proc/uptime", linux=linux)
    assert int(result.lines[0]) >= 1000000


def test_the_cgroup_namespace_has_the_containers_cgroup_as_its_root(busybox_rootfs: str) -> None:
    result = bundle.run(busybox_rootfs, "cut -d: -f3 /proc/self/cgroup | sort -u; cat /proc/self/mountinfo")
    assert result.lines[0] == "/"
    cgroups = [line.split() for line in result.lines if " - cgroup" in line]
    assert cgroups
    assert all(fields[3] == "/" and "ro" in fields[5].split(",") for fields in cgroups)


def test_without_a_cgroup_namespace_the_path_is_the_hosts(busybox_rootfs: str) -> None:
    spec = bundle.document(
        busybox_rootfs, ["cat", "/proc/self/cgroup"], linux={"namespaces": namespaces("mount", "pid")}
    )
    result = bundle.run_document(spec)
    assert all(line.endswith(spec["linux"]["cgroupsPath"]) for line in result.lines), result.out


def test_names_and_sysctls_are_the_containers(busybox_rootfs: str) -> None:
    script = "hostname; cat /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_default_ttl "
    script += "/proc/sys/kernel/msgmax"
    result = bundle.run(
        busybox_rootfs,
        script,
        hostname="here",
        domainname="example",
        linux={"sysctl": {"net.ipv4.ip_default_ttl": "33", "kernel.msgmax": "4321"}},
    )
    assert result.lines == ["here", "example", "33", "4321"]
    with open("/proc/sys/net/ipv4/ip_default_ttl") as file:
        assert file.read().strip() != "33"


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("vm.swappiness", ("mount",)),
        ("kernel.msgmax", ("mount", "network")),
        ("net.ipv4.ip_forward", ("mount", "ipc")),
    ],
)
def test_a_sysctl_that_would_change_the_host_is_refused(
    busybox_rootfs: str, name: str, kinds: tuple[str, ...]
) -> None:
    with pytest.raises(InvalidArgument, match=f"sysctl {name} .*host"):
        bundle.run(busybox_rootfs, "true", linux={"sysctl": {name: "1"}, "namespaces": namespaces(*kinds)})


def test_loopback_is_up_in_a_new_network_namespace(busybox_rootfs: str) -> None:
    result = bundle.run(busybox_rootfs, "ping -c 1 -W 2 127.0.0.1 >/dev/null; ip -o link")
    assert "lo: <LOOPBACK,UP" in result.out


def test_the_session_keyring_is_its_own(busybox_rootfs: str) -> None:
    result = bundle.run(busybox_rootfs, "cat /proc/keys", linux={"maskedPaths": []})
    assert any("_ses.test-" in line for line in result.lines), result.out


@pytest.mark.parametrize(
    ("entries", "error", "text"),
    [
        (namespaces("mount", network="/proc/self/ns/nothing"), NotFound, "no such network namespace"),
        (namespaces("mount", network="/etc/passwd"), InvalidArgument, "is not a namespace"),
        (namespaces("mount", network="/proc/self/ns/ipc"), InvalidArgument, "is not a network namespace"),
        (namespaces("mount", "mount"), InvalidArgument, "given twice"),
        (namespaces("mount", "moon"), InvalidArgument, "no such kind of namespace"),
    ],
)
def test_bad_namespaces(
    busybox_rootfs: str, entries: list[dict[str, str]], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        bundle.run(busybox_rootfs, "true", linux={"namespaces": entries})


def test_a_user_namespace_without_maps_has_the_ids_of_the_caller(busybox_rootfs: str) -> None:
    linux = {"namespaces": namespaces("mount", "pid", "ipc", "network", "user")}
    script = "cat /proc/self/uid_map /proc/self/gid_map"
    assert bundle.run(busybox_rootfs, script, linux=linux).out.split() == ["0", "0", str(2**32 - 1)] * 2


def test_a_user_namespace_with_one_map_wants_the_other(busybox_rootfs: str) -> None:
    mapping = [{"containerID": 0, "hostID": 0, "size": 1}]
    linux = {"namespaces": namespaces("mount", "user"), "uidMappings": mapping}
    with pytest.raises(InvalidArgument, match=r"linux\.gidMappings"):
        bundle.run(busybox_rootfs, "true", linux=linux)


def test_a_map_that_the_kernel_refuses_names_itself(busybox_rootfs: str) -> None:
    mapping = [{"containerID": 0, "hostID": 0, "size": 0}]
    linux = {"namespaces": namespaces("mount", "user"), "uidMappings": mapping, "gidMappings": mapping}
    with pytest.raises(StartFailed, match="uid_map"):
        bundle.run(busybox_rootfs, "true", linux=linux)
