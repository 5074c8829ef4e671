"""OCI image layouts made by hand, and what a store of ours holds."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import archives
from support.archives import Member

if TYPE_CHECKING:
    from mydocker.image.store import ImageStore


class Layout:
    """An OCI image layout in a directory, put together by hand."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifests: list[dict[str, Any]] = []
        (path / "blobs/sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes, media_type: str = "") -> dict[str, Any]:
        name = archives.digest(data)
        (self.path / "blobs/sha256" / name.removeprefix("sha256:")).write_bytes(data)
        return {"mediaType": media_type, "digest": name, "size": len(data)}

    def image(
        self,
        layers: Sequence[bytes],
        stored: Sequence[bytes] | None = None,
        media_type: str = "application/vnd.oci.image.layer.v1.tar",
        urls: Sequence[str] | None = None,
        **config: Any,
    ) -> dict[str, Any]:
        """The descriptor of a new image; ``stored`` are its layers as they lie in the layout.

        ``urls`` are where its layers are as well.
        """
        elsewhere = {} if urls is None else {"urls": list(urls)}
        document = {
            "architecture": "amd64",
            "os": "linux",
            **config,
            "rootfs": {"type": "layers", "diff_ids": [archives.digest(data) for data in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.blob(json.dumps(document).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [{**self.blob(data, media_type), **elsewhere} for data in stored or layers],
        }
        return self.blob(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")

    def index(self, manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
        document = {"schemaVersion": 2, "manifests": list(manifests)}
        return self.blob(json.dumps(document).encode(), "application/vnd.oci.image.index.v1+json")

    def write(self, *manifests: dict[str, Any]) -> str:
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(manifests)}))
        return str(self.path)

    def tar(self) -> str:
        path = f"{self.path}.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(self.path, arcname=".")
        return path


def layer(*names: str) -> bytes:
    return archives.layer([Member(name, name.encode()) for name in names])


def files(store: ImageStore) -> list[str]:
    """Everything in the store but its locks, as relative paths."""
    found = []
    for top in (store.content.root, store.layers.root):
        for place, _, names in os.walk(top):
            relative = os.path.relpath(place, os.path.dirname(top))
            found += [f"{relative}/{name}" for name in names if not name.endswith("lock")]
            if top == store.layers.root and place != top and os.path.dirname(place) == top:
                found.append(relative)
    return sorted(found)
