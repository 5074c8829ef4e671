from __future__ import annotations

import os

from mydocker.oci import defaults


def test_mounts() -> None:
    mounts = {mount["destination"]: mount for mount in defaults.mounts()}
    assert next(iter(mounts)) == "/proc"
    assert list(mounts).index("/dev") < list(mounts).index("/dev/pts") < list(mounts).index("/dev/shm")
    assert "ro" in mounts["/sys"]["options"]
    assert "ro" in mounts["/sys/fs/cgroup"]["options"]
    assert f"size={64 << 20}" in mounts["/dev/shm"]["options"]
    assert all("nosuid" in mount["options"] for mount in mounts.values())
    assert "/dev/shm" not in [mount["destination"] for mount in defaults.mounts(shm_size=None)]
    assert all("ro" not in mount["options"] for mount in defaults.mounts(privileged=True))


def test_paths_are_fresh_lists() -> None:
    first = defaults.masked_paths()
    assert {"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/interrupts"} <= set(
        first
    )
    first.clear()
    assert defaults.masked_paths()
    assert "/proc/sys" in defaults.readonly_paths()
    throttled = [path for path in defaults.masked_paths() if "thermal_throttle" in path]
    assert all(os.path.isdir(path) for path in throttled)


def test_devices_are_denied_first() -> None:
    rules = defaults.device_rules()
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert all(rule["allow"] for rule in rules[1:])
    readable = {(rule["major"], rule.get("minor")) for rule in rules[1:] if rule["access"] == "rwm"}
    null, zero, urandom, tty, ptmx, kmsg, mem, fuse = (
        (1, 3),
        (1, 5),
        (1, 9),
        (5, 0),
        (5, 2),
        (1, 11),
        (1, 1),
        (10, 229),
    )
    assert {null, zero, urandom, tty, ptmx} <= readable
    assert not {kmsg, mem, fuse} & readable
    assert defaults.device_rules(privileged=True) == [{"allow": True, "access": "rwm"}]
