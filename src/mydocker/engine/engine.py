"""``Engine``: where everything is, and what this engine and its host are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ..container import boot
from ..container.events import Message
from ..container.reconcile import sweep
from ..container.store import DEFAULT_ROOT, Store
from ..errors import Error, Unauthorized
from ..image.lists import Lists
from ..image.store import ImageStore
from ..network.store import DEFAULT_STATE
from . import check as checking
from . import events as listening
from . import prune as pruning
from . import system, usage
from .check import Checked
from .containers import Container, Containers
from .images import Images, uses
from .manifests import Manifests
from .networks import Networks
from .prune import SystemPruned
from .usage import DiskUsage
from .volumes import Volumes

if TYPE_CHECKING:
    from ..registry.client import Registries
    from ..registry.credentials import Auth, Credentials
    from ..registry.search import Result


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
        self._images = ImageStore(self.root, used=lambda: uses(self._store))
        self.images = Images(self._images, self._store, lambda: self.registries)
        self.containers = Containers(self._store, self._images)
        self.networks = Networks(self._store)
        self.volumes = Volumes(self._store)

    @cached_property
    def registries(self) -> Registries:
        """The registries, as configured; the library for HTTP is imported when this is first used."""
        from ..registry.client import Registries
        from ..registry.configuration import Configuration

        return Registries(Configuration.read(self._registries), self._credentials)

    @cached_property
    def manifests(self) -> Manifests:
        """Manifests on registries, and lists of them that are being put together."""
        return Manifests(lambda: Lists(self._credentials.directory), self._trusting)

    def _trusting(self, domains: Sequence[str]) -> Registries:
        """The registries, of which those of ``domains`` may be insecure."""
        if not domains:
            return self.registries
        from ..registry.client import Registries

        configuration = self.registries.configuration
        for domain in domains:
            configuration = configuration.trusting(domain)
        return Registries(configuration, self._credentials)

    @cached_property
    def _credentials(self) -> Credentials:
        from ..registry.credentials import Credentials

        return Credentials(self._config)

    def login(self, server: str = "", auth: Auth | None = None) -> str:
        """Have the registry check ``auth``, by default what is stored for it, and store it.

        ``server``: as references name it; Docker Hub when empty. Returns the path of the file that has the
        password now in clear and did not have it before, else an empty string. Raises ``Unauthorized``.
        """
        from ..registry import login

        domain = login.domain_of(server)
        given = auth if auth is not None else self._credentials.get(domain)
        if given is None:
            raise Unauthorized(f"no credentials for {domain}")
        return self._credentials.store(domain, login.verify(self.registries, domain, given))

    def logout(self, server: str = "") -> bool:
        """Forget the credentials; false when there were none."""
        from ..registry.login import domain_of

        return self._credentials.erase(domain_of(server))

    def credentials(self, server: str = "") -> Auth | None:
        """What is stored for a registry, unchecked."""
        from ..registry.login import domain_of

        return self._credentials.get(domain_of(server))

    def search(
        self, term: str, *, limit: int = 0, filters: Mapping[str, Sequence[str]] | None = None
    ) -> Sequence[Result]:
        """Repositories by a word, on the registry that ``term`` begins with (``registry/search.py``)."""
        from ..registry.search import search

        return search(self.registries, term, limit=limit, filters=filters)

    def version(self) -> dict[str, object]:
        """Docker's ``GET /version``."""
        return system.version()

    def info(self) -> dict[str, object]:
        """Docker's ``GET /info``."""
        sweep(self._store)
        return system.info(self._store, images=len(self.images.list()))

    def start(self) -> Iterator[tuple[Container, Error | None]]:
        """As after a boot, start what has the restart policy ``always``, or ``unless-stopped`` and was not.

        What was started, and with an error what was not. Nothing is started before the iterator is used.
        """
        for record, error in boot.boot(self._store):
            yield Container(self._store, self._images, record, self._store.read_state(record.id)), error

    def events(
        self,
        *,
        since: float | None = None,
        until: float | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
        going_on: Callable[[], bool] = lambda: True,
    ) -> Iterator[Message]:
        """What happens from now on, or since a Unix time; until another one, or for ever.

        ``going_on`` is asked now and then whether to go on. Filters are Docker's (``engine/events.py``).
        """
        return listening.events(self._store, since=since, until=until, filters=filters, going_on=going_on)

    def df(self) -> DiskUsage:
        """What images, containers and volumes take on disk: every file is looked at."""
        return usage.measure(self._store, self._images)

    def check(
        self,
        *,
        repair: bool = False,
        remove_broken: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Checked:
        """Verify every blob, image, layer, container and volume.

        ``repair``: put right what loses nothing. ``remove_broken``: what cannot be repaired is removed.
        ``progress(done, total)`` counts bytes.
        """
        return checking.check(
            self._store, self._images, repair=repair, remove_broken=remove_broken, progress=progress
        )

    def prune(
        self,
        *,
        all: bool = False,
        volumes: bool = False,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> SystemPruned:
        """Remove stopped containers, images without a tag (``all``: all that are unused), and leftovers.

        ``volumes``: anonymous volumes that no container has, too. Filters are ``until`` (Unix time),
        ``label`` and ``label!``.
        """
        return pruning.everything(self._store, self._images, all=all, volumes=volumes, filters=filters or {})
