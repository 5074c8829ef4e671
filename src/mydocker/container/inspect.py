"""What ``inspect`` and ``ps`` say about a container, in the shapes of the Docker Engine API (v1.43).

``GET /containers/{id}/json`` and ``GET /containers/json``. A member that Docker's clients expect and that
says "nothing" here has Docker's value for nothing. The members that need more room are in ``shapes.py``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import Unavailable
from ..monitor import client
from ..monitor.timestamp import NEVER, parse_rfc3339
from ..network.document import Attached
from ..snapshot.usage import contents
from . import attached as having
from . import health, links, rootfs, shapes
from .record import MountPoint, Record
from .state import State, Status
from .store import Store


def inspect(store: Store, record: Record, state: State) -> dict[str, Any]:
    directory = store.directory(record.id)
    stack = rootfs.snapshotter.stack(directory, record.layers)
    log = f"{directory}/log"
    return {
        "Id": record.id,
        "Created": record.created,
        "Path": record.path,
        "Args": record.args,
        "State": {
            "Status": str(state.status),
            "Running": state.running,
            "Paused": state.status is Status.PAUSED,
            "Restarting": state.status is Status.RESTARTING,
            "OOMKilled": state.oom_killed,
            "Dead": state.status is Status.DEAD,
            "Pid": state.pid,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": state.started_at,
            "FinishedAt": state.finished_at,
            **({"Health": msgspec.to_builtins(state.health)} if state.health is not None else {}),
        },
        "Image": record.image,
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": log if record.host_config.log_config.type == "json-file" else "",
        "Name": f"/{record.name}",
        "RestartCount": state.restart_count,
        "Driver": "overlay2",
        "Platform": record.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": _exec_ids(store, record, state),
        "HostConfig": shapes.host_config(record.host_config, links.shown(store, record)),
        "GraphDriver": {
            "Data": {
                "ID": record.id,
                "LowerDir": ":".join(stack.lowers),
                "MergedDir": rootfs.target(directory),
                "UpperDir": stack.upper,
                "WorkDir": stack.work,
            },
            "Name": "overlay2",
        },
        "Mounts": [
            _mount(point) for point in record.mounts if point.type != "tmpfs" or _is_mount(record, point)
        ],
        "Config": shapes.config(record.config),
        "NetworkSettings": shapes.network_settings(
            f"{store.root}/network", record, state, having.read(store, record.id)
        ),
    }


def summary(store: Store, record: Record, state: State, leading: Mapping[str, str]) -> dict[str, Any]:
    """``leading``: identifiers of images by the names that lead to them. What a container was made from is
    shown by that identifier once its name leads elsewhere (moby, ``daemon/list.go``)."""
    config = record.config
    named = not record.image_name or leading.get(record.image_name) == record.image
    attached = having.read(store, record.id) if state.running and record.networks else Attached()
    return {
        "Id": record.id,
        "Names": [f"/{record.name}"],
        "Image": (config.image or record.host_config.rootfs) if named else record.image,
        "ImageID": record.image,
        "Command": " ".join((record.path, *(f"'{each}'" if " " in each else each for each in record.args))),
        "Created": parse_rfc3339(record.created) // 1_000_000_000,
        "Ports": shapes.ports(record, state, attached),
        "Labels": config.labels or {},
        "State": str(state.status),
        "Status": status(state),
        "HostConfig": {"NetworkMode": record.host_config.network_mode},
        "NetworkSettings": {"Networks": shapes.networks(f"{store.root}/network", record, state, attached)},
        "Mounts": [
            _mount(point) for point in record.mounts if point.type != "tmpfs" or _is_mount(record, point)
        ],
    }


def size_rw(store: Store, record: Record) -> int:
    """Bytes in the files of the read-write layer (``ps --size``, ``inspect --size``)."""
    return contents(f"{store.directory(record.id)}/rw/diff")


def _exec_ids(store: Store, record: Record, state: State) -> list[str] | None:
    """Of the processes that have been added and still run."""
    if not state.running:
        return None
    try:
        added = client.added(store.run_directory(record.id))
    except Unavailable:
        return None
    return [each.id for each in added if each.exit_code is None] or None


def _is_mount(record: Record, point: MountPoint) -> bool:
    """Docker lists the tmpfs of ``--mount``, but not those of ``--tmpfs``."""
    return point.destination not in (record.host_config.tmpfs or {})


def _mount(point: MountPoint) -> dict[str, Any]:
    shown: dict[str, Any] = {"Type": point.type}
    if point.type == "volume":
        shown["Name"] = point.name
    shown["Source"] = point.source
    shown["Destination"] = point.destination
    if point.driver:
        shown["Driver"] = point.driver
    shown |= {"Mode": point.mode, "RW": point.rw, "Propagation": point.propagation}
    return shown


# -- the STATUS column


def status(state: State) -> str:
    """``Up 5 minutes``, ``Exited (0) 3 seconds ago``, ``Created`` (moby, ``container/state.go``)."""
    if state.status is Status.RESTARTING:
        return f"Restarting ({state.exit_code}) {since(state.finished_at)} ago"
    if state.running:
        up = f"Up {since(state.started_at)}"
        if state.status is Status.PAUSED:
            return f"{up} (Paused)"
        return f"{up} ({health.shown(state.health)})" if state.health is not None else up
    if state.status is Status.REMOVING:
        return "Removal In Progress"
    if state.status is Status.DEAD:
        return "Dead"
    if state.started_at == NEVER:
        return "Created"
    return f"Exited ({state.exit_code}) {since(state.finished_at)} ago"


def since(instant: str) -> str:
    return human_duration(time.time() - parse_rfc3339(instant) / 1e9)


def human_duration(seconds: float) -> str:
    """docker/go-units, ``HumanDuration``: one unit, rounded as it does."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"
