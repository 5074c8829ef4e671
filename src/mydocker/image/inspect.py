"""What ``inspect`` says about an image, in the shape of the Docker Engine API: ``GET /images/{id}/json``.

Members that Docker has dropped since (``Container``, ``ContainerConfig``, ``VirtualSize``) are not there, nor
are directories that exist only while something is mounted.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .store import Image

# ``config.config`` of an image (moby, api/types/container.Config): what is always shown, and what is if set.
_ALWAYS: dict[str, Any] = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}
_IF_SET = (
    "ExposedPorts",
    "Healthcheck",
    "ArgsEscaped",
    "NetworkDisabled",
    "MacAddress",
    "StopSignal",
    "StopTimeout",
    "Shell",
)


def document(image: Image) -> dict[str, Any]:
    config = image.config
    top, *rest = image.layers or [""]
    data = {"UpperDir": top}
    if rest:
        data["LowerDir"] = ":".join(rest)
    rootfs: dict[str, Any] = {"Type": "layers"}
    if config.rootfs.diff_ids:
        rootfs["Layers"] = list(config.rootfs.diff_ids)
    found = {
        "Id": image.id,
        "RepoTags": image.repo_tags,
        "RepoDigests": image.repo_digests,
        "Parent": "",
        "Comment": config.comment,
        "Created": image.created,
        "DockerVersion": config.docker_version,
        "Author": config.author,
        "Config": _run_config(image),
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": data},
        "RootFS": rootfs,
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }
    if config.variant:
        found["Variant"] = config.variant
    if config.os_version:
        found["OsVersion"] = config.os_version
    return found


def _run_config(image: Image) -> dict[str, Any]:
    given = msgspec.json.decode(image.raw).get("config") or {}
    shown = {name: given.get(name, nothing) for name, nothing in _ALWAYS.items()}
    return {**shown, **{name: given[name] for name in _IF_SET if given.get(name)}}
