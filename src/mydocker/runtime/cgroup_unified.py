"""Switching on the controllers of cgroup v2 on the way down to a container's cgroup.

A cgroup can limit what the one above it lists in cgroup.subtree_control; so each cgroup from the top to the
parent has to list the controller (cgroup-v2.rst, "Enabling and Disabling"). A cgroup other than the root that
has processes of its own may not list any ("no internal processes"). That is the case at the top of a
container's cgroup namespace, when the engine itself runs in a container: there, and only there, the processes
are first moved to a leaf.
"""

import errno

from ..errors import Conflict, NotSupported
from ..linux.cgroup.directory import Directory
from .cgroup_limit import Group, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..oci import runtime as oci

# Enabled wherever v2 stands alone: for these the statistics are wanted, whether limited or not.
_ALWAYS = ("cpu", "cpuset", "io", "memory", "pids")
_BY_SECTION = (
    ("memory", ("memory",)),
    ("cpu", ("cpu", "cpuset")),
    ("pids", ("pids",)),
    ("blockIO", ("io",)),
    ("hugepageLimits", ("hugetlb",)),
    ("rdma", ("rdma",)),
)

LEAF = "mydocker-init"
"""Where the processes of a nested root go, beside the containers."""


def enable_controllers(group: Group, resources: "oci.Resources", *, alone: bool) -> None:
    """Let the cgroup limit what ``resources`` names, and where v2 stands alone also count the usual
    things."""
    wanted = set(_ALWAYS) if alone else set()
    for section, controllers in _BY_SECTION:
        if resources.get(section):
            wanted.update(controllers)
    # memory.max -> memory; files of the core, such as cgroup.max.depth, are always there
    wanted.update(
        file.partition(".")[0] for file in resources.get("unified") or () if not file.startswith("cgroup.")
    )
    try:
        missing = wanted.difference(group.read("cgroup.controllers").split())
    except OSError as error:
        raise refusal(error, f"{group.path}/cgroup.controllers") from error
    if not missing:
        return
    above = []
    directory: Directory = group
    while not directory.is_top():
        directory = directory.parent()
        above.append(directory)
    # What the host as a whole does not have is told later, by the limit that needs it and names itself.
    missing &= set(above[-1].read("cgroup.controllers").split())
    for directory in reversed(above):
        if absent := missing.difference(directory.read("cgroup.subtree_control").split()):
            _enable(directory, " ".join(f"+{controller}" for controller in sorted(absent)))


def _enable(directory: Directory, controllers: str) -> None:
    for attempt in range(2):
        try:
            directory.write("cgroup.subtree_control", controllers)
            return
        except OSError as error:
            if error.errno == errno.EBUSY and attempt == 0 and directory.is_top():
                _empty(directory)
            elif error.errno == errno.EBUSY:
                raise Conflict(
                    f"cannot enable {controllers} below the cgroup {directory.path}: it has processes of its "
                    "own, and cgroup v2 allows limits only below cgroups without (choose another parent)"
                ) from error
            elif error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
                raise NotSupported(
                    f"cannot enable {controllers} below the cgroup {directory.path}: its type is "
                    f"{_type(directory)!r} (choose a parent of the type domain)"
                ) from error
            else:
                raise refusal(error, f"{directory.path}/cgroup.subtree_control", controllers) from error


def _empty(top: Directory) -> None:
    """Move all processes from the top of a cgroup namespace to a leaf. The real root needs this never."""
    leaf = Directory(top.hierarchy, f"{top.path}/{LEAF}")
    leaf.make()
    for pid in top.read("cgroup.procs").split():
        try:
            leaf.write("cgroup.procs", pid)
        except ProcessLookupError:
            continue  # it ended meanwhile


def _type(directory: Directory) -> str:
    try:
        return directory.read("cgroup.type")
    except FileNotFoundError:
        return "root"
