"""The networks on disk.

    <root>/network/<name>.json       the document, written once
    <state>/network.lock             flock: shared by who connects a container, exclusive for who makes a
                                     network or removes one
    <state>/network/<name>/          leases (``leases.py``)
    <state>/port/                    claims on ports of the host (``claims.py``)

``bridge`` is made when it is first needed; ``host`` and ``none`` are not on disk at all. What a network has
in the kernel (its bridge, its place in the packet filter) is made with it, and again by whoever needs it and
does not find it, as after a reboot. Engines that differ in <root> alone share what is below <state>, and the
table of the packet filter.
"""

from __future__ import annotations

import hashlib
import os
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import msgspec

from ..content import files
from ..content.lock import Lock
from ..errors import Conflict, CorruptData, Forbidden, InvalidArgument, NotFound, NotSupported
from ..linux.links import LONGEST_NAME, Link, Netlink, is_name
from . import above, bridge, pools
from .claims import Claims
from .document import (
    BRIDGE_NAME,
    DEFAULT_BRIDGE,
    HOST_BINDING,
    ICC,
    MASQUERADE,
    MTU,
    OPTIONS,
    PARENT,
    PREDEFINED,
    Endpoint,
    Ipam,
    Network,
    Pool,
    Port,
    Subnet,
    decoder,
    encoder,
    predefined_id,
)
from .filter import MISSING, Filter, available
from .leases import Leases

_UNFILTERED = "unfiltered"
"""below <state>: what the packet filter said when it was last asked for its table, and refused"""
DEFAULT_STATE = "/run/mydocker"
_FIRST = frozenset(string.ascii_letters + string.digits)
_REST = _FIRST | frozenset("_.-")


class Networks:
    def __init__(self, root: str, state: str) -> None:
        self.root = f"{root}/network"
        self.state = state
        self.leases = Leases(state)
        self.claims = Claims(state)
        # two engines on one host have their own links and their own table
        suffix = "" if state == DEFAULT_STATE else hashlib.sha256(state.encode()).hexdigest()[:8]
        self._bridge = f"md-{suffix}" if suffix else "mydocker0"
        self.filter = Filter(f"mydocker_{suffix}" if suffix else "mydocker")

    # -- reading

    def names(self) -> list[str]:
        return sorted(self._stored() | set(PREDEFINED))

    def _stored(self) -> set[str]:
        """The names of those on disk."""
        try:
            return {name.removesuffix(".json") for name in os.listdir(self.root) if name.endswith(".json")}
        except FileNotFoundError:
            return set()

    def every(self) -> list[Network]:
        found = []
        for name in self.names():
            with suppress(NotFound):  # removed meanwhile
                found.append(self.get(name))
        return found

    def get(self, name: str) -> Network:
        """By its name alone; ``NotFound`` in Docker's words."""
        if name in ("host", "none"):
            return self._predefined(name, "null" if name == "none" else "host", Ipam(config=[]), {})
        try:
            with open(f"{self.root}/{name}.json", "rb") as file:
                return decoder.decode(file.read())
        except FileNotFoundError:
            if name == "bridge":
                with self._changing():
                    return self._default()
            raise NotFound(f"network {name} not found") from None
        except msgspec.MsgspecError as error:
            raise CorruptData(f"{self.root}/{name}.json: {error}") from error

    def resolve(self, reference: str) -> Network:
        """By name, identifier, or the beginning of one identifier."""
        if reference in self.names():
            return self.get(reference)
        found = [each for each in self.every() if reference and each.id.startswith(reference)]
        if len(found) > 1:
            raise InvalidArgument(
                f"network {reference} is ambiguous ({len(found)} matches found on ID prefix)"
            )
        if not found:
            raise NotFound(f"network {reference} not found")
        return found[0]

    def _predefined(self, name: str, driver: str, ipam: Ipam, options: dict[str, str]) -> Network:
        try:
            made = os.stat(os.path.dirname(self.root)).st_mtime
        except FileNotFoundError:
            made = 0.0
        return Network(
            name=name,
            id=predefined_id(self.root, name),
            created=_instant(datetime.fromtimestamp(made, UTC)),
            driver=driver,
            ipam=ipam,
            options=options,
        )

    # -- ports

    def unpublish(self, ports: Sequence[Port], container: str) -> list[Port]:
        """Have these lead to ``container`` no more, and give them back; those that something has come by."""
        if not ports:
            return []
        with self.claims.changing() as claims:
            own = claims.of(ports, container)
            used = self.filter.unpublish(own)
            claims.release(own)
        return used

    def unpublish_all(self, container: str) -> None:
        """The same with what was claimed for it by somebody who was killed before he wrote that down."""
        if container in self.claims.owners():
            with self.claims.changing() as claims:
                own = claims.all_of(container)
                self.filter.unpublish(own)
                claims.release(own)

    # -- changing

    def connecting(self) -> Lock:
        """To be held by who gives a container an address, until its links are there."""
        return Lock(f"{self.state}/network.lock", shared=True)

    def unlimiting(self) -> Lock:
        """To be held by who takes off the limits of an address, and by who gives back one that had some."""
        return Lock(f"{self.state}/egress.lock")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        os.makedirs(self.root, 0o711, exist_ok=True)
        os.makedirs(self.state, 0o700, exist_ok=True)
        with Lock(f"{self.state}/network.lock"):
            for name in os.listdir(self.root):
                if name.endswith(".tmp"):  # of somebody who was killed
                    os.unlink(f"{self.root}/{name}")
            yield

    def _default(self) -> Network:
        """``bridge``, made if there is none. Needs the lock.

        A link that is there is of another root directory, whose containers may be on it. It is shared, as the
        leases are.
        """
        if os.path.exists(f"{self.root}/bridge.json"):
            return self.get("bridge")
        with Netlink() as kernel:
            pool = pools.of_link(kernel, self._bridge)
        pool = pool or pools.choose(self._subnets() + pools.of_host())
        options = {
            DEFAULT_BRIDGE: "true",
            ICC: "true",
            MASQUERADE: "true",
            HOST_BINDING: "0.0.0.0",
            BRIDGE_NAME: self._bridge,
            MTU: "1500",
        }
        made = self._predefined("bridge", "bridge", Ipam(config=[pool]), options)
        self._write(msgspec.structs.replace(made, created=_instant(datetime.now(UTC))))
        return made

    def create(
        self,
        name: str,
        *,
        driver: str = "bridge",
        ipam: list[Pool] | None = None,
        ipv4: bool = True,
        ipv6: bool = False,
        internal: bool = False,
        attachable: bool = False,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Network:
        """Make a network. Raises ``InvalidArgument``, ``Conflict``, ``Forbidden`` in Docker's words."""
        check_name(name)
        chosen = _options(driver, dict(options or {}))
        if internal:
            chosen.pop(PARENT, None)  # as in Docker: it leads nowhere, like one without a parent
        with self._changing():
            if os.path.exists(f"{self.root}/{name}.json"):
                raise Conflict(f"network with name {name} already exists")
            config = pools.settled(ipam or (), self._subnets(), ipv4=ipv4, ipv6=ipv6)
            made = Network(
                name=name,
                id=os.urandom(32).hex(),
                created=_instant(datetime.now(UTC)),
                driver=driver,
                enable_ipv6=ipv6,
                ipam=Ipam(options={}, config=config),
                internal=internal,
                attachable=attachable,
                labels=dict(labels or {}),
                options=chosen,
            )
            if made.bridged:
                self._check_bridge(made)
            else:
                made = self._above(made)
            self._write(made)
            try:
                if made.bridged:
                    self._raise(made)
                else:
                    with Netlink() as kernel:
                        above.probe(kernel, made)
            except BaseException:
                self._remove(made)
                raise
        return made

    def _above(self, network: Network) -> Network:
        """With the word on whether the link that it is above is ours to make and to remove."""
        beside = self._beside(network)
        above.check_beside(network, beside)
        shared = any(other.made_parent for other in beside)
        with Netlink() as kernel:
            missing = above.lacks_parent(kernel, network)
        return msgspec.structs.replace(network, made_parent=missing or shared)

    def _beside(self, network: Network) -> list[Network]:
        """Other networks above the same link."""
        return [
            other
            for other in self._all_stored()
            if not other.bridged and other.parent == network.parent and other.name != network.name
        ]

    def remove(self, network: Network) -> None:
        """``Forbidden`` if containers are in it."""
        if network.predefined:
            raise Forbidden(f"{network.name} is a pre-defined network and cannot be removed")
        with self._changing():
            if self.get(network.name).id != network.id:
                raise NotFound(f"network {network.name} not found")
            if not self.leases.close(network.name):
                raise Forbidden(
                    f"error while removing network: network {network.name} id {network.id} has active "
                    "endpoints"
                )
            self._remove(network)

    def _remove(self, network: Network) -> None:
        """The document goes last, so that what was cut short can be done again."""
        if network.bridged:
            self._lower(network)
        elif network.made_parent and not self._beside(network):
            with Netlink() as kernel:
                above.remove_parent(kernel, network)
        with suppress(FileNotFoundError):
            os.unlink(f"{self.root}/{network.name}.json")

    def lower(self) -> None:
        """Take ``bridge`` out of the kernel unless a container is in it: who needs it next makes it again."""
        with self._changing():
            if "bridge" not in self._stored() or not self.leases.close("bridge"):
                return
            self._lower(self.get("bridge"), last=not self.leases.owners())

    def _lower(self, network: Network, *, last: bool = False) -> None:
        """Filter last, as whoever finds the bridge takes it to be filtered. ``last``: there may be no network
        any more that needs the table."""
        with Netlink() as kernel:
            bridge.remove(kernel, network)
        try:
            self.filter.remove_network(network)
            if last:
                self.filter.remove_unused()
        except NotSupported:
            if not self.unfiltered():
                raise

    def ready(self, kernel: Netlink, network: Network) -> Link | None:
        """The network's bridge, if all that it needs in the kernel is there; or the link that it is above."""
        return bridge.find(kernel, network) if network.bridged else above.find(kernel, network)

    def plug(
        self,
        kernel: Netlink,
        link: Link,
        network: Network,
        endpoint: Endpoint,
        target: int,
        *,
        gateway: Collection[int],
    ) -> None:
        """Make a container's link, where ``ready`` has found ``link``."""
        driver = bridge if network.bridged else above
        driver.plug(kernel, link, network, endpoint, target, gateway=gateway)

    def prepare_bridge(self, network: Network) -> None:
        """Make the bridge that ``ready`` misses. Not to be called by who is ``connecting``."""
        with self._changing(), Netlink() as kernel:
            current = self.get(network.name)
            if current.bridged and bridge.find(kernel, current) is None:
                self._raise(current)

    def _raise(self, network: Network) -> None:
        """Filter first: no packet passes over a bridge that the filter does not know.

        Where there is none, the host does not pass on anything for the sake of this network.
        """
        try:
            self.filter.add_networks(self.bridged())
        except NotSupported as error:
            files.replace(f"{self.state}/{_UNFILTERED}", str(error).encode(), 0o600)
            if network.internal:
                raise NotSupported(f"an internal network needs the packet filter: {error}") from None
        else:
            with suppress(FileNotFoundError):
                os.unlink(f"{self.state}/{_UNFILTERED}")
        with Netlink() as kernel:
            bridge.make(kernel, network, forward=not self.unfiltered())

    def unfiltered(self) -> str:
        """Why there is no packet filter, as far as is known without asking it; empty if there is."""
        if not available():
            return MISSING
        try:
            with open(f"{self.state}/{_UNFILTERED}", encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def _check_bridge(self, network: Network) -> None:
        name = network.bridge
        if not is_name(name):
            raise InvalidArgument(f"invalid name of a bridge (of {LONGEST_NAME} characters at most): {name}")
        taken = {self._bridge: predefined_id(self.root, "bridge")}
        taken |= {other.bridge: other.id for other in self.bridged()}
        if name in taken:
            raise Forbidden(
                f"cannot create network {network.id} ({name}): conflicts with network {taken[name]} "
                f"({name}): networks have same bridge name"
            )
        with Netlink() as kernel:
            if kernel.link(name) is not None:
                raise Conflict(f"there is a link {name} already")

    def bridged(self) -> list[Network]:
        """Those that have a bridge, or will have when it is needed."""
        return [network for network in self._all_stored() if network.bridged]

    def _all_stored(self) -> Iterator[Network]:
        for name in self._stored():
            with suppress(NotFound):  # removed meanwhile
                yield self.get(name)

    def _subnets(self) -> list[Subnet]:
        return [pool.subnet for network in self._all_stored() for pool in network.pools]

    def _write(self, network: Network) -> None:
        files.replace(f"{self.root}/{network.name}.json", encoder.encode(network), 0o600)


def check_name(name: str) -> None:
    if name in (*PREDEFINED, "default"):
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    if not name or name[0] not in _FIRST or not _REST.issuperset(name) or len(name) > 200:
        raise InvalidArgument(
            f'"{name}" includes invalid characters for a network name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are '
            "allowed"
        )


def _options(driver: str, options: dict[str, str]) -> dict[str, str]:
    known = OPTIONS
    if driver in above.DRIVERS:
        above.check_options(driver, options)
        known = frozenset((PARENT, above.MODES[driver][0], above.FLAG, MTU))
    elif driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    elif driver != "bridge":
        raise NotFound(f"could not find plugin {driver} in v1 plugin registry: plugin not found")
    for name, value in options.items():
        if name not in known:
            raise NotSupported(f"network option {name} is not supported")
        if name in (ICC, MASQUERADE) and value not in ("true", "false"):
            raise InvalidArgument(f"invalid value for {name}: {value} (use true or false)")
        if name == MTU and not (value.isdecimal() and 68 <= int(value) <= 65535):
            raise InvalidArgument(f"invalid value for {name}: {value} (use a number from 68 to 65535)")
        if name == HOST_BINDING and pools.address(value).version != 4:
            raise InvalidArgument(f"invalid value for {name}: {value} (use an IPv4 address)")
    return options


def _instant(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
