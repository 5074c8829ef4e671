"""Manifest lists that are being put together, in the directory and the format of Docker's client.

    <config>/manifests/<list>/<member>    {"Ref": …, "Descriptor": {…, "platform": {…}}, "Raw": base64 of the
                                           manifest, "SchemaV2Manifest" or "OCIManifest": the same as JSON}

File names are full references with ``-`` for ``:`` and ``_`` for ``/``. Both programs can go on with what the
other has begun. Out of scope: registries (``manifests``).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from .. import errors
from ..content import files
from ..linux.tree import remove_tree
from ..oci import descriptor as descriptors
from ..oci.reference import Reference
from .documents import Descriptor, Platform, decode

_WORK = ".tmp"


@dataclass(frozen=True)
class Member:
    """One manifest of a list, or on its own."""

    reference: str
    """where it came from, in full"""
    descriptor: Descriptor
    """with the platform"""
    raw: bytes = b""
    """the manifest; nothing if only the list has been looked at"""

    def document(self) -> dict[str, Any]:
        """What ``inspect --verbose`` shows, and what is stored."""
        found: dict[str, Any] = {
            "Ref": self.reference,
            "Descriptor": {
                "mediaType": self.descriptor.media_type,
                "digest": self.descriptor.digest,
                "size": self.descriptor.size,
            },
        }
        if self.descriptor.platform is not None:
            found["Descriptor"]["platform"] = platform_document(self.descriptor.platform)
        if self.raw:
            oci = self.descriptor.media_type == descriptors.OCI_MANIFEST
            found["Raw"] = base64.b64encode(self.raw).decode()
            found["OCIManifest" if oci else "SchemaV2Manifest"] = json.loads(self.raw)
        return found

    def entry(self) -> dict[str, Any]:
        """Its place in the list, with the members in Docker's order."""
        platform = self.descriptor.platform or Platform()
        return {
            "mediaType": self.descriptor.media_type,
            "size": self.descriptor.size,
            "digest": self.descriptor.digest,
            "platform": platform_document(platform),
        }


def platform_document(platform: Platform) -> dict[str, Any]:
    found: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        found["os.version"] = platform.os_version
    if platform.os_features:
        found["os.features"] = list(platform.os_features)
    if platform.variant:
        found["variant"] = platform.variant
    return found


def encode(members: Sequence[Member]) -> tuple[str, bytes]:
    """The list of ``members`` as it is pushed: media type, and the bytes that Docker makes of it too."""
    oci = bool(members) and members[0].descriptor.media_type == descriptors.OCI_MANIFEST
    media_type = descriptors.OCI_INDEX if oci else descriptors.DOCKER_INDEX
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [member.entry() for member in members],
    }
    return media_type, json.dumps(document, indent=3, ensure_ascii=False).encode()


class _Stored(msgspec.Struct, rename="pascal", frozen=True):
    ref: str
    descriptor: Descriptor
    raw: str = ""


class Lists:
    def __init__(self, config: str) -> None:
        """``config``: the directory of Docker's client configuration."""
        self._root = os.path.join(config, "manifests")

    def _directory(self, reference: Reference) -> str:
        return os.path.join(self._root, _file_name(reference))

    def get(self, reference: Reference) -> list[Member]:
        """The members, in the order of their file names; NotFound if there is no such list."""
        directory = self._directory(reference)
        try:
            names = sorted(name for name in os.listdir(directory) if not name.endswith(_WORK))
        except FileNotFoundError:
            raise errors.NotFound(f"no such manifest: {reference}") from None
        return [self._read(os.path.join(directory, name)) for name in names]

    def member(self, reference: Reference, of: Reference) -> Member:
        """One member of the list ``of``; NotFound if it has none of that name."""
        path = os.path.join(self._directory(of), _file_name(reference))
        try:
            return self._read(path)
        except FileNotFoundError:
            raise errors.NotFound(f"no such manifest: {reference}") from None

    def _read(self, path: str) -> Member:
        with open(path, "rb") as file:
            stored = decode(_Stored, file.read(), path)
        try:
            raw = base64.b64decode(stored.raw, validate=True)
        except binascii.Error as error:
            raise errors.CorruptData(f"{path}: Raw: {error}") from error
        return Member(stored.ref, stored.descriptor, raw)

    def save(self, of: Reference, members: Sequence[tuple[Reference, Member]]) -> None:
        """Put members into the list ``of``, which is made if need be."""
        directory = self._directory(of)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for reference, member in members:
            data = json.dumps(member.document(), ensure_ascii=False).encode()
            files.replace(os.path.join(directory, _file_name(reference)), data)

    def remove(self, reference: Reference) -> None:
        """NotFound if there is no such list."""
        doomed = f"{self._directory(reference)}.{os.getpid()}{_WORK}"
        try:
            os.rename(self._directory(reference), doomed)
        except FileNotFoundError:
            raise errors.NotFound(f"no such manifest: {reference}") from None
        remove_tree(doomed)


def _file_name(reference: Reference) -> str:
    return str(reference).replace(":", "-").replace("/", "_")
