"""``Engine``: where everything is, and what this engine and its host are."""

from __future__ import annotations

import os

from ..container.reconcile import sweep
from ..container.store import DEFAULT_ROOT, DEFAULT_STATE, Store
from ..image.store import ImageStore
from . import system
from .containers import Containers
from .images import Images, uses


class Engine:
    """A container engine over two directories: ``root`` for what stays, ``state`` for what runs.

    Making one costs nothing and opens nothing; two over the same directories are the same engine.
    """

    def __init__(self, root: str | None = None, state: str | None = None) -> None:
        self.root = os.path.abspath(root or DEFAULT_ROOT)
        self.state = os.path.abspath(state or DEFAULT_STATE)
        self._store = Store(self.root, self.state)
        images = ImageStore(self.root, used=lambda: uses(self._store))
        self.images = Images(images, self._store)
        self.containers = Containers(self._store, images)

    def version(self) -> dict[str, object]:
        """Docker's ``GET /version``."""
        return system.version()

    def info(self) -> dict[str, object]:
        """Docker's ``GET /info``."""
        sweep(self._store)
        return system.info(self._store, images=len(self.images.list()))
