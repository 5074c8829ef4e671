"""What is mounted into a container beyond its root: ``-v``, ``--mount``, ``--tmpfs``, an image's volumes.

In scope: reading the four forms into one list of ``MountPoint``, with Docker's checks and messages, and
turning that list and the default mounts into the ``mounts`` of a runtime document. Out of scope: making
volumes (``volumes.py``), and mounting, which init does inside of the container's own root.
Source: moby, ``volume/mounts/linux_parser.go`` and ``daemon/oci_linux.go`` (``withMounts``).
"""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from ..errors import InvalidArgument
from ..oci import defaults
from .config import Config, HostConfig, Mount
from .record import MountPoint

if TYPE_CHECKING:
    from ..oci.runtime import Mount as OciMount

PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_CONSISTENCY = frozenset(("consistent", "cached", "delegated"))
_LABELS = frozenset(("z", "Z"))  # SELinux relabelling: without SELinux they say nothing, as in Docker
_TMPFS_DEFAULT = ("noexec", "nosuid", "nodev")
_TMPFS_FLAGS = {
    "rw": "ro",
    "exec": "noexec",
    "suid": "nosuid",
    "dev": "nodev",
    "async": "sync",
    "atime": "noatime",
    "diratime": "nodiratime",
}
_TMPFS_OPPOSITES = {**_TMPFS_FLAGS, **{value: key for key, value in _TMPFS_FLAGS.items()}}
_TMPFS_VALUES = frozenset(("size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "mpol", "huge"))


def mount_points(config: Config, host: HostConfig) -> list[MountPoint]:
    """All mount points that were asked for, in no particular order; a volume has no name yet.

    Raises ``InvalidArgument`` in Docker's words.
    """
    points: dict[str, MountPoint] = {}

    def add(point: MountPoint) -> None:
        if point.destination in points:
            raise InvalidArgument(f"Duplicate mount point: {point.destination}")
        points[point.destination] = point

    for text in host.binds or ():
        add(parse_bind(text))
    for mount in host.mounts or ():
        add(parse_mount(mount))
    for target, options in (host.tmpfs or {}).items():
        destination = _destination(target, f"invalid tmpfs mount: {target}")
        add(MountPoint(type="tmpfs", destination=destination, options=tmpfs_options(options)))
    for target in config.volumes or {}:
        destination = _destination(target, f"invalid volume specification: '{target}'")
        if (
            destination not in points
        ):  # a bind or tmpfs on the same place takes precedence over the image's volume
            points[destination] = _volume(destination, read_only=False, copy_up=True)
    return list(points.values())


def parse_bind(text: str) -> MountPoint:
    """``/source:/target[:options]``, or ``/target`` alone for an anonymous volume."""
    parts = text.split(":")
    wrong = f"invalid volume specification: '{text}'"
    if len(parts) > 3 or not all(parts):
        raise InvalidArgument(wrong)
    if len(parts) == 1:
        return _volume(_destination(text, wrong), read_only=False, copy_up=True)
    source, target = parts[:2]
    destination = _destination(target, wrong)
    if not source.startswith("/"):
        raise InvalidArgument(
            f"{wrong}: the source must be an absolute path (named volumes are not supported yet)"
        )
    mode = parts[2] if len(parts) == 3 else ""
    access, propagation = _bind_mode(mode)
    return MountPoint(
        type="bind",
        source=posixpath.normpath(source),
        destination=destination,
        mode=mode,
        rw=access != "ro",
        propagation=propagation or "rprivate",
        options=["create"],
    )


def _bind_mode(mode: str) -> tuple[str, str]:
    """Access and propagation from ``ro,rshared``; each kind of option at most once."""
    access = propagation = ""
    seen: set[str] = set()
    for option in mode.split(",") if mode else ():
        if option in ("ro", "rw"):
            kind, access = "access", option
        elif option in PROPAGATIONS:
            kind, propagation = "propagation", option
        elif option in _LABELS:
            kind = "label"
        elif option in _CONSISTENCY:
            kind = "consistency"
        else:
            raise InvalidArgument(f"invalid mode: {mode}")
        if kind in seen:
            raise InvalidArgument(f"invalid mode: {mode}")
        seen.add(kind)
    return access, propagation


def parse_mount(mount: Mount) -> MountPoint:
    wrong = f'invalid mount config for type "{mount.type}"'
    if not mount.target:
        raise InvalidArgument(f"{wrong}: field Target must not be empty")
    destination = _destination(mount.target, wrong)
    if mount.type == "bind":
        return _bind(mount, destination, wrong)
    if mount.bind_options is not None:
        raise InvalidArgument(f"{wrong}: field BindOptions must not be specified")
    if mount.type == "tmpfs":
        return _tmpfs(mount, destination, wrong)
    if mount.tmpfs_options is not None:
        raise InvalidArgument(f"{wrong}: field TmpfsOptions must not be specified")
    if mount.type == "volume":
        if mount.source:
            raise InvalidArgument(
                f"{wrong}: {mount.source}: named volumes are not supported yet (leave the source out)"
            )
        no_copy = mount.volume_options is not None and mount.volume_options.no_copy
        return _volume(destination, read_only=mount.read_only, copy_up=not no_copy)
    raise InvalidArgument(f"{wrong}: mount type unknown")


def _bind(mount: Mount, destination: str, wrong: str) -> MountPoint:
    if not mount.source:
        raise InvalidArgument(f"{wrong}: field Source must not be empty")
    if not mount.source.startswith("/"):
        raise InvalidArgument(f"{wrong}: invalid mount path: '{mount.source}' mount path must be absolute")
    if mount.volume_options is not None:
        raise InvalidArgument(f"{wrong}: field VolumeOptions must not be specified")
    if mount.tmpfs_options is not None:
        raise InvalidArgument(f"{wrong}: field TmpfsOptions must not be specified")
    options = mount.bind_options
    propagation = options.propagation if options is not None else ""
    if propagation and propagation not in PROPAGATIONS:
        raise InvalidArgument(f"{wrong}: invalid propagation mode: {propagation}")
    create = options is not None and options.create_mountpoint
    if not create and not os.path.lexists(mount.source):
        raise InvalidArgument(f"{wrong}: bind source path does not exist: {mount.source}")
    return MountPoint(
        type="bind",
        source=posixpath.normpath(mount.source),
        destination=destination,
        rw=not mount.read_only,
        propagation=propagation or "rprivate",
        recursive=options is None or not options.non_recursive,
        options=["create"] if create else [],
    )


def _tmpfs(mount: Mount, destination: str, wrong: str) -> MountPoint:
    if mount.source:
        raise InvalidArgument(f"{wrong}: field Source must not be specified")
    if mount.volume_options is not None:
        raise InvalidArgument(f"{wrong}: field VolumeOptions must not be specified")
    options = [*_TMPFS_DEFAULT]
    if mount.tmpfs_options is not None:
        if mount.tmpfs_options.size_bytes < 0:
            raise InvalidArgument(f"{wrong}: tmpfs size must not be negative")
        if mount.tmpfs_options.size_bytes:
            options.append(f"size={mount.tmpfs_options.size_bytes}")
        if mount.tmpfs_options.mode:
            options.append(f"mode={mount.tmpfs_options.mode:o}")
    if mount.read_only:
        options.append("ro")
    return MountPoint(type="tmpfs", destination=destination, rw=not mount.read_only, options=options)


def _volume(destination: str, *, read_only: bool, copy_up: bool) -> MountPoint:
    return MountPoint(
        type="volume", destination=destination, driver="local", rw=not read_only, copy_up=copy_up
    )


def tmpfs_options(text: str) -> list[str]:
    """Docker's defaults, each replaced by its opposite if asked for; ``InvalidArgument`` if unknown."""
    options = [*_TMPFS_DEFAULT]
    for option in text.split(",") if text else ():
        key, equals, _ = option.partition("=")
        if equals and key in _TMPFS_VALUES:
            options = [each for each in options if each.partition("=")[0] != key]
        elif equals or (option not in _TMPFS_OPPOSITES and option not in ("relatime", "strictatime")):
            raise InvalidArgument(f"invalid tmpfs option: {option!r}")
        else:
            options = [each for each in options if each != _TMPFS_OPPOSITES.get(option)]
        if option not in options:
            options.append(option)
    return options


def _destination(target: str, wrong: str) -> str:
    if not target.startswith("/"):
        raise InvalidArgument(f"{wrong}: invalid mount path: '{target}' mount path must be absolute")
    destination = "/" + posixpath.normpath(target).lstrip("/")
    if destination == "/":
        raise InvalidArgument(f"{wrong}: invalid specification: destination can't be '/'")
    return destination


# -- the runtime document


def oci_mounts(
    points: list[MountPoint], files: dict[str, str], *, host: HostConfig, shm: OciMount | None
) -> list[OciMount]:
    """Default mounts, then ours (``files``: destination -> source), then the user's, outer ones first.

    What the user mounts on a place of the others takes their place. ``shm`` is the mount for /dev/shm when it
    is not a new one.
    """
    own_shm = shm is None and host.ipc_mode != "none"
    mounts = defaults.mounts(privileged=host.privileged, shm_size=host.shm_size if own_shm else None)
    if shm is not None:
        mounts.append(shm)
    taken = {point.destination for point in points}
    result = [mount for mount in mounts if not _covered(mount["destination"], taken)]
    result += [
        _bind_mount(destination, source, ["rbind", "rprivate"])
        for destination, source in files.items()
        if destination not in taken
    ]
    for point in sorted(points, key=lambda point: (point.destination.count("/"), point.destination)):
        result.append(_user_mount(point))
    return result


def _covered(destination: str, taken: set[str]) -> bool:
    return destination in taken or ("/dev" in taken and destination.startswith("/dev/"))


def _user_mount(point: MountPoint) -> OciMount:
    if point.type == "tmpfs":
        return {
            "destination": point.destination,
            "type": "tmpfs",
            "source": "tmpfs",
            "options": point.options,
        }
    options = ["rbind" if point.recursive else "bind", point.propagation or "rprivate"]
    if not point.rw:
        options.append("ro")
    return _bind_mount(point.destination, point.source, options)


def _bind_mount(destination: str, source: str, options: list[str]) -> OciMount:
    return {"destination": destination, "type": "bind", "source": source, "options": options}
