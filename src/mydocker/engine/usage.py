"""``Engine.df``: what images, containers and volumes take on disk, and what of it would come back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..container.store import Store
from ..container.volumes import users
from ..errors import NotFound
from ..image import usage as images
from ..image.store import ImageStore
from ..snapshot.usage import usage
from ..volume.store import Volume, VolumeStore
from .containers import Container, Containers


@dataclass(frozen=True)
class ContainerUsage:
    container: Container
    size: int
    """bytes on disk of what it has changed, its log and its files"""


@dataclass(frozen=True)
class VolumeUsage:
    volume: Volume
    size: int
    links: int
    """how many containers have it"""


@dataclass(frozen=True)
class DiskUsage:
    images: images.Usage
    containers: Sequence[ContainerUsage]
    """the newest first"""
    volumes: Sequence[VolumeUsage]


def measure(store: Store, image_store: ImageStore) -> DiskUsage:
    containers = Containers(store, image_store).list(all=True)
    links = users(store)
    volumes = VolumeStore(store.root)
    found = []
    for name in volumes.names():
        try:
            volume = volumes.get(name)
        except NotFound:
            continue  # removed meanwhile
        if not volume.options:  # else its files take their room elsewhere
            found.append(VolumeUsage(volume, usage(volume.mountpoint), len(links.get(name, ()))))
    return DiskUsage(
        images=images.measure(image_store),
        containers=[ContainerUsage(one, usage(store.directory(one.id))) for one in containers],
        volumes=found,
    )
