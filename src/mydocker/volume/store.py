"""Volumes without a name that a person chose: those of an image's VOLUME, and of ``-v /path``.

    <root>/volume/<64 hexadecimal digits>/_data         what the container sees
                                          config.json   Docker's fields of a volume: name, labels, when made

A container's record holds the names of its volumes before they are made, so what a killed command leaves is
found by the record. Out of scope: who uses a volume, and mounting.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from .. import errors
from ..content import files
from ..oci import digest as digests
from ..snapshot import lookup
from ..snapshot.copy import copy_tree
from ..snapshot.tree import remove_tree

ANONYMOUS = "com.docker.volume.anonymous"
"""the label that Docker puts on them"""


class Volume(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """``config.json``, and what ``volume inspect`` shows of it."""

    name: str
    driver: str = "local"
    mountpoint: str
    labels: dict[str, str]
    created_at: str
    scope: str = "local"


class VolumeStore:
    def __init__(self, root: str) -> None:
        self.root = os.path.join(root, "volume")

    @staticmethod
    def new_name() -> str:
        """A name that no other volume has."""
        return secrets.token_hex(32)

    def _directory(self, name: str) -> str:
        if len(name) != 64 or not digests.is_hex(name):
            raise errors.InvalidArgument(f"{name!r} is not the name of an anonymous volume (64 hex digits)")
        return os.path.join(self.root, name)

    def path(self, name: str) -> str:
        """The directory to mount."""
        return os.path.join(self._directory(name), "_data")

    def create(self, name: str | None = None, labels: Mapping[str, str] | None = None) -> str:
        """Make an empty volume; return its name. Conflict if the name is taken."""
        name = name or self.new_name()
        directory = self._directory(name)
        os.makedirs(self.root, mode=0o711, exist_ok=True)
        try:
            os.mkdir(directory, 0o711)
        except FileExistsError:
            raise errors.Conflict(f"a volume with the name {name} exists already") from None
        data = self.path(name)
        os.mkdir(data, 0o755)
        os.chmod(data, 0o755)
        volume = Volume(
            name=name,
            mountpoint=data,
            labels={ANONYMOUS: "", **(labels or {})},
            created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        files.replace(os.path.join(directory, "config.json"), msgspec.json.encode(volume))
        files.sync_directory(self.root)
        return name

    def populate(self, name: str, lowers: Sequence[str], place: str) -> None:
        """Fill a new volume with what the image (``lowers``, top first) has at ``place``.

        Nothing happens if there is nothing. InvalidArgument if it is no directory.
        """
        found = lookup.resolve(lowers, place)
        if found is None:
            return
        if not found.is_directory:
            raise errors.InvalidArgument(f"cannot mount volume over existing file, file exists {place}")
        copy_tree(found, self.path(name))

    def get(self, name: str) -> Volume:
        """NotFound if there is none of that name."""
        try:
            with open(os.path.join(self._directory(name), "config.json"), "rb") as file:
                return msgspec.json.decode(file.read(), type=Volume)
        except FileNotFoundError:
            raise errors.NotFound(f"no such volume: {name}") from None
        except msgspec.DecodeError as error:
            raise errors.CorruptData(f"volume {name}: config.json: {error}") from error

    def names(self) -> Sequence[str]:
        try:
            return sorted(name for name in os.listdir(self.root) if digests.is_hex(name))
        except FileNotFoundError:
            return []

    def remove(self, name: str) -> None:
        """Remove a volume and what is in it; it is no error if it is gone."""
        remove_tree(self._directory(name))
