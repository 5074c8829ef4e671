"""Snapshots for overlayfs: an empty read-write layer, and an init layer where there is none yet.

Images come with an init layer (``image.layers``), which all their containers share: making a dozen inodes for
each container, and removing them again, would cost more than everything else here together. For
``--rootfs DIR`` the container has one of its own, if DIR lacks anything.

overlayfs refuses a lower directory below another one (ELOOP), so for ``--rootfs /`` and any other directory
that the container's own is part of, the missing mount targets go to the read-write layer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from .. import errors
from ..linux.tree import remove_tree
from .attributes import copy_attributes
from .snapshotter import Stack
from .targets import Targets


class OverlaySnapshotter:
    """See ``snapshotter.Snapshotter``."""

    def prepare(self, container: str, lowers: Sequence[str]) -> Stack:
        if not lowers:
            raise errors.InvalidArgument("a container needs at least one layer or a root directory")
        targets = Targets(lowers)
        upper = f"{container}/rw/diff"
        os.mkdir(f"{container}/rw", 0o711)
        os.mkdir(upper, 0o755)
        os.mkdir(f"{container}/rw/work", 0o700)
        if targets.missing:
            layer = upper
            if not _is_inside(container, lowers):
                layer = f"{container}/init"
                os.mkdir(layer, 0o755)
            targets.make(layer)
        copy_attributes(targets.root.path, targets.root.status, upper)
        return self.stack(container, lowers)

    def stack(self, container: str, lowers: Sequence[str]) -> Stack:
        init = f"{container}/init"
        own = (init,) if os.path.isdir(init) else ()
        return Stack(lowers=(*own, *lowers), upper=f"{container}/rw/diff", work=f"{container}/rw/work")

    def remove(self, container: str) -> None:
        for name in ("rw", "init"):
            remove_tree(f"{container}/{name}")


def _is_inside(container: str, lowers: Sequence[str]) -> bool:
    """Whether ``container`` is below one of ``lowers``."""
    path = os.path.realpath(container) + "/"
    return any(path.startswith(os.path.join(os.path.realpath(lower), "")) for lower in lowers)
