"""The root file system of a container: its layers under its own read-write layer.

In scope: which directories these are, for an image and for ``--rootfs``. Out of scope: what is in them
(``snapshot/``) and the mount, which the container's init makes in its own mount namespace (``runtime/``).
"""

from __future__ import annotations

from ..linux.tree import remove_tree
from ..runtime.rootfs import Overlay
from ..snapshot.overlay import OverlaySnapshotter
from ..snapshot.snapshotter import Snapshotter
from .record import Record

snapshotter: Snapshotter = OverlaySnapshotter()


def prepare(directory: str, record: Record) -> None:
    """Make the init layer and the read-write layer."""
    snapshotter.prepare(directory, record.layers)


def stack(directory: str, record: Record) -> Overlay:
    """The runtime's step that puts it together. A read-only root is made so after the mount points exist.

    What a container writes that removes itself is volatile. It is mounted again only on the same boot, after
    ``restart``; overlayfs's own mark, that it may be incomplete, is in the way then.
    """
    found = snapshotter.stack(directory, record.layers)
    volatile = record.host_config.auto_remove
    if volatile:
        remove_tree(f"{found.work}/work/incompat")
    return Overlay(list(found.lowers), found.upper, found.work, target(directory), volatile=volatile)


def target(directory: str) -> str:
    """Where it is mounted, which only the container's init sees: over the directory of the read-write layer,
    whose parts overlayfs has by then."""
    return f"{directory}/rw"
