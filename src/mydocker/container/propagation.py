"""Whether what is mounted on the host at the source of a bind mount passes mounts on, as it is asked to.

A mount that is shared or a slave says so in /proc/self/mountinfo: ``shared:N``, ``master:N``
(mount_namespaces(7)). Where it is neither, nothing would ever be passed on, and Docker refuses.
"""

from __future__ import annotations

import os

from ..errors import InvalidArgument

_WANTED = {"shared": ("shared:",), "slave": ("shared:", "master:")}


def check(source: str, propagation: str) -> None:
    """``InvalidArgument``, in Docker's words, for ``[r]shared`` or ``[r]slave`` of a mount that is not."""
    kind = propagation.removeprefix("r")
    if kind not in _WANTED or not os.path.lexists(source):
        return
    place, fields = _mounted(source)
    if not any(field.startswith(_WANTED[kind]) for field in fields):
        wanted = "shared" if kind == "shared" else "shared or slave"
        raise InvalidArgument(f"path {source} is mounted on {place} but it is not a {wanted} mount")


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
