"""The engine and its host, in the shapes of ``GET /version`` and ``GET /info`` of the Docker Engine API."""

from __future__ import annotations

import os
import platform
import socket

from .. import __version__
from ..container import logs
from ..container.state import Status
from ..container.store import Store
from ..errors import NotFound
from ..linux.cgroup import hierarchy
from ..monitor.timestamp import now
from ..network import above

_GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def version() -> dict[str, object]:
    host = os.uname()
    architecture = _GO_ARCHITECTURES.get(host.machine, host.machine)
    return {
        "Platform": {"Name": "mydocker"},
        "Components": [
            {
                "Name": "Engine",
                "Version": __version__,
                "Details": {
                    "Arch": architecture,
                    "KernelVersion": host.release,
                    "Os": "linux",
                    "PythonVersion": platform.python_version(),
                },
            },
            {"Name": "mydocker-runtime", "Version": __version__, "Details": {}},
        ],
        "Version": __version__,
        "PythonVersion": platform.python_version(),
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": host.release,
    }


def info(store: Store, *, images: int) -> dict[str, object]:
    counts = dict.fromkeys(Status, 0)
    for identifier in store.ids():
        try:
            counts[store.read_state(identifier).status] += 1
        except NotFound:
            continue  # removed meanwhile
    hierarchies = hierarchy.discover()
    unified = len(hierarchies) == 1 and hierarchies[0].unified
    controllers = {name for each in hierarchies for name in each.controllers}
    host = os.uname()
    security = ["name=seccomp,profile=builtin"]
    if unified:
        security.append("name=cgroupns")
    return {
        "ID": _machine_id(),
        "Containers": sum(counts.values()),
        "ContainersRunning": counts[Status.RUNNING],
        "ContainersPaused": counts[Status.PAUSED],
        "ContainersStopped": sum(counts.values()) - counts[Status.RUNNING] - counts[Status.PAUSED],
        "Images": images,
        "Driver": "overlay2",
        "DriverStatus": [["Backing Filesystem", _file_system(store.root)], ["Supports d_type", "true"]],
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", *above.DRIVERS, "host", "null"],
            "Log": [*logs.DRIVERS],
        },
        "MemoryLimit": "memory" in controllers,
        "SwapLimit": hierarchy.swap_limits(),
        "CpuCfsPeriod": "cpu" in controllers,
        "CpuCfsQuota": "cpu" in controllers,
        "CPUShares": "cpu" in controllers,
        "CPUSet": "cpuset" in controllers,
        "PidsLimit": "pids" in controllers,
        "IPv4Forwarding": _sysctl("net/ipv4/ip_forward") == "1",
        "OomKillDisable": "memory" in controllers and not unified,
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2" if unified else "1",
        "NGoroutines": 0,
        "SystemTime": now(),
        "KernelVersion": host.release,
        "OperatingSystem": _operating_system(),
        "OSType": "linux",
        "Architecture": host.machine,
        "NCPU": os.cpu_count() or 1,
        "MemTotal": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "DockerRootDir": store.root,
        "Name": socket.gethostname(),
        "Labels": [],
        "ServerVersion": __version__,
        "Runtimes": {"mydocker-runtime": {"path": "mydocker-runtime"}},
        "DefaultRuntime": "mydocker-runtime",
        "InitBinary": "mydocker",
        "SecurityOptions": security,
        "Warnings": None,
    }


def _machine_id() -> str:
    try:
        with open("/etc/machine-id") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _sysctl(name: str) -> str:
    try:
        with open(f"/proc/sys/{name}") as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"


def _file_system(path: str) -> str:
    """The type of the file system that ``path`` (or the nearest directory above that exists) is on."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        for line in file:
            fields = line.split()
            if fields[2] == number:
                return fields[fields.index("-") + 1]
    return "unknown"
