"""What a container gets when nobody says otherwise: the parts of Docker's default runtime document.

In scope: mounts, masked and read-only paths, device rules, search path. The capabilities are in
``oci/capabilities.py``, the system calls in ``oci/seccomp_default.py``. Out of scope: putting a container's
document together. Every function returns a fresh value that the caller may change.

/dev/null, zero, full, random, urandom, tty, console and ptmx are not listed: the runtime makes them in every
/dev (OCI runtime specification, config-linux.md, "Default Devices").
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import DeviceRule, Mount

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What tells about the host, or gives a hold on it. interrupts, thermal_throttle and powercap are side
# channels (GHSA-6fw5-f8r9-fgfm, GHSA-jq35-85cj-fj4p: keystrokes and keys can be read from interrupt counts
# and from power).
_MASKED = """
    /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug
    /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware"""
_READONLY = "/proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger"
_CPUS = "/sys/devices/system/cpu"


def masked_paths() -> list[str]:
    """Paths that are covered, where they exist; those of each CPU that this host has among them."""
    paths = _MASKED.split()
    for name in sorted(os.listdir(_CPUS) if os.path.isdir(_CPUS) else ()):
        throttle = f"{_CPUS}/{name}/thermal_throttle"
        if name.startswith("cpu") and os.path.isdir(throttle):
            paths.append(throttle)
    return paths


def readonly_paths() -> list[str]:
    return _READONLY.split()


def mounts(*, privileged: bool = False, shm_size: int | None = 64 << 20) -> list[Mount]:
    """The kernel's own file systems, in the order in which they are mounted.

    ``shm_size`` in bytes; ``None`` leaves /dev/shm to the caller, who has another container's. A privileged
    container may write to /sys and to its control groups.
    """
    access = "rw" if privileged else "ro"
    result: list[Mount] = [
        _mount("/proc", "proc", "proc", "nosuid noexec nodev"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
        _mount("/dev/pts", "devpts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"),
        _mount("/sys", "sysfs", "sysfs", f"nosuid noexec nodev {access}"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", f"{access} nosuid noexec nodev"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid noexec nodev"),
    ]
    if shm_size is not None:
        result.append(_mount("/dev/shm", "tmpfs", "shm", f"nosuid noexec nodev mode=1777 size={shm_size}"))
    return result


def _mount(destination: str, kind: str, source: str, options: str) -> Mount:
    return {"destination": destination, "type": kind, "source": source, "options": options.split()}


def device_rules(*, privileged: bool = False) -> list[DeviceRule]:
    """The device cgroup: nothing, then what each line allows. A privileged container may use every device.

    mknod of any node stays allowed (``m`` alone), as in Docker since a node that cannot be opened does no
    harm and package managers make them; opening is what the list is about.
    """
    if privileged:
        return [{"allow": True, "access": "rwm"}]
    rules: list[DeviceRule] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    rules += [
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in _DEVICES
    ]
    return [*rules, {"allow": True, "type": "c", "major": _UNIX98_PTY, "access": "rwm"}]


# Documentation/admin-guide/devices.txt: null, zero, full, random, urandom; tty, console, ptmx
_DEVICES = ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2))
_UNIX98_PTY = 136
