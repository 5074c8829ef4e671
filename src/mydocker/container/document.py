"""The ``mounts`` of a runtime document: the defaults, the engine's own files, and what the user asked for.

Out of scope: reading what the user asked for (``mounts.py``), opening volumes (``volumes.py``), and mounting,
which init does inside of the container's own root. Source: moby, ``daemon/oci_linux.go`` (``withMounts``).
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..oci import defaults
from .config import HostConfig
from .mounts import LAST_ID, parse_idmap
from .record import MountPoint

if TYPE_CHECKING:
    from ..oci.runtime import IdMapping
    from ..oci.runtime import Mount as OciMount

OPENED = "mydocker.opened"
"""a mount that is opened just before it is needed: ``source`` is then its descriptor"""


def oci_mounts(
    points: list[MountPoint],
    files: dict[str, str],
    *,
    host: HostConfig,
    shm: OciMount | None,
    opened: Collection[str] = (),
) -> list[OciMount]:
    """Default mounts, then ours (``files``: destination -> source) and the user's, outer ones first.

    What the user mounts on a place of the others takes their place; what is mounted on a directory above our
    files is below them. ``shm`` is the mount for /dev/shm when it is not a new one. ``opened``: the
    destinations of volumes that are no plain directory.
    """
    own_shm = shm is None and host.ipc_mode != "none"
    mounts = defaults.mounts(privileged=host.privileged, shm_size=host.shm_size if own_shm else None)
    if shm is not None:
        mounts.append(shm)
    taken = {point.destination for point in points}
    result = [mount for mount in mounts if not _covered(mount["destination"], taken)]
    access = ["ro"] if host.readonly_rootfs else []
    inner = [
        _bind_mount(destination, source, ["rbind", "rprivate", *access])
        for destination, source in files.items()
        if destination not in taken
    ]
    inner += [_user_mount(point, point.destination in opened) for point in points]
    return result + sorted(inner, key=lambda mount: outer_first(mount["destination"]))


def outer_first(destination: str) -> tuple[int, str]:
    """To sort by: what is mounted on a directory comes before what is mounted in it."""
    return destination.count("/"), destination


def _covered(destination: str, taken: set[str]) -> bool:
    return destination in taken or ("/dev" in taken and destination.startswith("/dev/"))


def _user_mount(point: MountPoint, opened: bool) -> OciMount:
    if point.type == "tmpfs":
        return {
            "destination": point.destination,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": point.options,
        }
    options = ["rbind" if point.recursive else "bind", point.propagation or "rprivate"]
    if not point.rw:
        options.append("rro" if point.read_only_recursive else "ro")
    if opened:
        return {
            "destination": point.destination,
            "type": OPENED,
            "source": point.name,
            "options": options[1:],
        }
    mount = _bind_mount(point.destination, point.source, options)
    if point.id_map:
        options.append("ridmap" if point.recursive else "idmap")
        mount["uidMappings"], mount["gidMappings"] = id_mappings(point)
    return mount


def id_mappings(point: MountPoint) -> tuple[list[IdMapping], list[IdMapping]]:
    """On the mount the owner ``containerID`` of a file is shown as ``hostID`` (``runtime/idmap.py``)."""
    pairs = parse_idmap(point.id_map)
    if pairs is None:
        status = os.stat(point.source)
        pairs = _as_root(status.st_uid), _as_root(status.st_gid)
    uids, gids = ([_mapping(host, container, count) for host, container, count in each] for each in pairs)
    return uids, gids


def _mapping(host: int, container: int, count: int) -> IdMapping:
    return {"containerID": host, "hostID": container, "size": count}


def _as_root(owner: int) -> list[tuple[int, int, int]]:
    """The owner's files are root's in the container, and what root makes there is the owner's.

    All others stay who they are, but for root of the host, which nobody in the container may become: its
    files are shown as nobody's.
    """
    if owner == 0:
        return [(0, 0, LAST_ID + 1)]
    before, after = owner - 1, LAST_ID - owner
    ranges = [(owner, 0, 1), (1, 1, before), (owner + 1, owner + 1, after)]
    return [each for each in ranges if each[2] > 0]


def _bind_mount(destination: str, source: str, options: list[str]) -> OciMount:
    return {"destination": destination, "type": "bind", "source": source, "options": options}
