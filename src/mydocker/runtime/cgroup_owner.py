"""A cgroup for the container to divide further: it goes to the user of the container's process.

That user gets the directory, and of its files those by which processes are moved and controllers handed on;
the limits stay out of reach (config-linux.md, "Cgroup ownership"). Out of scope: for which containers.
"""

from __future__ import annotations

import os

from mydocker.runtime import idmap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Spec
    from mydocker.runtime.cgroup import Cgroup

_LIST = "/sys/kernel/cgroup/delegate"
_FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
"""where the kernel does not say"""


def give(cgroup: Cgroup, spec: Spec) -> None:
    """Give the cgroup, of version 2, to the user that the process of ``spec`` runs as."""
    owner = idmap.outside(spec["process"].get("user", {}).get("uid", 0), spec["linux"].get("uidMappings", []))
    if owner is None:
        return
    place = cgroup.paths()["unified"]
    os.chown(place, owner, -1)
    for name in _delegated():
        try:
            os.chown(f"{place}/{name}", owner, -1)
        except FileNotFoundError:
            continue  # a file of a controller that is not enabled here


def _delegated() -> list[str]:
    try:
        with open(_LIST) as file:
            return file.read().split()
    except FileNotFoundError:
        return [*_FILES]
