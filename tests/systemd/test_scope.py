"""``--systemd-cgroup``: a container is a scope of systemd; limits are read from systemd and the kernel."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mydocker.linux import bpf, systemd
from mydocker.linux.dbus import BusError
from support import bundle, command
from support.oci import Runtime

CGROUPS = Path("/sys/fs/cgroup")
NAME = iter(range(1, 1000))


@pytest.fixture(autouse=True)
def no_unit_left() -> Iterator[None]:
    yield
    assert _units("mdtest*") == []
    assert list(CGROUPS.glob("**/mdtest*.scope")) == []


def _units(pattern: str) -> list[str]:
    listed = command.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", pattern]).out
    return [line.split()[0] for line in listed.splitlines()]


def _show(unit: str, *names: str) -> dict[str, str]:
    text = command.run(["systemctl", "show", f"--property={','.join(names)}", unit]).out
    return dict(line.split("=", 1) for line in text.splitlines())


def _place() -> tuple[str, str]:
    """A cgroupsPath in system.slice, and the unit that it is."""
    name = f"c{next(NAME)}"
    return f"system.slice:mdtest:{name}", f"mdtest-{name}.scope"


def _document(rootfs: str, args: list[str], place: str, **changes: Any) -> Any:
    document = bundle.document(rootfs, args, **changes)
    document["linux"]["cgroupsPath"] = place
    return document


def _start(runtime: Runtime, rootfs: str, place: str, **changes: Any) -> dict[str, Any]:
    runtime.start("c", runtime.bundle_of(_document(rootfs, ["sleep", "1000"], place, **changes)))
    return runtime.state("c")


def _wait_for(condition: Callable[[], bool], patience: float = 60) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_container_is_a_scope(runtime: Runtime, busybox_rootfs: str) -> None:
    place, unit = _place()
    state = _start(runtime, busybox_rootfs, place)
    assert Path(f"/proc/{state['pid']}/cgroup").read_text() == f"0::/system.slice/{unit}\n"
    assert (CGROUPS / "system.slice" / unit / "cgroup.procs").read_text() == f"{state['pid']}\n"
    shown = _show(unit, "ActiveState", "Slice", "Delegate", "TasksCurrent", "MemoryAccounting", "Description")
    assert shown == {
        "ActiveState": "active",
        "Slice": "system.slice",
        "Delegate": "yes",
        "TasksCurrent": "1",
        "MemoryAccounting": "yes",
        "Description": f"mydocker container {unit.removesuffix('.scope')}",
    }
    inside = runtime("exec", "c", "cat", "/proc/self/cgroup").out
    assert inside == "0::/\n"  # a cgroup namespace of its own, and in the same cgroup
    runtime("kill", "c", "KILL")
    _wait_for(lambda: runtime.state("c")["status"] == "stopped")
    runtime("delete", "c")


def test_limits_are_told_to_systemd_and_to_the_kernel(runtime: Runtime, busybox_rootfs: str) -> None:
    place, unit = _place()
    resources = {
        "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20},
        "cpu": {"shares": 512, "quota": 12345, "period": 50000, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 33},
    }
    _start(runtime, busybox_rootfs, place, linux={"resources": resources})
    shown = _show(
        *(unit, "MemoryMax", "MemoryLow", "CPUWeight", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec"),
        *("TasksMax", "AllowedCPUs", "AllowedMemoryNodes", "MemorySwapMax"),
    )
    weight = (CGROUPS / "system.slice" / unit / "cpu.weight").read_text().strip()
    assert shown == {
        "MemoryMax": str(64 << 20),
        "MemoryLow": str(32 << 20),
        "MemorySwapMax": str(32 << 20),
        "CPUWeight": weight,
        "CPUQuotaPerSecUSec": "250ms",
        "CPUQuotaPeriodUSec": "50ms",
        "TasksMax": "33",
        "AllowedCPUs": "0-1",
        "AllowedMemoryNodes": "0",
    }
    assert _files(unit, "memory.max", "cpu.max", "pids.max", "cpuset.cpus") == [
        *(str(64 << 20), "12345 50000", "33", "0-1"),
    ]


def _files(unit: str, *names: str) -> list[str]:
    return [(CGROUPS / "system.slice" / unit / name).read_text().strip() for name in names]


def test_update_changes_both(runtime: Runtime, busybox_rootfs: str) -> None:
    place, unit = _place()
    _start(runtime, busybox_rootfs, place)
    runtime("update", "--memory", "100m", "--pids-limit", "17", "--cpu-quota", "20000", "c")
    assert _show(unit, "MemoryMax", "TasksMax", "CPUQuotaPerSecUSec") == {
        "MemoryMax": str(100 << 20),
        "TasksMax": "17",
        "CPUQuotaPerSecUSec": "200ms",
    }
    assert _files(unit, "memory.max", "pids.max", "cpu.max") == [str(100 << 20), "17", "20000 100000"]
    # Nothing of it is lost when systemd sets everything anew.
    command.run(["systemctl", "daemon-reload"])
    command.run(["systemctl", "set-property", "--runtime", unit, "CPUWeight=42"])
    assert _files(unit, "memory.max", "pids.max", "cpu.weight") == [str(100 << 20), "17", "42"]
    too_little = b'{"memory": {"limit": 4096, "checkBeforeUpdate": true}}'
    result = runtime("update", "--resources", "-", "c", check=1, input=too_little)
    assert "is not above what the cgroup" in result.err
    assert _show(unit, "MemoryMax") == {"MemoryMax": str(100 << 20)}


def test_one_process_is_enough(runtime: Runtime, busybox_rootfs: str) -> None:
    place, unit = _place()
    document = _document(busybox_rootfs, ["sh", "-c", "sleep 0 & exit 0"], place)
    document["linux"]["resources"]["pids"] = {"limit": 1}
    result = runtime("run", "--bundle", runtime.bundle_of(document), "c", check=False)
    assert "can't fork" in result.err
    assert unit not in _units("mdtest*")


def test_devices(runtime: Runtime, busybox_rootfs: str) -> None:
    place, unit = _place()
    loop, kmsg = {"type": "c", "major": 10, "minor": 237}, {"type": "c", "major": 1, "minor": 11}
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "access": "rw"},
        {"allow": True, **kmsg, "access": "r"},
    ]
    nodes = [{"path": "/dev/loop-control", **loop}, {"path": "/dev/kmsg", **kmsg}]
    _start(runtime, busybox_rootfs, place, linux={"resources": {"devices": rules}, "devices": nodes})
    assert _show(unit, "DevicePolicy") == {"DevicePolicy": "strict"}
    allowed = command.run(["systemctl", "show", "--property=DeviceAllow", "--value", unit]).out
    assert "char-10 rw" in allowed
    assert "/dev/char/1:11 r" in allowed
    script = "(: <> /dev/loop-control) && echo loop; (: > /dev/kmsg) 2>&1; (: > /dev/null) && echo null"
    for _ in range(2):  # and again when systemd has set its own rules anew
        out = runtime("exec", "c", "sh", "-c", script).out
        assert re.fullmatch("loop\n.*/dev/kmsg: Operation not permitted\nnull\n", out), out
        command.run(["systemctl", "daemon-reload"])
    descriptor = os.open(CGROUPS / "system.slice" / unit, os.O_PATH)
    try:
        assert bpf.query(descriptor)
    finally:
        os.close(descriptor)


def test_everything_but_one_device(runtime: Runtime, busybox_rootfs: str) -> None:
    """systemd has no words for that; the kernel is told all the same."""
    place, unit = _place()
    zero = {"type": "c", "major": 1, "minor": 5}
    rules = [{"allow": True, "access": "rwm"}, {"allow": False, **zero, "access": "r"}]
    _start(runtime, busybox_rootfs, place, linux={"resources": {"devices": rules}})
    assert _show(unit, "DevicePolicy") == {"DevicePolicy": "auto"}
    script = "head -c 1 /dev/full | wc -c; head -c 1 /dev/zero || echo no"
    assert runtime("exec", "c", "sh", "-c", script).out == "1\nno\n"


def test_pause_resume_kill_and_force(runtime: Runtime, busybox_rootfs: str) -> None:
    place, unit = _place()
    _start(runtime, busybox_rootfs, place)
    runtime("pause", "c")
    assert runtime.state("c")["status"] == "paused"
    assert _files(unit, "cgroup.freeze") == ["1"]
    runtime("resume", "c")
    assert runtime("ps", "--format", "json", "c").json() == [runtime.state("c")["pid"]]
    assert '"pids":{"current":1' in runtime("events", "--stats", "c").out.replace(" ", "")
    runtime("pause", "c")
    runtime("delete", "--force", "c")
    assert runtime.ids() == []


def test_a_slice_that_is_not_there(runtime: Runtime, busybox_rootfs: str) -> None:
    document = _document(busybox_rootfs, ["cat", "/proc/self/cgroup"], "mdtest-a.slice:mdtest:x")
    document["linux"]["namespaces"] = [n for n in document["linux"]["namespaces"] if n["type"] != "cgroup"]
    result = runtime("run", "--bundle", runtime.bundle_of(document), "c")
    assert result.out == "0::/mdtest.slice/mdtest-a.slice/mdtest-x.scope\n"
    subprocess.run(["systemctl", "stop", "mdtest.slice"], check=True)


def test_without_a_path_it_is_named_after_the_container(runtime: Runtime, busybox_rootfs: str) -> None:
    document = bundle.document(busybox_rootfs, ["cat", "/proc/self/cgroup"])
    del document["linux"]["cgroupsPath"]
    document["linux"]["namespaces"] = [n for n in document["linux"]["namespaces"] if n["type"] != "cgroup"]
    result = runtime("run", "--bundle", runtime.bundle_of(document), "c")
    assert result.out == "0::/system.slice/mydocker-runtime-c.scope\n"
    assert _units("mydocker-runtime*") == []


def test_annotations_are_properties(runtime: Runtime, busybox_rootfs: str) -> None:
    place, unit = _place()
    annotations = {
        "org.systemd.property.TimeoutStopSec": "7",
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.After": "['basic.target']",
        "org.systemd.property.Description": "'a container'",
    }
    _start(runtime, busybox_rootfs, place, annotations=annotations)
    shown = _show(unit, "TimeoutStopUSec", "CollectMode", "After", "Description")
    assert (shown["TimeoutStopUSec"], shown["CollectMode"]) == ("7s", "inactive-or-failed")
    assert shown["Description"] == "a container"
    assert "basic.target" in shown["After"].split()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": {"org.systemd.property.NoSuchThing": "1"}}, "systemd cannot start the unit mdtest-"),
        ({"annotations": {"org.systemd.property.After": "[x"}}, "annotation org.systemd.property.After=[x: "),
        (
            {"linux": {"cgroupsPath": "/a/b"}},
            'of format "slice:prefix:name" for systemd cgroups, got "/a/b"',
        ),
        ({"linux": {"cgroupsPath": "no:mdtest:x"}}, "'no' is not the name of a slice"),
        ({"linux": {"cgroupsPath": "a--b.slice:mdtest:x"}}, "systemd cannot start the unit mdtest-x.scope: "),
        ({"linux": {"resources": {"cpu": {"cpus": "900"}}}}, "cpuset.cpus"),
        ({"process": {"args": ["/no/such"]}}, "no/such"),
    ],
)
def test_what_is_refused_leaves_nothing(
    runtime: Runtime, busybox_rootfs: str, changes: dict[str, Any], message: str
) -> None:
    document = _document(busybox_rootfs, ["true"], _place()[0])
    bundle.merge(document, changes)
    result = runtime("run", "--bundle", runtime.bundle_of(document), "c", check=1)
    assert message in result.err
    assert runtime.ids() == []


def test_a_failed_unit_of_the_name_is_in_nobodys_way(runtime: Runtime, busybox_rootfs: str) -> None:
    """A container that systemd had to end leaves a failed unit, and that goes with it by ``delete``."""
    place, unit = _place()
    annotations = {"org.systemd.property.RuntimeMaxSec": "1", "org.systemd.property.TimeoutStopSec": "1"}
    directory = runtime.bundle_of(
        _document(busybox_rootfs, ["sleep", "1000"], place, annotations=annotations)
    )
    runtime.start("c", directory)
    _wait_for(lambda: _show(unit, "ActiveState") == {"ActiveState": "failed"})
    assert _show(unit, "Result") == {"Result": "timeout"}
    assert runtime.state("c")["status"] == "stopped"
    runtime.create("d", directory)  # takes the unit over
    runtime("delete", "--force", "d")
    runtime("delete", "c")


def test_a_start_that_never_comes_is_called_off() -> None:
    """The unit waits for one that never becomes active: the service that these tests are."""
    with systemd.Manager() as manager, subprocess.Popen(["sleep", "1000"]) as process:
        manager._bus._socket.settimeout(1)
        properties = [("PIDs", ("au", [process.pid])), ("After", ("as", ["guest-tests.service"]))]
        with pytest.raises(TimeoutError):
            manager.start_transient("mdtest-late.scope", properties)
        process.kill()


def test_a_name_that_is_taken(runtime: Runtime, busybox_rootfs: str) -> None:
    place, _ = _place()
    state = _start(runtime, busybox_rootfs, place)
    other = runtime.bundle_of(_document(busybox_rootfs, ["true"], place))
    result = runtime("run", "--bundle", other, "d", check=1)
    assert "already" in result.err
    assert runtime.state("c")["pid"] == state["pid"]
    assert runtime.state("c")["status"] == "running"


def test_systemd_over_the_system_bus() -> None:
    with systemd.Manager(private="/nowhere") as bus, systemd.Manager() as direct:
        assert bus.version() == direct.version() > 200
        assert bus.control_group("guest-tests.service") == "/system.slice/guest-tests.service"
        with subprocess.Popen(["sleep", "1000"]) as process:
            properties = [("PIDs", ("au", [process.pid])), ("Delegate", ("b", True))]
            bus.start_transient("mdtest-bus.scope", properties)
            assert bus.control_group("mdtest-bus.scope") == "/system.slice/mdtest-bus.scope"
            with pytest.raises(BusError, match=r"mdtest-bus\.scope"):
                bus.start_transient("mdtest-bus.scope", properties)
            bus.stop("mdtest-bus.scope")
            assert process.wait(60) == -15
        bus.stop("mdtest-bus.scope")
        with pytest.raises(BusError, match=r"mdtest-bus\.scope"):
            bus.control_group("mdtest-bus.scope")


def test_features(runtime: Runtime) -> None:
    assert runtime("features").json()["linux"]["cgroup"]["systemd"] is True
