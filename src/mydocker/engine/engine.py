"""``Engine``: where everything is, and what this engine and its host are."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from ..container.reconcile import sweep
from ..container.store import DEFAULT_ROOT, DEFAULT_STATE, Store
from ..image.store import ImageStore
from . import system
from .containers import Containers
from .images import Images, uses

if TYPE_CHECKING:
    from ..registry.client import Registries


class Engine:
    """A container engine over two directories: ``root`` for what stays, ``state`` for what runs.

    ``registries`` is a file that says how registries are reached (``registry/configuration.py``), ``config``
    the directory of Docker's client configuration, where credentials are.
    Making one costs nothing and opens nothing; two over the same directories are the same engine.
    """

    def __init__(
        self,
        root: str | None = None,
        state: str | None = None,
        *,
        registries: str | None = None,
        config: str | None = None,
    ) -> None:
        self.root = os.path.abspath(root or DEFAULT_ROOT)
        self.state = os.path.abspath(state or DEFAULT_STATE)
        self._registries = registries or ""
        self._config = config or ""
        self._store = Store(self.root, self.state)
        images = ImageStore(self.root, used=lambda: uses(self._store))
        self.images = Images(images, self._store)
        self.containers = Containers(self._store, images)

    @cached_property
    def registries(self) -> Registries:
        """The registries, as configured; the library for HTTP is imported when this is first used."""
        from ..registry.client import Registries
        from ..registry.configuration import Configuration
        from ..registry.credentials import Credentials

        return Registries(Configuration.read(self._registries), Credentials(self._config))

    def version(self) -> dict[str, object]:
        """Docker's ``GET /version``."""
        return system.version()

    def info(self) -> dict[str, object]:
        """Docker's ``GET /info``."""
        sweep(self._store)
        return system.info(self._store, images=len(self.images.list()))
