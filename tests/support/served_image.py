"""Images put into a fake registry by hand: good ones, and ones that lie."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from typing import Any

from support import archives
from support.fake_registry import FakeRegistry, digest_of

OCI = "application/vnd.oci.image."
MANIFEST, INDEX, CONFIG = OCI + "manifest.v1+json", OCI + "index.v1+json", OCI + "config.v1+json"
LAYER = OCI + "layer.v1.tar"


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


class ServedImage:
    """One image in the repository ``name`` of ``fake``. Change ``manifest`` or ``config``, then ``put``."""

    def __init__(
        self, fake: FakeRegistry, layers: Sequence[bytes], name: str = "a/b", *, compressed: bool = True,
        **config: Any,
    ) -> None:  # fmt: skip
        self.fake = fake
        self.name = name
        self.layers = list(layers)
        self.stored = [gzipped(data) if compressed else data for data in layers]
        media_type = LAYER + ("+gzip" if compressed else "")
        self.descriptors = [self.blob(data, media_type) for data in self.stored]
        self.config: dict[str, Any] = {
            "architecture": "amd64", "os": "linux", **config,
            "rootfs": {"type": "layers", "diff_ids": [archives.digest(data) for data in layers]},
        }  # fmt: skip
        self.manifest: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": self.descriptors,
        }  # fmt: skip

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": self.fake.add_blob(data, self.name), "size": len(data)}

    def put(self, tag: str = "1") -> dict[str, Any]:
        """Give it to the registry; its descriptor."""
        self.manifest.setdefault("config", self.blob(json.dumps(self.config).encode(), CONFIG))
        data = json.dumps(self.manifest).encode()
        digest = self.fake.add_manifest(self.name, tag, data, MANIFEST)
        return {"mediaType": MANIFEST, "digest": digest, "size": len(data)}

    @property
    def id(self) -> str:
        found: str = self.manifest["config"]["digest"]
        return found


def put_index(
    fake: FakeRegistry, tag: str, entries: Sequence[dict[str, Any]], name: str = "a/b"
) -> dict[str, Any]:
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}).encode()
    digest = fake.add_manifest(name, tag, data, INDEX)
    assert digest == digest_of(data)
    return {"mediaType": INDEX, "digest": digest, "size": len(data)}


def on(descriptor: dict[str, Any], platform: str) -> dict[str, Any]:
    """The descriptor as an index lists it, ``linux/arm/v7``."""
    system, name, *variant = platform.split("/")
    told = {"os": system, "architecture": name, **({"variant": variant[0]} if variant else {})}
    return {**descriptor, "platform": told}
