"""The cgroups of one process: where an added one is put, and what holds one that does not die.

Out of scope: the container's own cgroup (``runtime/cgroup.py``).
"""

from ..errors import InvalidArgument, NotFound
from ..linux.cgroup import hierarchy as hierarchies
from ..linux.cgroup.directory import Directory
from .cgroup import Cgroup
from .cgroup_limit import Group


def below(cgroup: Cgroup, place: str) -> Cgroup:
    """A cgroup that a container has made below its own: ``path``, or ``controller[,controller]:path``.

    With controllers it is meant in their hierarchies alone, in the others the container's own stays.
    """
    named, colon, path = place.rpartition(":")
    pieces = [piece for piece in path.split("/") if piece not in ("", ".")]
    if ".." in pieces:
        raise InvalidArgument(f"cgroup {path!r} is not below that of the container")
    wanted = set(named.split(","))
    groups: list[Group] = []
    moved = False
    for group in cgroup._groups:
        if colon and not wanted & {*group.hierarchy.controllers, group.hierarchy.name}:
            groups.append(group)
            continue
        inner = Group(Directory(group.hierarchy, "/".join((group.path, *pieces))))
        if not inner.exists():
            raise NotFound(f"no such cgroup: {inner.path}")
        groups.append(inner)
        moved = True
    if not moved:
        raise InvalidArgument(f"no such cgroup controller: {named}")
    return Cgroup("/".join((cgroup.path, *pieces)), groups)


def thaw(pid: int) -> None:
    """Thaw the cgroup v1 that ``pid`` is in now, whoever has put it there: in a frozen one nothing dies."""
    for hierarchy in hierarchies.discover():
        if "freezer" in hierarchy.controllers:
            place = hierarchies.path_in(hierarchy, hierarchies.membership(pid))
            if place.strip("/"):
                Group(Directory(hierarchy, hierarchy.directory(place))).thaw()
