"""Who is called what in the networks of a container: what its resolver answers from.

A name is looked up on disk when it is asked for, so containers that come, go or are renamed are followed by
themselves: the claim on a container's name leads to its identifier, and what it has of networks is beside its
lock. Aliases are in as many files as there are containers in the network; what was read is kept until an
address there is given out or taken back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress

from ..errors import CorruptData, NotFound, NotSupported
from ..linux.links import Netlink
from ..monitor.resolver import Server
from ..network import dns
from ..network.document import Endpoint
from ..network.egress import LASTING, LONGEST, NONE, Egress, Remembered, is_outside, places
from ..network.inside import packed
from ..network.leases import Leases
from . import attached, files
from .store import Store

_SETTLED = 1_000_000_000
"""nanoseconds after which everything about a name or an address is on disk"""


class Directory:
    __slots__ = ("_aliases", "_allowed", "_id", "_leases", "_store", "_turn", "_with_capitals")

    def __init__(self, store: Store, identifier: str) -> None:
        self._store = store
        self._id = identifier
        self._leases = Leases(store.state)
        self._aliases: dict[str, tuple[int, dict[str, list[str]]]] = {}
        self._with_capitals: tuple[int, dict[str, str]] | None = None
        self._allowed = Remembered()
        self._turn = 0

    def addresses(self, name: str) -> list[str] | None:
        for endpoint in self._own():
            network = endpoint.network
            for asked in dict.fromkeys((name, name.removesuffix(f".{network}"))):
                wanted = endpoint.links.get(asked.lower(), asked)
                found = self._called(wanted, network)
                found += [each for each in self._named(wanted, network) if each not in found]
                if found:
                    self._turn += 1
                    start = self._turn % len(found)
                    return found[start:] + found[:start]
        return None

    def name_of(self, address: str) -> str:
        for endpoint in self._own():
            owner = self._leases.owner(endpoint.network, address)
            if owner:
                try:
                    return f"{self._store.read_record(owner).name}.{endpoint.network}"
                except (NotFound, CorruptData):
                    return ""
        return ""

    def servers(self) -> list[Server]:
        """Of ``--dns``, or the host's if any network of the container leads outside.

        A container that may talk to some places only has its own servers asked for it too.
        """
        try:
            host = self._store.read_record(self._id).host_config
        except (NotFound, CorruptData):
            return []
        leads = any(endpoint.leads for endpoint in attached.read(self._store, self._id).endpoints)
        if host.dns and (leads or host.egress is None):
            inside = host.egress is None
            return [Server(address, inside) for address in host.dns if address != files.RESOLVER]
        return [Server(address, inside=False) for address in files.host_servers()] if leads else []

    def passes(self, name: str) -> bool:
        entries = self._egress()
        return entries is None or any(place.host == name.lower() for place in places(entries))

    def told(self, name: str, message: bytes) -> None:
        """With a list of places that the container may talk to, its addresses become some of them.

        Except for those of the host: who owns a name outside must not open what the host serves to itself.
        """
        entries = self._egress()
        if entries is None:
            return
        try:
            found = [(address, ttl) for address, ttl in dns.addresses(message) if is_outside(address)]
        except dns.Malformed:
            return
        allowed = places(entries)
        known = {(place.host, place.port, each) for place in allowed for each in place.protocols}
        wanted = {
            (address, place.port, protocol)
            for place in allowed
            if place.named and place.host == name.lower()
            for address, _ in found
            for protocol in place.protocols
        }
        seconds = min(max([LASTING, *(ttl for _, ttl in found)]), LONGEST)
        whose = [endpoint.id for endpoint in attached.read(self._store, self._id).endpoints]
        due = self._allowed.due(whose, wanted - known, seconds)
        if due:
            with Netlink() as kernel:
                own = {address for _, address, _ in kernel.addresses()}
            others = [each for each in due if packed(each[0]) not in own]
            with suppress(NotSupported):  # somebody has flushed the packet filter: nothing is allowed then
                if others:
                    Egress(attached.of(self._store).filter).allow(self._id, others, seconds)
                self._allowed.note(due, seconds)

    def _egress(self) -> list[str] | None:
        try:
            return self._store.read_record(self._id).host_config.egress
        except (NotFound, CorruptData):
            return [NONE]

    def _own(self) -> Iterator[Endpoint]:
        """The container in each network that has names."""
        for endpoint in attached.read(self._store, self._id).endpoints:
            if endpoint.network != "bridge":
                yield endpoint

    def _named(self, name: str, network: str) -> list[str]:
        """The addresses of the container of this name, whatever its letters' case."""
        if not name or "/" in name or "\0" in name:
            return []
        known = (name, name.lower(), self._capitals().get(name.lower(), ""))
        for owner in filter(None, (self._store.named(each) for each in known if each)):
            if os.path.lexists(self._store.run_directory(owner)):
                return self._in(owner, network)
        return []

    def _capitals(self) -> dict[str, str]:
        """The names that have capitals, by what they are without."""
        version = self._store.names_version()
        kept = self._with_capitals
        if kept is None or kept[0] != version:
            kept = version, {name.lower(): name for name in self._store.all_names() if name != name.lower()}
            if time.time_ns() - version > _SETTLED:
                self._with_capitals = kept
        return kept[1]

    def _in(self, owner: str, network: str) -> list[str]:
        return [
            address
            for endpoint in attached.read(self._store, owner).endpoints
            if endpoint.network == network
            for address in endpoint.addresses
        ]

    def _called(self, name: str, network: str) -> list[str]:
        """The addresses of everybody with this alias; the short identifier is one."""
        version = self._leases.version(network)
        kept = self._aliases.get(network)
        if kept is None or kept[0] != version:
            found: dict[str, list[str]] = {}
            for owner in sorted(set(self._leases.of(network).values())):
                addresses = self._in(owner, network)
                for alias in self._aliases_of(owner, network):
                    others = found.setdefault(alias.lower(), [])
                    others += [each for each in addresses if each not in others]
            kept = version, found
            # of an address just given out, it may not be known yet who has it
            if time.time_ns() - version > _SETTLED:
                self._aliases[network] = kept
        return [*kept[1].get(name.lower(), ())]

    def _aliases_of(self, owner: str, network: str) -> list[str]:
        return [
            alias
            for endpoint in attached.read(self._store, owner).endpoints
            if endpoint.network == network
            for alias in endpoint.aliases
        ]
