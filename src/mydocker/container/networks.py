"""A container in its networks: connected when it starts, released when it has ended.

    leases            whose they are can be read from them              (network/leases.py)
    network.json      under <state>: everything that has to be undone, before it is done
    limits, links     for each network                                  (endpoints.py)
    ports             held by the monitor, passed on by the packet filter  (publish.py)

Each line is there before the next is begun, so whoever finds the container dead knows what to undo. It
takes place while init makes its mounts, and before it executes anything.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgspec

from ..errors import Conflict, CorruptData, Error, InvalidArgument, NotFound, NotSupported
from ..linux.host import interface_up
from ..linux.links import Link, Netlink
from ..monitor import resolver
from ..monitor.owner import Connected
from ..network import above, flows, rates
from ..network.document import Attached, Endpoint, Network
from ..network.inside import Inside
from ..network.leases import check
from ..network.store import Networks
from . import attached, endpoints, events, files, links, publish
from .attached import of
from .config import EndpointConfig, EndpointIpam, HostConfig
from .record import Record
from .store import Store

SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other "
    "network"
)


def no_bridge() -> str:
    """Why there can be no bridge here, or nothing; what the kernel has to say is asked when one is made."""
    return "only root can make a bridge" if os.geteuid() != 0 else ""


# -- start and end


def connect(store: Store, record: Record, pid: int) -> Connected:
    """Put the network namespace of ``pid`` into the container's networks.

    If that fails its links are gone; ``release`` undoes the rest.
    """
    if not record.networks:
        return Connected()
    networks = of(store)
    wanted = [(networks.get(name), endpoint) for name, endpoint in record.networks.items()]
    with _namespace(pid) as target, Netlink() as kernel, ExitStack() as undo:
        made = _attach(store, networks, kernel, record, wanted, target, pid, undo)
        dns = resolver_sockets(target) if resolves(record, made) else []
        for handle in dns:
            undo.enter_context(handle)
        files.write_network(store, record, made, links.hosts(store, record))
        for endpoint in made:
            events.connected(store, endpoint, record.id)
        held = publish.publish(store, networks, record, made, [network for network, _ in wanted])
        undo.pop_all()
    return Connected(held=held, dns=dns)


def _attach(
    store: Store,
    networks: Networks,
    kernel: Netlink,
    record: Record,
    wanted: list[tuple[Network, EndpointConfig]],
    target: int,
    pid: int,
    undo: ExitStack,
) -> list[Endpoint]:
    with ready(kernel, networks, [network for network, _ in wanted]) as found:
        made: list[Endpoint] = []
        for number, (network, asked) in enumerate(wanted):
            made.append(endpoints.claim(networks, record, network, asked, number, pid))
        attached.write(store, record.id, Attached(endpoints=made, limited=endpoints.limited(record)))
        for link, (network, _), endpoint in zip(found, wanted, made, strict=True):
            undo.callback(endpoints.unplug, kernel, endpoint, target)
            endpoints.attach(networks, kernel, record, network, endpoint, link, target, beside=made)
    return made


@contextmanager
def ready(kernel: Netlink, networks: Networks, wanted: list[Network]) -> Iterator[list[Link]]:
    """The bridges and parents, which nobody takes down meanwhile; ``NotFound`` if somebody has removed one
    of the networks."""
    while True:
        with networks.connecting():
            for network in wanted:
                _check_still(networks, network)
            there = [networks.ready(kernel, network) for network in wanted]
            found = [link for link in there if link is not None]
            if len(found) == len(wanted):
                yield found
                return
        for network, link in zip(wanted, there, strict=True):
            if link is None:
                networks.prepare_bridge(network)


def _check_still(networks: Networks, network: Network) -> None:
    if networks.get(network.name).id != network.id:
        raise NotFound(f"network {network.name} not found")


def release(store: Store, identifier: str, *, known: bool = False) -> None:
    """Undo whatever ``connect`` has done. The container's processes are gone.

    ``known``: it has been connected, or never was, but nobody was killed in the middle of it.
    """
    path = attached.path(store, identifier)
    try:
        document = attached.read(store, identifier)
    except msgspec.MsgspecError:
        document = Attached()  # the machine stopped while it was written
    if known and document == Attached():
        return
    networks = of(store)
    if document.endpoints:
        flows.end(networks.unpublish(document.ports, identifier))
        if not all(endpoint.link for endpoint in document.endpoints):
            _cut_off(store, identifier, document.endpoints)
        last = document.endpoints[-1]
        with Netlink() as kernel:
            for endpoint in document.endpoints:
                endpoints.detach(
                    networks,
                    kernel,
                    identifier,
                    endpoint,
                    None,
                    limited=document.limited,
                    last=endpoint is last,
                )
                endpoints.give_back(networks, identifier, endpoint, limited=document.limited)
                events.disconnected(store, endpoint, identifier)
    if document.joining or not document.endpoints:
        networks.leases.release_all(identifier)
    if not known:
        networks.unpublish_all(identifier)
    for name in (path, f"{path}.new"):
        with suppress(FileNotFoundError):
            os.unlink(name)


def _cut_off(store: Store, identifier: str, gone: list[Endpoint]) -> None:
    """Take the links without an end at the host from containers that go on in the same namespace: their
    addresses are given out again. As under Docker they have no network any more."""
    for other in store.worked_on():
        with suppress(NotFound, CorruptData):
            record = store.read_record(other)
            if other == identifier or attached.whose(store, record) != identifier:
                continue
            found = attached.target(store, other)
            if found is None:
                continue
            try:
                for endpoint in gone:
                    if not endpoint.link:
                        above.unplug(endpoint, found[1])
            finally:
                os.close(found[1])


def release_orphans(store: Store) -> None:
    """Give back what containers have that nobody works on: who connected one was killed as it ended."""
    networks = of(store)
    for identifier in (networks.leases.owners() | networks.claims.owners()) - set(store.worked_on()):
        lock = store.lock(identifier)
        if lock is not None:
            with lock, suppress(Error, OSError):  # the others are given back
                release(store, identifier)
                store.release(identifier, lock)


@contextmanager
def _namespace(pid: int) -> Iterator[int]:
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


# -- names


def resolves(record: Record, made: Iterable[Endpoint]) -> bool:
    """Whether names are resolved for a container with these endpoints: everywhere but in the network
    ``bridge``, as under Docker, and there too if it may only talk to some places."""
    return any(endpoint.network != "bridge" or endpoints.limited(record) for endpoint in made)


def resolver_sockets(target: int) -> list[socket.socket]:
    """Where the container's resolver listens, in its network namespace: by UDP and by TCP."""
    made = []
    with Inside(target):
        try:
            interface_up("lo")  # as init does, but that may be later
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                handle = socket.socket(socket.AF_INET, kind)
                made.append(handle)
                # so that a name server of the container's own may have the same port at all addresses
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                handle.setblocking(False)
                handle.bind((files.RESOLVER, resolver.PORT))
            made[1].listen(64)
        except BaseException:
            for handle in made:
                handle.close()
            raise
    return made


# -- what somebody asked for


def settled(
    store: Store, host: HostConfig, asked: dict[str, EndpointConfig] | None
) -> dict[str, EndpointConfig]:
    """The networks of a new container, with names in place of identifiers; checked in Docker's words."""
    if not host.networked:
        if asked:
            raise Conflict(SHARED)
        return {}
    networks = of(store)
    result: dict[str, EndpointConfig] = {}
    given = dict(asked or {})
    for name in dict.fromkeys((host.network_mode, *given)):
        network = networks.resolve(name)
        endpoint = given.get(name, EndpointConfig())
        check_endpoint(network, endpoint)
        check_egress(network, host)
        result[network.name] = endpoint
    return result


def check_endpoint(network: Network, endpoint: EndpointConfig) -> None:
    if not network.addressed:
        raise Conflict(
            "container cannot be connected to multiple networks with one of the networks in private (none) "
            "mode"
            if network.name == "none"
            else "container cannot be connected to host network - container must be created in host network"
        )
    rate_in, _ = rates.parse(endpoint.driver_opts or {})
    if rate_in and not network.bridged:
        raise NotSupported(f"{rates.IN} is for bridges: the host has no end of a link by {network.driver}")
    if endpoint.mac_address and network.driver == "ipvlan":
        raise NotSupported("a link by ipvlan has the MAC address of its parent")
    ipam = endpoint.ipam_config or EndpointIpam()
    fixed = [(text, number) for text, number in ((ipam.ipv4_address, 4), (ipam.ipv6_address, 6)) if text]
    if network.name == "bridge":
        if fixed:
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        if endpoint.links:
            raise InvalidArgument("links in the network bridge are made with the container (run --link)")
        if endpoint.aliases:
            raise InvalidArgument(
                "network-scoped alias is supported only for containers in user defined networks"
            )
    for address, version in fixed:
        check(network, address, version)
    if endpoint.mac_address and not _is_mac(endpoint.mac_address):
        raise InvalidArgument(f"{endpoint.mac_address} is not a valid mac address")


def check_egress(network: Network, host: HostConfig) -> None:
    if host.egress is not None and not network.bridged:
        raise NotSupported(f"--egress is for bridges: no filter sees what leaves by {network.driver}")


def _is_mac(text: str) -> bool:
    parts = text.split(":")
    if len(parts) != 6 or any(len(part) != 2 for part in parts):
        return False
    try:
        return not int(parts[0], 16) & 1 and all(int(part, 16) >= 0 for part in parts)
    except ValueError:
        return False
