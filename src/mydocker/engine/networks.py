"""``Engine.networks``: the collection, and one network as an object that does things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..container import attached, connect, events
from ..container.config import EndpointConfig
from ..container.reconcile import reconcile
from ..container.store import Store
from ..errors import Forbidden, InvalidArgument, NotFound
from ..image import filters as filtering
from ..network.document import Endpoint, Pool, bare_endpoint
from ..network.document import Network as Document
from ..network.leases import Leases

_FILTERS = frozenset(("dangling", "driver", "id", "label", "name", "scope", "type"))


class Network:
    """A reference: its document, which never changes."""

    def __init__(self, store: Store, document: Document) -> None:
        self._store = store
        self.document = document

    def __repr__(self) -> str:
        return f"<Network {self.name} {self.id[:12]}>"

    @property
    def id(self) -> str:
        return self.document.id

    @property
    def name(self) -> str:
        return self.document.name

    def containers(self) -> list[str]:
        """Identifiers of the running containers in it."""
        if self.document.addressed:
            return sorted(set(Leases(self._store.state).of(self.name).values()))
        return sorted(filter(self._shared, self._store.ids()))

    def _shared(self, identifier: str) -> bool:
        """Whether a container runs whose ``--network`` is this one, in which nothing has an address."""
        try:
            running = self._store.read_state(identifier).running and self._store.held(identifier)
            return running and self._store.read_record(identifier).host_config.network_mode == self.name
        except NotFound:
            return False  # removed meanwhile

    def connect(self, container: str, endpoint: EndpointConfig | None = None) -> None:
        reconcile(self._store)
        record = self._store.read_record(self._store.resolve(container))
        connect.connect(self._store, record, self.document, endpoint or EndpointConfig())

    def disconnect(self, container: str) -> str:
        """A warning, or nothing: ports that were published by this network may not be by the next one."""
        reconcile(self._store)
        record = self._store.read_record(self._store.resolve(container))
        reason = connect.disconnect(self._store, record, self.document)
        return f"Published ports are discarded: {reason}" if reason else ""

    def remove(self) -> None:
        """``Forbidden`` if containers are in it, or if it is one of those that are always there."""
        reconcile(self._store)
        connect.release_orphans(self._store, self.document)
        attached.of(self._store).remove(self.document)
        _tell(self._store, "destroy", self.document)

    def inspect(self) -> dict[str, Any]:
        """Docker's ``GET /networks/{id}``."""
        shown: dict[str, Any] = msgspec.to_builtins(self.document)
        del shown["MadeParent"]
        options, labels = shown.pop("Options"), shown.pop("Labels")
        shown |= {"ConfigFrom": {"Network": ""}, "ConfigOnly": False, "Containers": {}}
        shown |= {"Options": options, "Labels": labels}
        for identifier in self.containers():
            try:
                record = self._store.read_record(identifier)
            except NotFound:
                continue  # removed meanwhile
            for endpoint in self._endpoints(identifier):
                shown["Containers"][identifier] = {
                    "Name": record.name,
                    "EndpointID": endpoint.id,
                    "MacAddress": endpoint.mac,
                    "IPv4Address": f"{endpoint.address}/{endpoint.prefix}" if endpoint.address else "",
                    "IPv6Address": f"{endpoint.address6}/{endpoint.prefix6}" if endpoint.address6 else "",
                }
        return shown

    def _endpoints(self, identifier: str) -> list[Endpoint]:
        if not self.document.addressed:
            return [bare_endpoint(self.document, identifier)]
        having = attached.read(self._store, identifier).endpoints
        return [endpoint for endpoint in having if endpoint.network == self.name]


class Networks:
    def __init__(self, store: Store) -> None:
        self._store = store

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        ipam: Sequence[Pool] = (),
        ipv4: bool = True,
        ipv6: bool = False,
        internal: bool = False,
        attachable: bool = False,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Network:
        """Make a network. Raises ``Conflict`` (name), ``Forbidden`` (subnet), ``InvalidArgument``."""
        document = attached.of(self._store).create(
            name,
            driver=driver,
            ipam=list(ipam),
            ipv4=ipv4,
            ipv6=ipv6,
            internal=internal,
            attachable=attachable,
            labels=labels,
            options=options,
        )
        _tell(self._store, "create", document)
        return Network(self._store, document)

    def get(self, reference: str) -> Network:
        """By name, identifier, or the beginning of one identifier."""
        return Network(self._store, attached.of(self._store).resolve(reference))

    def prune(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[str]:
        """Remove the networks that no running container is in; returns their names.

        The network ``bridge`` stays, but what it has in the kernel goes, until the next container needs it.
        """
        filtering.check(filters or {}, filtering.PRUNING - {"dangling"})
        removed = []
        for network in self.list():
            if network.document.predefined:
                continue
            if not filtering.labelled(network.document.labels, filters or {}):
                continue
            if not filtering.old_enough(network.document.created, filters or {}):
                continue
            try:
                network.remove()
            except (Forbidden, NotFound):
                continue  # in use, or removed by somebody else
            removed.append(network.name)
        attached.of(self._store).lower()
        events.pruned(self._store, "network", 0)
        return removed

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[Network]:
        """By name. Filters are Docker's."""
        for key in filters or {}:
            if key not in _FILTERS:
                raise InvalidArgument(f"invalid filter '{key}'")
        reconcile(self._store)
        found = [Network(self._store, each) for each in attached.of(self._store).every()]
        return [each for each in found if _matches(each, filters or {})]


def _tell(store: Store, action: str, document: Document) -> None:
    events.emit(store, "network", action, document.id, {"name": document.name, "type": document.driver})


def _matches(network: Network, filters: Mapping[str, Sequence[str]]) -> bool:
    document = network.document
    for key, values in filters.items():
        if key == "label":
            if not all(_labelled(document, value) for value in values):
                return False
        elif not any(_one(network, key, value) for value in values):
            return False
    return True


def _one(network: Network, key: str, value: str) -> bool:
    document = network.document
    if key == "driver":
        return document.driver == value
    if key in ("id", "name"):
        return bool(filtering.pattern(key, value).search(document.id if key == "id" else document.name))
    if key == "scope":
        return document.scope == value
    if key == "type":
        if value not in ("custom", "builtin"):
            raise InvalidArgument(f"invalid filter: 'type'='{value}'")
        return document.predefined == (value == "builtin")
    if value not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"invalid filter 'dangling=[{value}]'")
    return (not document.predefined and not network.containers()) == (value in ("true", "1"))


def _labelled(document: Document, value: str) -> bool:
    name, equals, wanted = value.partition("=")
    return name in document.labels and (not equals or document.labels[name] == wanted)
