"""No member of the document is taken and then does nothing: what has an effect in one case only, or none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mydocker.errors import InvalidArgument, StartFailed
from support import bundle, probe
from support.bundle import document, namespaces, run_document
from support.oci import Runtime

MAPPED = [{"containerID": 0, "hostID": 100_000, "size": 1000}]


def _run(rootfs: str, script: str, *mounts: dict[str, Any], **changes: Any) -> bundle.Result:
    spec = document(rootfs, ["sh", "-c", script], **changes)
    spec["mounts"] += mounts
    return run_document(spec)


# -- mounts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        (
            {"type": "bind", "source": "/etc", "options": ["size=1k"]},
            "the bind mount on /x has no file system",
        ),
        ({"type": "none", "source": "/etc", "options": ["rbind", "sync"]}, "for the option sync"),
        ({"type": "cgroup", "options": ["mode=700"]}, "the cgroup mount on /x has no file system"),
    ],
)
def test_options_of_a_file_system_that_is_not_made(
    busybox_rootfs: str, mount: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=message):
        _run(busybox_rootfs, "true", {"destination": "/x", **mount})


def test_a_remount_changes_what_is_mounted(busybox_rootfs: str) -> None:
    mounts: list[dict[str, Any]] = [
        {"destination": "/x", "type": "tmpfs", "source": "t", "options": ["nosuid", "size=64k", "mode=755"]},
        {"destination": "/x", "type": "tmpfs", "source": "t", "options": ["remount", "ro", "size=128k"]},
        {"destination": "/y", "type": "bind", "source": "/etc", "options": ["bind"]},
        {"destination": "/y", "type": "none", "options": ["bind", "remount", "noexec", "ro"]},
    ]
    result = _run(busybox_rootfs, "grep -E ' /(x|y) ' /proc/self/mountinfo; touch /x/f /y/f", *mounts)
    tmpfs, bound = sorted(result.lines, key=lambda line: line.split()[4])
    assert {"ro", "nosuid"} <= set(tmpfs.split()[5].split(","))
    assert "size=128k" in tmpfs
    assert {"ro", "noexec"} <= set(bound.split()[5].split(","))
    assert result.err.count("Read-only file system") == 2


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"options": ["remount", "ro"]}, "what is mounted on /etc: invalid argument"),
        ({"options": ["remount", "size=1k"]}, "what is mounted on /etc: invalid argument"),
        ({"type": "tmpfs", "options": ["remount", "tmpcopyup"]}, "tmpcopyup is for a new tmpfs"),
    ],
)
def test_a_remount_of_nothing(busybox_rootfs: str, mount: dict[str, Any], message: str) -> None:
    with pytest.raises((StartFailed, InvalidArgument), match=message):
        _run(busybox_rootfs, "true", {"destination": "/etc", **mount})


def test_devices_in_a_dev_of_the_host(busybox_rootfs: str) -> None:
    """Nothing is made in there; what is not there is told of, and what lies elsewhere is made."""
    device = {"type": "c", "major": 1, "minor": 5}
    dev = {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}
    before = set(os.listdir("/dev"))
    paths = ["/dev/zero", "/dev/no-such", "/dev/null", "/elsewhere"]
    spec = document(busybox_rootfs, ["stat", "-c", "%t:%T", "/elsewhere"])
    spec["linux"]["devices"] = [{**device, "path": path} for path in paths]
    spec["mounts"] = [entry for entry in spec["mounts"] if not entry["destination"].startswith("/dev")] + [
        dev
    ]
    result = run_document(spec)
    assert result.lines == ["1:5"]
    assert [text for text in result.warnings if "/dev is the host's" in text] == [
        "not made, because /dev is the host's, which has no such: /dev/no-such, /dev/null"
    ]
    assert set(os.listdir("/dev")) == before


# -- user namespaces --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "taken"), [(1000, True), (999, False)])
def test_maps_of_a_user_namespace_that_is_joined(busybox_rootfs: str, size: int, taken: bool) -> None:
    os.chmod(os.path.dirname(busybox_rootfs), 0o711)
    owner = {"namespaces": namespaces("pid", "mount", "user"), "uidMappings": MAPPED, "gidMappings": MAPPED}
    mounts = [
        {"destination": f"/{place}", "type": kind} for place, kind in (("proc", "proc"), ("dev", "tmpfs"))
    ]
    with bundle.running(busybox_rootfs, mounts=mounts, linux=owner) as task:
        joined = {
            "namespaces": namespaces("pid", "mount", user=f"/proc/{task.pid}/ns/user"),
            "uidMappings": [{**MAPPED[0], "size": size}],
            "gidMappings": MAPPED,
        }
        spec = document(busybox_rootfs, ["cat", "/proc/self/uid_map"], mounts=mounts, linux=joined)
        if taken:
            assert run_document(spec).out.split() == ["0", "100000", "1000"]
        else:
            with pytest.raises(InvalidArgument, match="uidMappings are not those of the user namespace"):
                run_document(spec)


# -- processes --------------------------------------------------------------------------------------------


def test_an_added_process_has_the_personality_and_the_memory_policy(busybox_rootfs: str) -> None:
    linux = {
        "personality": {"domain": "LINUX32"},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0"},
    }
    with bundle.running(busybox_rootfs, linux=linux) as task:
        found = bundle.added(task, "cat /proc/self/personality; head -n 1 /proc/self/numa_maps")
    assert found.lines[0] == "00000008"
    if found.lines[1:]:  # a kernel without NUMA has no such file
        assert "bind:0" in found.lines[1]


@pytest.mark.parametrize(
    ("scheduler", "member"),
    [
        ({"policy": "SCHED_OTHER", "priority": 1}, "priority"),
        ({"policy": "SCHED_FIFO", "priority": 1, "nice": 3}, "nice"),
        ({"policy": "SCHED_BATCH", "runtime": 1}, "runtime"),
        ({"policy": "SCHED_RR", "priority": 1, "period": 1}, "period"),
    ],
)
def test_members_of_another_scheduling_policy(
    busybox_rootfs: str, scheduler: dict[str, Any], member: str
) -> None:
    with pytest.raises(InvalidArgument, match=f"scheduler.{member} has no meaning for {scheduler['policy']}"):
        _run(busybox_rootfs, "true", process={"scheduler": scheduler})


def test_an_affinity_of_exec_is_looked_at_when_the_container_is_made(busybox_rootfs: str) -> None:
    with pytest.raises(InvalidArgument, match=r"process\.execCPUAffinity\.final: a list such as"):
        _run(busybox_rootfs, "true", process={"execCPUAffinity": {"final": "a"}})


# -- limits -----------------------------------------------------------------------------------------------


def test_no_process_besides_the_first(busybox_rootfs: str) -> None:
    result = _run(busybox_rootfs, "true & wait; /bin/true", linux={"resources": {"pids": {"limit": 0}}})
    assert "can't fork" in result.err


def test_limits_without_cgroups(runtime: Runtime, busybox_rootfs: str) -> None:
    limited = runtime.bundle(busybox_rootfs, ["true"], linux={"resources": {"pids": {"limit": 5}}})
    result = runtime("--cgroup-manager", "disabled", "run", "--bundle", limited, "c", check=1)
    assert "linux.resources.pids needs a cgroup, and cgroups are disabled" in result.err
    free = runtime.bundle(busybox_rootfs, ["echo", "made"])
    assert runtime("--cgroup-manager", "disabled", "run", "--bundle", free, "c").out == "made\n"


def test_an_update_of_kernel_memory(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    result = runtime("update", "--kernel-memory", "32m", "c", check=False)
    if result.code == 0:
        place = next(iter(runtime.state("c")["cgroupPaths"].values()))
        assert Path(place, "memory.kmem.limit_in_bytes").read_text() == f"{32 << 20}\n"
    else:
        assert "linux.resources.memory.kernel" in result.err


def _unified_alone() -> bool:
    return list(probe.cgroup_hierarchies()) == [""]


@pytest.mark.skipif(not _unified_alone(), reason="needs cgroup v2 alone")
@pytest.mark.parametrize(("access", "owned"), [("rw", True), ("ro", False)])
def test_a_cgroup_that_is_to_be_divided_belongs_to_who_does_it(
    busybox_rootfs: str, access: str, owned: bool
) -> None:
    for place in (busybox_rootfs, os.path.dirname(busybox_rootfs)):
        os.chmod(place, 0o755)
    script = (
        "cd /sys/fs/cgroup; stat -c %u . cgroup.procs cgroup.subtree_control memory.max; "
        "mkdir sub && echo $$ > sub/cgroup.procs && cat /proc/self/cgroup"
    )
    own = namespaces("pid", "mount", "network", "ipc", "uts", "cgroup", "user")
    changes = {"namespaces": own, "uidMappings": MAPPED, "gidMappings": MAPPED}
    spec = document(busybox_rootfs, ["sh", "-c", script], linux=changes)
    for entry in spec["mounts"]:
        if entry["destination"] == "/sys/fs/cgroup":
            entry["options"] = [
                access,
                *(option for option in entry["options"] if option not in ("ro", "rw")),
            ]
    result = run_document(spec)
    nobody = "65534"
    assert result.lines == (["0", "0", "0", nobody, "0::/sub"] if owned else [nobody] * 4)
