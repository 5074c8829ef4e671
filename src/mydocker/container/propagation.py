"""How bind mounts pass on what is mounted below them, and whether they can.

A bind of the engine's own root, of something in it or around it (``-v /:/host``), is ``rslave`` where nobody
has asked for something else, as in Docker: mounts that come and go on the host do so in the container.

What is mounted on the host at the source passes mounts on if it is shared or a slave. It says so in
/proc/self/mountinfo: ``shared:N``, ``master:N`` (mount_namespaces(7)). Where it is neither, nothing is ever
passed on, and Docker refuses that, but for its own default.
Source: moby, ``daemon/volumes_linux.go`` and ``daemon/oci_linux.go``.
"""

from __future__ import annotations

import os

import msgspec

from ..errors import InvalidArgument
from .record import MountPoint

_WANTED = {"shared": ("shared:",), "slave": ("shared:", "master:")}


def settled(point: MountPoint, root: str) -> MountPoint:
    """``point`` as it is recorded; ``root``: the engine's."""
    if not point.default_propagation or point.type != "bind":
        return point
    pair = root, point.source
    around = os.path.commonpath(pair) in pair
    return msgspec.structs.replace(point, propagation="rslave") if around else point


def possible(point: MountPoint) -> MountPoint:
    """``point`` as it is mounted now. ``InvalidArgument``, in Docker's words, where ``[r]shared`` or
    ``[r]slave`` was asked for of a mount that is not."""
    kind = point.propagation.removeprefix("r")
    if point.type != "bind" or kind not in _WANTED or not os.path.lexists(point.source):
        return point
    place, fields = _mounted(point.source)
    if any(field.startswith(_WANTED[kind]) for field in fields):
        return point
    if point.default_propagation:
        return msgspec.structs.replace(point, propagation="rprivate")
    wanted = "shared" if kind == "shared" else "shared or slave"
    raise InvalidArgument(f"path {point.source} is mounted on {place} but it is not a {wanted} mount")


def _mounted(path: str) -> tuple[str, list[str]]:
    """Where the mount that ``path`` is on is mounted, and its optional fields."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{descriptor}") as file:
            number = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
    finally:
        os.close(descriptor)
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        fields = next(found for found in map(str.split, file) if found[0] == number)
    return fields[4], fields[6 : fields.index("-")]
