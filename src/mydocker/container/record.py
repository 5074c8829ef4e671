"""The record of a container: what was asked for and what it meant at that moment.

``config.json`` is written once, when the container is created, and never again: the image is held by its
identifier and its stack of layers, the options of image and user are already merged, anonymous volumes
already have their names. What changes later is in ``state.json`` (``state.py``).
"""

import msgspec

from .config import Config, EndpointConfig, HostConfig


class MountPoint(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    """A mount that the user or the image asked for, resolved; the shape of ``inspect``'s ``Mounts``."""

    type: str
    name: str = ""
    """the volume's name"""
    source: str = ""
    destination: str
    driver: str = ""
    mode: str = ""
    rw: bool = msgspec.field(name="RW", default=True)
    propagation: str = ""
    default_propagation: bool = False
    """nobody has asked for another"""
    recursive: bool = True
    options: list[str] = []
    """for tmpfs: its mount options"""
    copy_up: bool = False
    """an empty volume: it starts with what the image has at the destination"""
    read_only_recursive: bool = True
    """of one that is not ``rw``: with what is mounted below it"""
    sub_path: str = ""
    """what of the volume is mounted"""
    volume_options: dict[str, str] = {}
    volume_labels: dict[str, str] = {}
    """of the volume, should there be none yet"""
    id_map: str = ""
    """as in ``BindOptions``"""


class Record(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    id: str
    created: str
    path: str
    args: list[str]
    name: str
    """without the slash that Docker's documents put before it"""
    image: str = ""
    """the identifier of the image, ``sha256:…``; empty with ``--rootfs``"""
    layers: list[str] = []
    """the read-only directories of the root file system, top first"""
    driver: str = "overlay"
    platform: str = "linux"
    config: Config
    host_config: HostConfig
    networks: dict[str, EndpointConfig] = {}
    """the networks that it is in when it runs, by name; the first is that of ``NetworkMode``"""
    mounts: list[MountPoint] = []
    anonymous_volumes: list[str] = []
    """names of the volumes that nobody named: they go with ``rm -v`` and with ``--rm``"""

    @property
    def durable(self) -> bool:
        """Whether it is worth an fsync: a container that removes itself would not survive a crash anyway."""
        return not self.host_config.auto_remove

    @property
    def image_name(self) -> str:
        """What the image was asked for by; empty if by its identifier, or if there is none."""
        asked = self.config.image.removeprefix("sha256:")
        shortest = 12  # what could be a name as well is looked up
        by_identifier = len(asked) >= shortest and self.image.removeprefix("sha256:").startswith(asked)
        return "" if by_identifier or not self.image else self.config.image

    @property
    def short_id(self) -> str:
        return self.id[:12]


encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Record)
