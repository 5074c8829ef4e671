"""What ``inspect`` says about an image, in the shape of the Docker Engine API: ``GET /images/{id}/json``."""

from __future__ import annotations

from typing import Any

import msgspec

from .documents import RunConfig
from .store import Image


def document(image: Image) -> dict[str, Any]:
    config = image.config
    top, *rest = image.lowers or [""]
    data = {"UpperDir": top}
    if rest:
        data["LowerDir"] = ":".join(rest)
    return {
        "Id": image.id,
        "RepoTags": image.repo_tags,
        "RepoDigests": image.repo_digests,
        "Parent": "",
        "Comment": config.comment,
        "Created": image.created,
        "DockerVersion": config.docker_version,
        "Author": config.author,
        "Config": run_config(config.config or RunConfig()),
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": {"Name": "overlay2", "Data": data},
        "RootFS": {"Type": "layers", "Layers": list(config.rootfs.diff_ids)},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }


def run_config(config: RunConfig) -> dict[str, Any]:
    """The members that Docker always shows, and the others where an image sets them."""
    shown = {
        "Hostname": config.hostname,
        "Domainname": config.domainname,
        "User": config.user,
        "ExposedPorts": config.exposed_ports,
        "Env": config.env,
        "Cmd": config.cmd,
        "Volumes": config.volumes,
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint,
        "OnBuild": config.on_build,
        "Labels": config.labels,
    }
    return {**msgspec.to_builtins(config), **shown}
