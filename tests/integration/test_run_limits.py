"""The resource flags of ``mydocker run``, read from the files of the control group."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import leaks, probe
from support.command import Runner


@dataclass(frozen=True)
class Limit:
    """``flags`` put ``value`` into the file of one controller: v1 name and value, v2 name and value."""

    flags: tuple[str, ...]
    controller: str
    v1: tuple[str, str]
    v2: tuple[str, str]

    def __str__(self) -> str:
        return f"{' '.join(self.flags)} {self.v1[0]}"


def limit(flags: str, controller: str, v1: str, v2: str) -> Limit:
    (one, _, old), (two, _, new) = v1.partition("="), v2.partition("=")
    return Limit(tuple(flags.split()), controller, (one, old), (two, new))


MEGABYTE = 1 << 20
LIMITS = [
    limit("-m 64m", "memory", f"memory.limit_in_bytes={64 * MEGABYTE}", f"memory.max={64 * MEGABYTE}"),
    limit(
        "--memory 64m",
        "memory",
        f"memory.memsw.limit_in_bytes={128 * MEGABYTE}",
        f"memory.swap.max={64 * MEGABYTE}",
    ),
    limit(
        "-m 64m --memory-swap 96m",
        "memory",
        f"memory.memsw.limit_in_bytes={96 * MEGABYTE}",
        f"memory.swap.max={32 * MEGABYTE}",
    ),
    limit(
        "-m 64m --memory-swap -1",
        "memory",
        "memory.memsw.limit_in_bytes=9223372036854771712",
        "memory.swap.max=max",
    ),
    limit(
        "--memory-reservation 32m",
        "memory",
        f"memory.soft_limit_in_bytes={32 * MEGABYTE}",
        f"memory.low={32 * MEGABYTE}",
    ),
    limit("-m 64m --memory-swappiness 7", "memory", "memory.swappiness=7", ""),
    limit(
        "--oom-kill-disable -m 64m",
        "memory",
        "memory.oom_control=oom_kill_disable 1\nunder_oom 0\noom_kill 0",
        "",
    ),
    limit("--cpus 0.5", "cpu", "cpu.cfs_quota_us=50000", "cpu.max=50000 100000"),
    limit("--cpu-period 50000 --cpu-quota 20000", "cpu", "cpu.cfs_quota_us=20000", "cpu.max=20000 50000"),
    limit("--cpu-period 50000 --cpu-quota 20000", "cpu", "cpu.cfs_period_us=50000", "cpu.max=20000 50000"),
    limit("--cpu-shares 512", "cpu", "cpu.shares=512", "cpu.weight=59"),
    limit("-c 2048", "cpu", "cpu.shares=2048", "cpu.weight=174"),
    limit("--cpuset-cpus 0", "cpuset", "cpuset.cpus=0", "cpuset.cpus=0"),
    limit("--cpuset-mems 0", "cpuset", "cpuset.mems=0", "cpuset.mems=0"),
    limit("--pids-limit 20", "pids", "pids.max=20", "pids.max=20"),
    limit("--pids-limit -1", "pids", "pids.max=max", "pids.max=max"),
]


def cgroup_file(pid: int, controller: str, names: tuple[str, str]) -> Path:
    """The file of the cgroup that ``pid`` is in: names[0] where the controller is a v1 one, else names[1]."""
    place = probe.cgroup_of(controller)
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if place and controller in controllers.split(","):
            return Path(place + path, names[0])
        if not place and controllers == "":
            return Path(probe.cgroup_hierarchies()[""] + path, names[1])
    raise AssertionError(f"no cgroup of {controller} for {pid}")


@pytest.mark.parametrize("case", LIMITS, ids=str)
def test_limit_read_from_the_control_group(mydocker: Runner, image: str, case: Limit) -> None:
    if reason := probe.missing_controller(case.controller):
        pytest.skip(reason)
    unified = probe.cgroup_of(case.controller) is None
    if unified and not case.v2[0]:
        pytest.skip(f"cgroup v2 has no {case.v1[0]}")
    _, pid = mydocker.start(image, *case.flags)
    path = cgroup_file(pid, case.controller, (case.v1[0], case.v2[0]))
    if not path.exists():
        pytest.skip(f"this kernel has no {path.name}")
    found = path.read_text().strip()
    expected = case.v2[1] if unified else case.v1[1]
    assert found == expected


def test_blkio_throttle(mydocker: Runner, image: str) -> None:
    if reason := probe.missing_controller("blkio") and probe.missing_controller("io"):
        pytest.skip(reason)
    device = block_device()
    number = f"{os.major(os.stat(device).st_rdev)}:{os.minor(os.stat(device).st_rdev)}"
    place = probe.cgroup_of("blkio")
    flags = {
        "--device-read-bps": ("1mb", "read_bps", "rbps", MEGABYTE),
        "--device-write-bps": ("2mb", "write_bps", "wbps", 2 * MEGABYTE),
        "--device-read-iops": ("40", "read_iops", "riops", 40),
        "--device-write-iops": ("50", "write_iops", "wiops", 50),
    }
    words = [word for flag, values in flags.items() for word in (flag, f"{device}:{values[0]}")]
    _, pid = mydocker.start(image, *words)
    if place:
        for _, name, _, value in flags.values():
            path = cgroup_file(pid, "blkio", (f"blkio.throttle.{name}_device", ""))
            assert path.read_text().strip() == f"{number} {value}", name
    else:
        limits = cgroup_file(pid, "io", ("", "io.max")).read_text().split()
        assert limits == [number, *(f"{key}={value}" for _, _, key, value in flags.values())]


def test_blkio_weight(mydocker: Runner, image: str) -> None:
    """BFQ has the only weights that a current kernel knows; without it the flag is refused by name."""
    device = block_device()
    flags = ("--blkio-weight", "300", "--blkio-weight-device", f"{device}:400")
    result = mydocker("run", "-d", *flags, image, "sleep", "1000", check=False)
    if result.code:
        assert result.code == 125
        assert "weight" in result.err
        return
    pid = mydocker.inspect(result.line)["State"]["Pid"]
    path = cgroup_file(
        pid, "blkio" if probe.cgroup_of("blkio") else "io", ("blkio.bfq.weight", "io.bfq.weight")
    )
    assert path.read_text().split()[:1] in (["300"], ["default"])


def test_cgroup_parent(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image, "--cgroup-parent", "/mydocker/of-a-test")
    paths = {line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()}
    assert f"/mydocker/of-a-test/{container}" in paths
    mydocker("rm", "-f", container)
    leaks.remove_cgroups("/mydocker/of-a-test")


def block_device() -> str:
    """A whole disk of this machine; limits are set on it for a container that does no input or output."""
    for name in sorted(os.listdir("/sys/block")):
        path = f"/dev/{name}"
        if not name.startswith(("loop", "ram", "zram")) and os.path.exists(path):
            return path
    pytest.skip("this machine has no block device to throttle")


def test_device_rule(mydocker: Runner, image: str) -> None:
    """A rule lets a node be used that the container makes itself; without it the same node is refused."""
    if not os.path.exists("/dev/loop0"):
        pytest.skip("needs a loop device, as one that no container may use by default")
    script = "mknod /tmp/loop b 7 0 && head -c 1 /tmp/loop > /dev/null && echo open"
    refused = mydocker("run", "--rm", image, "sh", "-c", script, check=False)
    assert "Operation not permitted" in refused.err
    allowed = mydocker("run", "--rm", "--device-cgroup-rule", "b 7:* rmw", image, "sh", "-c", script)
    assert allowed.line == "open"
