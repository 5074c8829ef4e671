"""What systemd is told of a container's limits and annotations."""

from __future__ import annotations

from typing import Any

import pytest

from mydocker.errors import InvalidArgument
from mydocker.runtime import cgroup_systemd, systemd_properties

NO_LIMIT = (1 << 64) - 1


def _properties(resources: Any, *, unified: bool = True, version: int = 252) -> dict[str, Any]:
    found = systemd_properties.of_resources(resources, unified=unified, version=lambda: version, fresh=False)
    return {name: value for name, (_, value) in found}


@pytest.mark.parametrize(
    ("resources", "properties"),
    [
        ({}, {}),
        ({"memory": {"limit": 1 << 20}}, {"MemoryMax": 1 << 20}),
        ({"memory": {"limit": -1}}, {"MemoryMax": NO_LIMIT, "MemorySwapMax": NO_LIMIT}),
        ({"memory": {"limit": 5, "swap": 7}}, {"MemoryMax": 5, "MemorySwapMax": 2}),
        ({"memory": {"limit": 5, "swap": -1}}, {"MemoryMax": 5, "MemorySwapMax": NO_LIMIT}),
        ({"memory": {"reservation": 5}}, {"MemoryLow": 5}),
        ({"cpu": {"shares": 1024}}, {"CPUWeight": 100}),
        ({"cpu": {"quota": 50000}}, {"CPUQuotaPerSecUSec": 500_000}),
        (
            {"cpu": {"quota": 12345, "period": 50000}},
            {"CPUQuotaPerSecUSec": 250_000, "CPUQuotaPeriodUSec": 50000},
        ),
        ({"cpu": {"quota": -1}}, {"CPUQuotaPerSecUSec": NO_LIMIT}),
        ({"cpu": {"cpus": "0-1,8", "mems": "0"}}, {"AllowedCPUs": b"\3\1", "AllowedMemoryNodes": b"\1"}),
        ({"pids": {"limit": 9}}, {"TasksMax": 9}),
        ({"pids": {"limit": -1}}, {"TasksMax": NO_LIMIT}),
        (
            {
                "unified": {
                    "memory.max": "max",
                    "memory.high": "4096",
                    "pids.max": "7",
                    "io.max": "8:0 rbps=1",
                }
            },
            {"MemoryMax": NO_LIMIT, "MemoryHigh": 4096, "TasksMax": 7},
        ),
        (
            {"unified": {"memory.low": "1M", "cpu.weight": "5", "cpuset.cpus": "1"}},
            {"CPUWeight": 5, "AllowedCPUs": b"\2"},
        ),
        ({"unified": {"cpu.max": "max"}}, {"CPUQuotaPerSecUSec": NO_LIMIT, "CPUQuotaPeriodUSec": 100_000}),
        (
            {"unified": {"cpu.max": "1000 10000"}},
            {"CPUQuotaPerSecUSec": 100_000, "CPUQuotaPeriodUSec": 10_000},
        ),
    ],
)
def test_limits(resources: Any, properties: dict[str, Any]) -> None:
    assert _properties(resources) == properties


def test_limits_on_a_host_with_v1() -> None:
    resources = {
        "memory": {"limit": 5, "swap": 7},
        "cpu": {"shares": 512},
        "blockIO": {"weight": 20},
        "pids": {"limit": 3},
    }
    found = _properties(resources, unified=False)
    assert found == {"MemoryLimit": 5, "CPUShares": 512, "BlockIOWeight": 20, "TasksMax": 3}


def test_an_older_systemd_is_not_told_what_it_does_not_know() -> None:
    cpu = {"cpu": {"cpus": "0", "quota": 1000, "period": 10000}}
    assert _properties(cpu, version=241) == {"CPUQuotaPerSecUSec": 100_000}
    assert _properties(cpu, version=242) == {"CPUQuotaPerSecUSec": 100_000, "CPUQuotaPeriodUSec": 10_000}


def test_devices() -> None:
    deny = {"allow": False, "access": "rwm"}
    rules = [
        deny,
        {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rw"},
        {"allow": True, "type": "b", "major": 8, "access": "r"},
    ]
    found = _properties({"devices": rules})
    assert found["DevicePolicy"] == "strict"
    assert found["DeviceAllow"][:2] == [("/dev/char/10:200", "rw"), ("block-8", "r")]
    assert ("char-*", "m") in found["DeviceAllow"]
    assert ("/dev/char/1:3", "rwm") in found["DeviceAllow"]
    assert ("char-136", "rwm") in found["DeviceAllow"]


@pytest.mark.parametrize(
    "rules",
    [
        [{"allow": True, "access": "rwm"}],
        [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 1, "minor": 3}],
        [{"allow": True, "type": "c", "major": 1}, {"allow": False, "type": "c", "major": 1, "minor": 9}],
        [{"allow": True, "type": "c", "minor": 4}],
    ],
)
def test_devices_that_it_has_no_words_for(rules: Any) -> None:
    assert _properties({"devices": rules}) == {"DevicePolicy": "auto", "DeviceAllow": []}


def test_annotations() -> None:
    annotations = {
        "org.systemd.property.TimeoutStopUSec": "uint64 5",
        "org.systemd.property.RuntimeMaxSec": "1.5",
        "org.systemd.property.JobTimeoutSec": "uint32 2",
        "org.systemd.property.CollectMode": "'inactive'",
        "other": "x",
    }
    assert systemd_properties.of_annotations(annotations) == [
        ("TimeoutStopUSec", ("t", 5)),
        ("RuntimeMaxUSec", ("t", 1_500_000)),
        ("JobTimeoutUSec", ("t", 2_000_000)),
        ("CollectMode", ("s", "inactive")),
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("", "1", "is not the name of a property"),
        ("Not-A-Name", "1", "is not the name of a property"),
        ("After", "x", "After=x: 'x' is neither"),
        ("RuntimeMaxSec", "'1'", "a number of seconds is wanted"),
        ("RuntimeMaxSec", "-1", "a number of seconds is wanted"),
    ],
)
def test_annotations_that_are_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        systemd_properties.of_annotations({f"org.systemd.property.{name}": value})


@pytest.mark.parametrize(
    ("place", "unit"),
    [
        ("a.slice:runc:x", ("a.slice", "runc-x.scope")),
        (":runc:x", ("system.slice", "runc-x.scope")),
        ("a.slice::x", ("a.slice", "x.scope")),
    ],
)
def test_units(place: str, unit: tuple[str, str]) -> None:
    assert cgroup_systemd.unit_of(place) == unit


@pytest.mark.parametrize(
    "place", ["", "/a/b", "a:b", "a.slice:b:c:d", "a:b:c", "a/b.slice:c:d", ":a:", ":a:b/c", ":a:b.slice"]
)
def test_paths_that_are_no_unit(place: str) -> None:
    with pytest.raises(InvalidArgument):
        cgroup_systemd.unit_of(place)
