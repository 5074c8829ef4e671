"""Image archives made by hand: good ones in the form of ``docker save``, and ones that lie."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One entry of a layer. ``kind`` is a type flag of ``tarfile``; ``target`` is for links."""

    name: str
    content: bytes = b""
    kind: bytes = tarfile.REGTYPE
    target: str = ""
    mode: int = 0o644
    device: tuple[int, int] = (0, 0)
    owner: tuple[int, int] = (0, 0)

    def add_to(self, tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(self.name)
        info.type, info.mode, info.linkname = self.kind, self.mode, self.target
        info.devmajor, info.devminor = self.device
        info.uid, info.gid = self.owner
        info.size = len(self.content)
        tar.addfile(info, io.BytesIO(self.content))


def directory(name: str, mode: int = 0o755, owner: tuple[int, int] = (0, 0)) -> Member:
    return Member(name, kind=tarfile.DIRTYPE, mode=mode, owner=owner)


def symlink(name: str, target: str) -> Member:
    return Member(name, kind=tarfile.SYMTYPE, target=target)


def hardlink(name: str, target: str) -> Member:
    return Member(name, kind=tarfile.LNKTYPE, target=target)


def layer(members: Sequence[Member]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for member in members:
            member.add_to(tar)
    return buffer.getvalue()


def docker_archive(
    path: str,
    layers: Sequence[bytes],
    *,
    name: str = "made/by-hand:1",
    config: Mapping[str, object] | None = None,
    diff_ids: Sequence[str] | None = None,
    architecture: str = "amd64",
) -> str:
    """Write what ``docker save`` writes; ``diff_ids`` replaces the true digests of the layers."""
    document = {
        "architecture": architecture,
        "os": "linux",
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids or [digest(data) for data in layers])},
    }
    raw = json.dumps(document).encode()
    config_name = hashlib.sha256(raw).hexdigest() + ".json"
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": names}]
    with tarfile.open(path, "w") as tar:
        Member(config_name, raw).add_to(tar)
        for layer_name, data in zip(names, layers, strict=True):
            Member(layer_name, data).add_to(tar)
        Member("manifest.json", json.dumps(manifest).encode()).add_to(tar)
    return path


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
