"""What this machine can run. Each function returns None, or the reason for a skip."""

from __future__ import annotations

import os
import shutil

from support import isolation

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def program(name: str) -> str | None:
    """The path of a distribution's program; /usr/local is left out, it may hold another version."""
    return shutil.which(name, path=SYSTEM_PATH)


def missing_programs(*names: str) -> str | None:
    missing = [name for name in names if program(name) is None]
    return f"needs {', '.join(missing)} (see tests/apt-packages.txt)" if missing else None


def missing_root() -> str | None:
    return isolation.refusal()


def cgroup_hierarchies() -> dict[str, str]:
    """Mount points of cgroup hierarchies by their names: ``memory``, ``cpu,cpuacct``; ``""`` is v2."""
    found: dict[str, str] = {}
    known = set(_v1_controllers())
    with open("/proc/self/mountinfo") as lines:
        for line in lines:
            before, _, after = line.rstrip("\n").partition(" - ")
            kind, _, options = after.split(" ", 2)
            place = before.split(" ")[4]
            if kind == "cgroup2":
                found.setdefault("", place)
            elif kind == "cgroup":
                words = options.split(",")
                name = ",".join(w for w in words if w in known or w.startswith("name="))
                found.setdefault(name, place)
    return found


def cgroup_of(controller: str) -> str | None:
    """Mount point of the v1 hierarchy that has ``controller``, if there is one."""
    for name, place in cgroup_hierarchies().items():
        if controller in name.split(","):
            return place
    return None


def missing_controller(controller: str) -> str | None:
    if cgroup_of(controller):
        return None
    unified = cgroup_hierarchies().get("")
    if unified is not None:
        with open(os.path.join(unified, "cgroup.controllers")) as names:
            if controller in names.read().split():
                return None
    return f"needs the cgroup controller {controller}, which this kernel does not offer"


def _v1_controllers() -> list[str]:
    with open("/proc/cgroups") as lines:
        return [line.split("\t")[0] for line in lines if not line.startswith("#")]
