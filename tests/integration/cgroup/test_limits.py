"""Every limit of ``linux.resources``, read back from the file that it became; and what is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from mydocker.errors import Conflict, InvalidArgument, NotSupported
from mydocker.linux.cgroup.hierarchy import discover
from support.cgroups import (
    MEGABYTE,
    PARENT,
    Member,
    controllers,
    eat_and_wait,
    need,
    usage,
    values,
)
from support.waiting import wait_until

if TYPE_CHECKING:
    from mydocker.runtime.cgroup import Cgroup


@pytest.mark.parametrize(
    ("controller", "resources", "v1", "v2"),
    [
        (
            "memory",
            {"memory": {"limit": 64 * MEGABYTE, "swap": 96 * MEGABYTE, "reservation": 32 * MEGABYTE}},
            {
                "memory.limit_in_bytes": str(64 * MEGABYTE),
                "memory.memsw.limit_in_bytes": str(96 * MEGABYTE),
                "memory.soft_limit_in_bytes": str(32 * MEGABYTE),
            },
            {
                "memory.max": str(64 * MEGABYTE),
                "memory.swap.max": str(32 * MEGABYTE),
                "memory.low": str(32 * MEGABYTE),
            },
        ),
        ("memory", {"memory": {"swappiness": 7}}, {"memory.swappiness": "7"}, None),
        (
            "memory",
            {"memory": {"disableOOMKiller": True}},
            {"memory.oom_control": "oom_kill_disable 1\nunder_oom 0\noom_kill 0"},
            None,
        ),
        (
            "cpu",
            {"cpu": {"shares": 512, "quota": 20000, "period": 50000, "burst": 10000}},
            {
                "cpu.shares": "512",
                "cpu.cfs_quota_us": "20000",
                "cpu.cfs_period_us": "50000",
                "cpu.cfs_burst_us": "10000",
            },
            {"cpu.weight": "59", "cpu.max": "20000 50000", "cpu.max.burst": "10000"},
        ),
        ("cpu", {"cpu": {"quota": -1}}, {"cpu.cfs_quota_us": "-1"}, {"cpu.max": "max 100000"}),
        ("cpu", {"cpu": {"idle": 1}}, {"cpu.idle": "1"}, {"cpu.idle": "1"}),
        (
            "cpuset",
            {"cpu": {"cpus": "0", "mems": "0"}},
            {"cpuset.cpus": "0", "cpuset.mems": "0"},
            {"cpuset.cpus": "0", "cpuset.mems": "0"},
        ),
        ("pids", {"pids": {"limit": 20}}, {"pids.max": "20"}, {"pids.max": "20"}),
        ("pids", {"pids": {"limit": -1}}, {"pids.max": "max"}, {"pids.max": "max"}),
        ("pids", {"pids": {"limit": 0}}, {"pids.max": "1"}, {"pids.max": "1"}),
        (
            "memory",
            {"memory": {"kernelTCP": 32 * MEGABYTE}},
            {"memory.kmem.tcp.limit_in_bytes": str(32 * MEGABYTE)},
            None,
        ),
    ],
)
def test_limits(
    prepare: Callable[..., Cgroup],
    controller: str,
    resources: dict[str, Any],
    v1: dict[str, str],
    v2: dict[str, str] | None,
) -> None:
    expected: dict[str, str] | None = v1
    if need(controller):
        expected = v2
    if expected is None:
        with pytest.raises(NotSupported, match="cgroup v2"):
            prepare(**resources)
        return
    found = values(prepare(**resources))
    assert {name: value for name, value in found.items() if name in expected} == expected
    assert found.keys() - expected.keys() <= {"devices.list", "0 (BPF_CGROUP_DEVICE)"}


def test_a_limit_on_kernel_memory_holds_or_is_refused(prepare: Callable[..., Cgroup]) -> None:
    need("memory")
    try:
        found = values(prepare(memory={"kernel": 32 * MEGABYTE}))
    except NotSupported:
        with pytest.raises(NotSupported, match=r"linux\.resources\.memory\.kernel|memory\.kmem"):
            prepare(memory={"kernel": 32 * MEGABYTE})
    else:
        assert found["memory.kmem.limit_in_bytes"] == str(32 * MEGABYTE)
    prepare(memory={"kernel": -1, "kernelTCP": -1})


def test_weight_and_throttles_of_block_devices(prepare: Callable[..., Cgroup]) -> None:
    unified = need("blkio")
    major, minor = block_device()
    rate = {"major": major, "minor": minor, "rate": MEGABYTE}
    found = values(
        prepare(blockIO={"throttleReadBpsDevice": [rate], "throttleWriteIOPSDevice": [{**rate, "rate": 50}]})
    )
    if unified:
        assert found["io.max"] == f"{major}:{minor} rbps={MEGABYTE} wbps=max riops=max wiops=50"
    else:
        assert found["blkio.throttle.read_bps_device"] == f"{major}:{minor} {MEGABYTE}"
        assert found["blkio.throttle.write_iops_device"] == f"{major}:{minor} 50"


def test_a_block_weight_is_set_or_its_file_is_named(prepare: Callable[..., Cgroup]) -> None:
    unified = need("blkio")
    probing = prepare()
    names = ["io.bfq.weight", "io.weight"] if unified else ["blkio.bfq.weight"]
    file = next((name for name in names if os.path.exists(f"{blkio(probing)}/{name}")), None)
    if file is None:
        with pytest.raises(NotSupported, match=names[-1].replace(".", r"\.")):
            prepare(blockIO={"weight": 500})
        return
    expected = {"blkio.bfq.weight": "500", "io.bfq.weight": "default 500", "io.weight": "default 4950"}
    assert values(prepare(blockIO={"weight": 500}))[file] == expected[file]


def blkio(cgroup: Cgroup) -> str:
    """The directory that limits block devices."""
    return (
        next((path for name, path in cgroup.paths().items() if "blkio" in name), "")
        or cgroup.paths()["unified"]
    )


def block_device() -> tuple[int, int]:
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "zram")):
            with open(f"/sys/block/{name}/dev") as handle:
                major, _, minor = handle.read().partition(":")
            return int(major), int(minor)
    pytest.skip("this machine has no block device to throttle")


def test_huge_pages(prepare: Callable[..., Cgroup]) -> None:
    unified = need("hugetlb")
    limit = [{"pageSize": "2MB", "limit": 4 * MEGABYTE}]
    if not os.path.exists("/sys/kernel/mm/hugepages/hugepages-2048kB"):
        with pytest.raises(NotSupported, match=r"hugetlb\.2MB"):
            prepare(hugepageLimits=limit)
        return
    found = values(prepare(hugepageLimits=limit))
    assert found["hugetlb.2MB.max" if unified else "hugetlb.2MB.limit_in_bytes"] == str(4 * MEGABYTE)


def test_raw_files_of_v2(prepare: Callable[..., Cgroup]) -> None:
    if not any(h.unified for h in discover()):
        with pytest.raises(NotSupported, match=r"unified needs cgroup v2"):
            prepare(unified={"cgroup.max.depth": "3"})
        return
    assert values(prepare(unified={"cgroup.max.depth": "3"}))["cgroup.max.depth"] == "3"
    with pytest.raises(InvalidArgument, match="not the name of a cgroup file"):
        prepare(unified={"../cgroup.max.depth": "3"})
    with pytest.raises(InvalidArgument, match=r"cgroup\.max\.depth to 'deep'"):
        prepare(unified={"cgroup.max.depth": "deep"})


def test_memory_and_swap_go_up_and_down_together(prepare: Callable[..., Cgroup]) -> None:
    unified = need("memory")
    cgroup = prepare(memory={"limit": 64 * MEGABYTE, "swap": 64 * MEGABYTE})
    for limit, swap in ((128, 256), (32, 32), (200, 200), (16, 500)):
        cgroup.update({"memory": {"limit": limit * MEGABYTE, "swap": swap * MEGABYTE}})
        found = values(cgroup)
        if unified:
            read = (int(found["memory.max"]), int(found["memory.max"]) + int(found["memory.swap.max"]))
        else:
            read = (int(found["memory.limit_in_bytes"]), int(found["memory.memsw.limit_in_bytes"]))
        assert read == (limit * MEGABYTE, swap * MEGABYTE)
    cgroup.update({"memory": {"limit": -1}})
    stats = cgroup.stats().memory
    assert stats is not None
    assert (stats.limit, stats.swap_limit) == (None, None)


def test_quota_and_period_go_up_and_down_together(prepare: Callable[..., Cgroup]) -> None:
    unified = need("cpu")
    cgroup = prepare(cpu={"quota": 50000, "period": 100000})
    for quota, period, burst in ((2000, 4000, 1000), (400000, 1000000, 300000), (1000, 1000, 0)):
        cgroup.update({"cpu": {"quota": quota, "period": period, "burst": burst}})
        found = values(cgroup)
        if unified:
            assert (found["cpu.max"], found["cpu.max.burst"]) == (f"{quota} {period}", str(burst))
        else:
            read = [int(found[f"cpu.cfs_{name}_us"]) for name in ("quota", "period", "burst")]
            assert read == [quota, period, burst]
    cgroup.update({"cpu": {"period": 50000}})
    found = values(cgroup)
    assert (found["cpu.max"] if unified else found["cpu.cfs_period_us"]) in ("1000 50000", "50000")


def test_a_limit_below_what_is_used(prepare: Callable[..., Cgroup]) -> None:
    need("memory")
    cgroup = prepare(memory={"limit": 64 * MEGABYTE})
    member = Member(cgroup, lambda: eat_and_wait(24 * MEGABYTE))
    try:
        wait_until(lambda: usage(cgroup) > 20 * MEGABYTE)
        with pytest.raises(Conflict, match=r"memory limit 4194304 is not above"):
            cgroup.update({"memory": {"limit": 4 * MEGABYTE, "checkBeforeUpdate": True}})
        stats = cgroup.stats().memory
        assert stats is not None
        assert stats.limit == 64 * MEGABYTE
    finally:
        member.end()


@pytest.mark.parametrize(
    ("controller", "resources", "message"),
    [
        ("cpuset", {"cpu": {"cpus": "9999"}}, r"cpuset\.cpus to '9999': the kernel refuses"),
        ("cpuset", {"cpu": {"mems": "zero"}}, r"cpuset\.mems to 'zero': the kernel refuses"),
        ("cpu", {"cpu": {"quota": 1, "period": 100000}}, r"cpu\..* to '1.*the kernel refuses"),
        ("cpu", {"cpu": {"shares": 1}}, "the minimum allowed cpu-shares is 2"),
        ("memory", {"memory": {"limit": 100 * MEGABYTE, "swap": MEGABYTE}}, r"is below the memory limit"),
    ],
)
def test_what_the_kernel_refuses(
    prepare: Callable[..., Cgroup], controller: str, resources: dict[str, Any], message: str
) -> None:
    need(controller)
    with pytest.raises(InvalidArgument, match=message):
        prepare(**resources)
    assert not any(os.path.exists(f"{h.mount}{PARENT}/0") for h in discover())


def test_a_controller_that_the_host_lacks_is_named(prepare: Callable[..., Cgroup]) -> None:
    resources: dict[str, Any] = {"rdma": {"mlx5": {"hcaHandles": 3}}}
    if "rdma" in controllers():
        # no such adapter: ENODEV or EINVAL, as the kernel likes
        with pytest.raises((InvalidArgument, NotSupported), match=r"rdma\.max to 'mlx5 hca_handle=3'"):
            prepare(**resources)
    else:
        with pytest.raises(NotSupported, match="no cgroup controller rdma"):
            prepare(**resources)
