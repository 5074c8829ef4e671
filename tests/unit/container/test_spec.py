"""From a record to the runtime document, without a container."""

from __future__ import annotations

import os
from typing import Any

import pytest

from mydocker.container import resources, spec
from mydocker.container.config import Config, DeviceMapping, HostConfig, Ulimit
from mydocker.container.mounts import mount_points
from mydocker.container.record import Record
from mydocker.errors import InvalidArgument, NotFound
from mydocker.oci import defaults

ID = "ab" * 32


def record(config: Config | None = None, host: HostConfig | None = None) -> Record:
    config = config or Config(hostname="h")
    host = host or HostConfig()
    return Record(
        id=ID,
        created="2024-01-01T00:00:00Z",
        path="sh",
        args=["-c", "a b"],
        name="n",
        layers=["/layer"],
        config=config,
        host_config=host,
        mounts=mount_points(config, host),
    )


def document(config: Config | None = None, host: HostConfig | None = None, **around: Any) -> Any:
    values: dict[str, Any] = {"root": "/r", "files": {}, "cgroup_v2": False, **around}
    return spec.document(record(config, host), spec.Surroundings(**values))


def kinds(made: Any) -> dict[str, str]:
    return {each["type"]: each.get("path", "") for each in made["linux"]["namespaces"]}


def test_arguments_stay_a_list() -> None:
    assert document()["process"]["args"] == ["sh", "-c", "a b"]


def test_namespaces_by_default() -> None:
    assert set(kinds(document())) == {"mount", "pid", "network", "ipc", "uts"}
    assert set(kinds(document(cgroup_v2=True))) == {"mount", "pid", "network", "ipc", "uts", "cgroup"}


@pytest.mark.parametrize(
    ("host", "missing"),
    [
        (HostConfig(pid_mode="host"), "pid"),
        (HostConfig(network_mode="host"), "network"),
        (HostConfig(ipc_mode="host"), "ipc"),
        (HostConfig(uts_mode="host"), "uts"),
        (HostConfig(cgroupns_mode="host"), "cgroup"),
        (HostConfig(privileged=True), "cgroup"),
    ],
)
def test_namespaces_of_the_host(host: HostConfig, missing: str) -> None:
    assert missing not in kinds(document(host=host, cgroup_v2=True))


def test_namespaces_joined() -> None:
    host = HostConfig(network_mode="container:x", pid_mode="container:x", ipc_mode="container:x")
    joined = {"network": "/proc/self/fd/7", "pid": "/proc/self/fd/8", "ipc": "/proc/self/fd/9"}
    made = document(host=host, namespaces=joined, ipc_donor=42)
    assert {kind: path for kind, path in kinds(made).items() if path} == joined
    shm = [mount for mount in made["mounts"] if mount["destination"] == "/dev/shm"]
    assert [mount["source"] for mount in shm] == ["42:/dev/shm"]


def test_the_host_name_is_left_alone_in_the_host_s_namespace() -> None:
    assert document()["hostname"] == "h"
    assert "hostname" not in document(host=HostConfig(uts_mode="host"))


def test_capabilities() -> None:
    sets = document(host=HostConfig(cap_add=["NET_ADMIN"], cap_drop=["chown"]))["process"]["capabilities"]
    assert "CAP_NET_ADMIN" in sets["bounding"]
    assert "CAP_CHOWN" not in sets["bounding"]
    assert not sets.get("ambient")
    assert not sets.get("inheritable")


def test_privileged() -> None:
    made = document(host=HostConfig(privileged=True))
    linux = made["linux"]
    assert "seccomp" not in linux
    assert not linux.get("maskedPaths")
    assert not linux.get("readonlyPaths")
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    options = {mount["destination"]: mount["options"] for mount in made["mounts"]}
    assert "rw" in options["/sys"]
    assert "rw" in options["/sys/fs/cgroup"]


def test_confined_by_default() -> None:
    linux = document()["linux"]
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]


def test_security_options() -> None:
    profile = 'seccomp={"defaultAction":"SCMP_ACT_LOG"}'
    made = document(host=HostConfig(security_opt=[profile, "no-new-privileges:true"]))
    assert made["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_LOG"
    assert made["process"]["noNewPrivileges"] is True
    unconfined = document(host=HostConfig(security_opt=["seccomp=unconfined"], masked_paths=[]))
    assert "seccomp" not in unconfined["linux"]
    assert unconfined["linux"]["maskedPaths"] == []


def test_cgroup_path() -> None:
    assert spec.cgroup_path(record()) == f"/mydocker/{ID}"
    assert spec.cgroup_path(record(host=HostConfig(cgroup_parent="/a/b"))) == f"/a/b/{ID}"


def test_limits() -> None:
    made = resources.resources(
        HostConfig(
            memory=64 << 20,
            memory_swap=-1,
            memory_reservation=32 << 20,
            memory_swappiness=0,
            oom_kill_disable=True,
            nano_cpus=500_000_000,
            cpu_shares=2,
            cpuset_cpus="0",
            pids_limit=20,
            blkio_weight=100,
        ),
        [],
    )
    assert made == {
        "devices": [],
        "memory": {
            "limit": 64 << 20,
            "reservation": 32 << 20,
            "swap": -1,
            "swappiness": 0,
            "disableOOMKiller": True,
        },
        "cpu": {"shares": 2, "period": 100_000, "quota": 50_000, "cpus": "0"},
        "blockIO": {"weight": 100},
        "pids": {"limit": 20},
    }


@pytest.mark.parametrize("limit", [None, 0, -1])
def test_pids_unlimited(limit: int | None) -> None:
    assert "pids" not in resources.resources(HostConfig(pids_limit=limit), [])


def test_ulimits() -> None:
    host = HostConfig(ulimits=[Ulimit(name="nofile", soft=10, hard=-1)])
    assert document(host=host)["process"]["rlimits"] == [
        {"type": "RLIMIT_NOFILE", "soft": 10, "hard": 2**64 - 1}
    ]


def test_ping_and_low_ports_only_in_a_network_of_its_own() -> None:
    own = document()["linux"]["sysctl"]
    assert own["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert "sysctl" not in document(host=HostConfig(network_mode="host"))["linux"]
    set_by_user = document(host=HostConfig(sysctls={"net.ipv4.ip_unprivileged_port_start": "99"}))
    assert set_by_user["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "99"


def test_shared_propagation_needs_it_of_the_root() -> None:
    made = document(host=HostConfig(binds=["/a:/b:rshared"]))
    assert made["linux"]["rootfsPropagation"] == "shared"
    assert "rootfsPropagation" not in document()["linux"]


def test_device_is_looked_up_on_the_host() -> None:
    nodes, rules = resources.devices(
        HostConfig(
            devices=[
                DeviceMapping(path_on_host="/dev/null", path_in_container="/dev/x", cgroup_permissions="r")
            ]
        )
    )
    status = os.stat("/dev/null")
    assert [(node["path"], node["type"], node["major"], node["minor"]) for node in nodes] == [
        ("/dev/x", "c", 1, 3)
    ]
    assert nodes[0]["fileMode"] == status.st_mode & 0o7777
    assert rules[-1] == {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "r"}


def test_device_directory() -> None:
    nodes, _ = resources.devices(
        HostConfig(devices=[DeviceMapping(path_on_host="/dev", path_in_container="/dev/host")])
    )
    paths = {node["path"] for node in nodes}
    assert "/dev/host/null" in paths
    assert not any("/pts/" in path for path in paths)


def test_device_refused() -> None:
    with pytest.raises(NotFound, match='custom device "/dev/nope": no such file or directory'):
        resources.devices(HostConfig(devices=[DeviceMapping(path_on_host="/dev/nope")]))
    with pytest.raises(InvalidArgument, match='custom device "/etc/passwd": not a device node'):
        resources.devices(HostConfig(devices=[DeviceMapping(path_on_host="/etc/passwd")]))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("c 1:3 rwm", {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"}),
        ("b *:7 r", {"allow": True, "type": "b", "minor": 7, "access": "r"}),
        ("a *:* rw", {"allow": True, "type": "a", "access": "rw"}),
    ],
)
def test_device_rule(text: str, rule: dict[str, Any]) -> None:
    assert resources.device_rule(text) == rule


def test_exec_takes_over_the_container_s_process() -> None:
    config = Config(hostname="h", env=["A=1", "B=2"], user="www", working_dir="/w")
    made = spec.added_process(
        record(config),
        ["id"],
        tty=True,
        env=["B=3"],
        user="",
        working_dir="",
        privileged=False,
        size=(24, 80),
    )
    assert made["env"] == ["PATH=" + defaults.PATH, "HOSTNAME=h", "TERM=xterm", "A=1", "B=3"]
    assert made["user"]["username"] == "www"
    assert made["cwd"] == "/w"
    assert made["terminal"] is True
    assert made["consoleSize"] == {"height": 24, "width": 80}
