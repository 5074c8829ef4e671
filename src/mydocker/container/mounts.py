"""What is mounted into a container beyond its root, read into one list.

In scope: the forms ``-v``, ``--mount``, ``--tmpfs``, ``--volumes-from`` and an image's VOLUME as a list of
``MountPoint``, with Docker's checks and messages. Out of scope: making volumes (``volumes.py``), and what the
list becomes in a runtime document (``document.py``).
Source: moby, ``volume/mounts/linux_parser.go`` and ``daemon/volumes.go``.
"""

from __future__ import annotations

import itertools
import os
import posixpath
import re
from collections.abc import Sequence

import msgspec

from ..errors import InvalidArgument, NotSupported
from ..volume.store import check_driver, check_name
from .config import BindOptions, Config, Driver, HostConfig, Mount, VolumeOptions
from .record import MountPoint

PROPAGATIONS = frozenset(("private", "rprivate", "shared", "rshared", "slave", "rslave"))
_CONSISTENCY = frozenset(("consistent", "cached", "delegated"))
_LABELS = frozenset(("z", "Z"))  # SELinux relabelling: without SELinux they say nothing, as in Docker
_ID_MAP = r"(?:([ug]):)?(\d+):(\d+)(?::(\d+))?"
LAST_ID = 2**32 - 2
"""(uid_t) -1 is nobody's, man 2 chown"""
_TMPFS_DEFAULT = ("noexec", "nosuid", "nodev")
_TMPFS_FLAGS = {
    "rw": "ro",
    "exec": "noexec",
    "suid": "nosuid",
    "dev": "nodev",
    "async": "sync",
    "atime": "noatime",
    "diratime": "nodiratime",
    "nomand": "mand",
    "nostrictatime": "strictatime",
}
_TMPFS_OPPOSITES = {**_TMPFS_FLAGS, **{value: key for key, value in _TMPFS_FLAGS.items()}}
_TMPFS_WITHOUT_EFFECT = frozenset(("defaults", "relatime", "norelatime", "nostrictatime"))
"""but for taking back ``strictatime``: relatime is the kernel's default, whatever is said of it (mount(2))"""
_TMPFS_PROPAGATIONS = PROPAGATIONS | {"unbindable", "runbindable"}
_TMPFS_VALUES = frozenset(("size", "nr_blocks", "nr_inodes", "mode", "uid", "gid", "mpol", "huge"))


def mount_points(config: Config, host: HostConfig, inherited: Sequence[MountPoint] = ()) -> list[MountPoint]:
    """All mount points that were asked for, in no particular order; an anonymous volume has no name yet.

    ``inherited``: those of ``--volumes-from``, the last one for a place counts, and others take their places.
    Raises ``InvalidArgument`` in Docker's words.
    """
    points: dict[str, MountPoint] = {}

    def add(point: MountPoint) -> None:
        if point.destination in points:
            raise InvalidArgument(f"Duplicate mount point: {point.destination}")
        points[point.destination] = point

    for text in host.binds or ():
        add(parse_bind(text, host.volume_driver))
    for mount in host.mounts or ():
        add(parse_mount(mount))
    for target, options in (host.tmpfs or {}).items():
        destination = _destination(target, f"invalid tmpfs mount: {target}")
        add(MountPoint(type="tmpfs", destination=destination, options=tmpfs_options(options)))
    points = {**{point.destination: point for point in inherited}, **points}
    for target in config.volumes or {}:
        destination = _destination(target, f"invalid volume specification: '{target}'")
        if destination not in points:  # what was asked for takes precedence over the image's volume
            check_driver("", host.volume_driver)
            points[destination] = _volume(destination)
    return list(points.values())


def parse_bind(text: str, driver: str = "") -> MountPoint:
    """``/source:/target[:options]``, ``name:/target[:options]``, or ``/target`` for an anonymous volume."""
    parts = text.split(":")
    wrong = f"invalid volume specification: '{text}'"
    if len(parts) > 3 or not all(parts):
        raise InvalidArgument(wrong)
    if len(parts) == 1:
        check_driver("", driver)
        return _volume(_destination(text, f'{wrong}: invalid mount config for type "volume"'))
    source, target = parts[:2]
    kind = "bind" if source.startswith("/") else "volume"
    mode = parts[2] if len(parts) == 3 else ""
    if len(parts) == 2 and _is_mode(target):
        raise InvalidArgument(wrong)  # /target:ro: an anonymous volume has no options
    found = parse_mode(mode)
    destination = _destination(target, f'{wrong}: invalid mount config for type "{kind}"')
    if kind == "bind":
        if "copy" in found:
            raise InvalidArgument(
                f'{wrong}: invalid mount config for type "bind": field VolumeOptions must not be specified'
            )
        return MountPoint(
            type="bind",
            source=posixpath.normpath(source),
            destination=destination,
            mode=mode,
            rw=found.get("access") != "ro",
            propagation=found.get("propagation", "rprivate"),
            default_propagation="propagation" not in found,
            options=["create"],
        )
    check_name(source)
    check_driver(source, driver)
    if "propagation" in found:
        raise InvalidArgument(
            f'{wrong}: invalid mount config for type "volume": field BindOptions must not be specified'
        )
    return MountPoint(
        type="volume",
        name=source,
        destination=destination,
        driver="local",
        mode=mode or "z",
        rw=found.get("access") != "ro",
        copy_up="copy" not in found,
    )


def parse_mode(mode: str) -> dict[str, str]:
    """``ro,rshared`` by kind: access, propagation, label, copy, consistency; each at most once."""
    found: dict[str, str] = {}
    for option in mode.split(",") if mode else ():
        if option in ("ro", "rw"):
            kind = "access"
        elif option in PROPAGATIONS:
            kind = "propagation"
        elif option in _LABELS:
            kind = "label"
        elif option == "nocopy":
            kind = "copy"
        elif option in _CONSISTENCY:
            kind = "consistency"
        else:
            raise InvalidArgument(f"invalid mode: {mode}")
        if kind in found:
            raise InvalidArgument(f"invalid mode: {mode}")
        found[kind] = option
    return found


def _is_mode(text: str) -> bool:
    try:
        return bool(parse_mode(text))
    except InvalidArgument:
        return False


def parse_volumes_from(text: str) -> tuple[str, str]:
    """``container[:mode]``, as container and access: ``ro``, ``rw`` or neither."""
    if not text:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    container, _, mode = text.partition(":")
    found = parse_mode(mode)
    if not container or "propagation" in found or "copy" in found:
        raise InvalidArgument(f"invalid mode: {mode}")
    return container, found.get("access", "")


def inherited(points: Sequence[MountPoint], host: HostConfig, access: str) -> list[MountPoint]:
    """What another container passes on of its ``points``: all but what its ``--tmpfs`` made."""
    return [
        msgspec.structs.replace(point, mode="", rw=point.rw and access != "ro", copy_up=False)
        for point in points
        if point.destination not in (host.tmpfs or {})
    ]


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
        return _named(mount, destination, wrong)
    if mount.type == "image":
        raise NotSupported(
            f"{wrong}: images cannot be mounted (a new volume begins with what the image has at its place: "
            "run --rm -v NAME:/PATH IMAGE true)"
        )
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
    options = mount.bind_options or BindOptions()
    if options.propagation and options.propagation not in PROPAGATIONS:
        raise InvalidArgument(f"{wrong}: invalid propagation mode: {options.propagation}")
    if options.read_only_force_recursive and options.read_only_non_recursive:
        raise InvalidArgument(f"{wrong}: ReadOnlyForceRecursive and ReadOnlyNonRecursive exclude each other")
    if options.id_map:
        parse_idmap(options.id_map)
    if not options.create_mountpoint and not os.path.lexists(mount.source):
        raise InvalidArgument(f"{wrong}: bind source path does not exist: {mount.source}")
    return MountPoint(
        type="bind",
        source=posixpath.normpath(mount.source),
        destination=destination,
        rw=not mount.read_only,
        propagation=options.propagation or "rprivate",
        default_propagation=not options.propagation,
        recursive=not options.non_recursive,
        read_only_recursive=not options.read_only_non_recursive,
        id_map=options.id_map,
        options=["create"] if options.create_mountpoint else [],
    )


def parse_idmap(text: str) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]]] | None:
    """User and group ids, each as ``(host, container, count)``; nothing for ``owner``.

    ``[u:|g:]HOST:CONTAINER[:COUNT]``, several with ``;`` between them; without a letter it is both.
    """
    if text == "owner":
        return None
    found: dict[str, list[tuple[int, int, int]]] = {"u": [], "g": []}
    for part in text.split(";"):
        match = re.fullmatch(_ID_MAP, part)
        if match is None:
            raise InvalidArgument(
                f"invalid idmap: '{text}' (use [u:|g:]HOST:CONTAINER[:COUNT], several with ';' between them)"
            )
        host, container, count = int(match[2]), int(match[3]), int(match[4] or "1")
        if count < 1 or max(host, container) + count - 1 > LAST_ID:
            raise InvalidArgument(f"invalid idmap: '{part}': ids are in the range 0-{LAST_ID}")
        for kind in match[1] or "ug":
            found[kind].append((host, container, count))
    for kind, name in (("u", "user"), ("g", "group")):
        if not found[kind]:
            raise InvalidArgument(f"invalid idmap: '{text}': it has no {name} ids")
        for side in (0, 1):
            ranges = sorted((each[side], each[2]) for each in found[kind])
            if any(first + count > second for (first, count), (second, _) in itertools.pairwise(ranges)):
                raise InvalidArgument(f"invalid idmap: '{text}': ranges of {name} ids overlap")
    return found["u"], found["g"]


def _named(mount: Mount, destination: str, wrong: str) -> MountPoint:
    options = mount.volume_options or VolumeOptions()
    driver = options.driver_config or Driver()
    if options.subpath:
        parts = options.subpath.split("/")
        if options.subpath.startswith("/") or ".." in parts:
            raise InvalidArgument(f"{wrong}: subpath must be a relative path within the volume")
    if not mount.source:
        if mount.read_only:
            raise InvalidArgument(f"{wrong}: must not set ReadOnly mode when using anonymous volumes")
        if options.subpath:
            raise InvalidArgument(f"{wrong}: must not set Subpath when using anonymous volumes")
    else:
        check_name(mount.source)
    check_driver(mount.source, driver.name)
    return MountPoint(
        type="volume",
        name=mount.source,
        destination=destination,
        driver="local",
        mode="z",
        rw=not mount.read_only,
        copy_up=not options.no_copy and not options.subpath,
        sub_path=options.subpath,
        volume_options=driver.options or {},
        volume_labels=options.labels or {},
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


def _volume(destination: str) -> MountPoint:
    return MountPoint(type="volume", destination=destination, driver="local", copy_up=True)


def tmpfs_options(text: str) -> list[str]:
    """Docker's defaults, each replaced by its opposite if asked for; ``InvalidArgument`` if unknown.

    Source: moby/sys, ``mount/flags_unix.go`` (``MergeTmpfsOptions``).
    """
    options = [*_TMPFS_DEFAULT]
    for option in text.split(",") if text else ():
        key, equals, _ = option.partition("=")
        if equals and key in _TMPFS_VALUES:
            options = [each for each in options if each.partition("=")[0] != key]
        elif option in _TMPFS_PROPAGATIONS:
            options = [each for each in options if each not in _TMPFS_PROPAGATIONS]
        elif option in _TMPFS_OPPOSITES:
            options = [each for each in options if each != _TMPFS_OPPOSITES[option]]
        elif option != "dirsync" and option not in _TMPFS_WITHOUT_EFFECT:
            raise InvalidArgument(f'invalid tmpfs option "{key}"')
        if option not in options and option not in _TMPFS_WITHOUT_EFFECT:
            options.append(option)
    return options


def _destination(target: str, wrong: str) -> str:
    if not target.startswith("/"):
        raise InvalidArgument(f"{wrong}: invalid mount path: '{target}' mount path must be absolute")
    destination = "/" + posixpath.normpath(target).lstrip("/")
    if destination == "/":
        raise InvalidArgument(f"{wrong}: invalid specification: destination can't be '/'")
    return destination
