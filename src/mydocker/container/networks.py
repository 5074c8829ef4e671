"""A container in its networks: connected when it starts, released when it has ended.

    leases            whose they are can be read from them              (network/leases.py)
    network.json      under <state>: everything that has to be undone, before it is done
    links             one for each network                              (network/bridge.py)
    ports             held by the monitor, passed on by the packet filter

Each line is there before the next is begun, so whoever finds the container dead knows what to undo. It
takes place between the making of init, which waits, and its start.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import msgspec

from ..errors import Conflict, InvalidArgument, NotFound
from ..linux.links import Link, Netlink
from ..monitor import resolver
from ..monitor.owner import Connected
from ..network import bridge, ports
from ..network.document import HOST_BINDING, Attached, Endpoint, Network, Port, attached
from ..network.filter import available
from ..network.leases import check
from ..network.store import Networks
from . import events, files
from .config import EndpointConfig, EndpointIpam, HostConfig, PortBinding
from .record import Record
from .store import NETWORKS, Store

_ENCODE = msgspec.json.encode


def own(host: HostConfig) -> bool:
    """Whether the container has a network namespace of its own with links in it."""
    mode = host.network_mode
    return mode not in ("none", "host") and not mode.startswith("container:")


def no_bridge() -> str:
    """Why there can be no bridge here, or nothing; what the kernel has to say is asked when one is made."""
    if os.geteuid() != 0:
        return "only root can make a bridge"
    return "" if available() else "the program nft is missing (Debian: apt install nftables)"


def of(store: Store) -> Networks:
    return Networks(store.root, store.state)


def read(store: Store, identifier: str) -> Attached:
    """What a container has of networks at this moment; nothing when it does not run."""
    try:
        with open(_path(store, identifier), "rb", buffering=0) as file:
            return attached.decode(file.read())
    except FileNotFoundError:
        return Attached()


def _path(store: Store, identifier: str) -> str:
    return f"{store.run_directory(identifier)}/{NETWORKS}"


def write(store: Store, identifier: str, document: Attached) -> None:
    path = _path(store, identifier)
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, _ENCODE(document))
    finally:
        os.close(fd)
    os.rename(f"{path}.new", path)


# -- start and end


def connect(store: Store, record: Record, pid: int) -> Connected:
    """Put the network namespace of ``pid`` into the container's networks."""
    if not record.networks:
        return Connected()
    networks = of(store)
    wanted = [(networks.get(name), endpoint) for name, endpoint in record.networks.items()]
    with _namespace(pid) as target:
        endpoints = _plug_all(store, networks, record, wanted, target, pid)
        dns = resolver_sockets(target) if named(endpoints) else []
    files.write_network(store.directory(record.id), record, endpoints)
    for endpoint in endpoints:
        events.connected(store, endpoint, record.id)
    return Connected(held=_publish(store, networks, record, endpoints, wanted), dns=dns)


def _plug_all(
    store: Store,
    networks: Networks,
    record: Record,
    wanted: list[tuple[Network, EndpointConfig]],
    target: int,
    pid: int,
) -> list[Endpoint]:
    with Netlink() as kernel, _ready(kernel, networks, [network for network, _ in wanted]) as links:
        endpoints: list[Endpoint] = []
        for number, (network, asked) in enumerate(wanted):
            check_still(networks, network)
            endpoints.append(claim(networks, record, network, asked, number, pid))
        write(store, record.id, Attached(endpoints=endpoints))
        way = next((each for each in endpoints if each.gateway), None)
        for link, (network, _), endpoint in zip(links, wanted, endpoints, strict=True):
            bridge.plug(kernel, link, network, endpoint, target, gateway=endpoint is way)
    return endpoints


@contextmanager
def _ready(kernel: Netlink, networks: Networks, wanted: list[Network]) -> Iterator[list[Link]]:
    """The bridges, which nobody takes down meanwhile."""
    while True:
        with networks.connecting():
            links = [networks.ready(kernel, network) for network in wanted]
            found = [link for link in links if link is not None]
            if len(found) == len(wanted):
                yield found
                return
        for network, link in zip(wanted, links, strict=True):
            if link is None:
                networks.prepare(network)


def check_still(networks: Networks, network: Network) -> None:
    if networks.get(network.name).id != network.id:
        raise NotFound(f"network {network.name} not found")


def claim(
    networks: Networks, record: Record, network: Network, asked: EndpointConfig, number: int, pid: int
) -> Endpoint:
    ipam = asked.ipam_config or EndpointIpam()
    endpoint = Endpoint(
        network=network.name,
        network_id=network.id,
        id=os.urandom(32).hex(),
        interface=f"eth{number}",
        link=bridge.link_name(record.id, pid, number),
        mac=asked.mac_address,
        aliases=[*(asked.aliases or ()), record.short_id] if network.name != "bridge" else [],
    )
    changes: dict[str, object] = {}
    for subnet, _, _, _ in network.pools:
        six = "6" if subnet.version == 6 else ""
        if f"address{six}" in changes:
            continue
        fixed = ipam.ipv6_address if six else ipam.ipv4_address
        address = networks.leases.claim(network, record.id, address=fixed, version=subnet.version)
        where = next(pool for pool in network.pools if address in pool[0])
        changes |= {f"address{six}": str(address), f"prefix{six}": where[0].prefixlen}
        changes[f"gateway{six}"] = "" if network.internal else str(where[2])
        if not endpoint.mac and not six:
            changes["mac"] = bridge.mac_of(address)
    return msgspec.structs.replace(endpoint, **changes)


def release(store: Store, identifier: str, *, known: bool = False) -> None:
    """Undo whatever ``connect`` has done. The container's processes are gone.

    ``known``: it has been connected, or never was, but nobody was killed in the middle of it.
    """
    path = _path(store, identifier)
    try:
        document = read(store, identifier)
    except msgspec.MsgspecError:
        document = Attached()  # the machine stopped while it was written
    if known and not document.endpoints:
        return
    networks = of(store)
    if document.endpoints:
        with Netlink() as kernel:
            for endpoint in document.endpoints:
                bridge.unplug(kernel, endpoint)
        networks.filter.unpublish(document.ports)
        for endpoint in document.endpoints:
            for address in filter(None, (endpoint.address, endpoint.address6)):
                networks.leases.release(endpoint.network, address, identifier)
            events.disconnected(store, endpoint, identifier)
    else:
        networks.leases.release_all(identifier)
    for name in (path, f"{path}.new"):
        with suppress(FileNotFoundError):
            os.unlink(name)


def release_orphans(store: Store) -> None:
    """Give back addresses of containers that nobody works on: who connected one was killed as it ended."""
    for identifier in of(store).leases.owners() - set(store.worked_on()):
        lock = store.lock(identifier)
        if lock is not None:
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


def named(endpoints: list[Endpoint]) -> bool:
    """Whether there are names to resolve: everywhere but in the network ``bridge``, as under Docker."""
    return any(endpoint.network != "bridge" for endpoint in endpoints)


def resolver_sockets(target: int) -> list[socket.socket]:
    """Where the container's resolver listens, in its network namespace: by UDP and by TCP."""
    made = []
    with bridge.Inside(target):
        try:
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


# -- published ports


def published(record: Record) -> Iterator[tuple[str, int, PortBinding]]:
    """Protocol, port of the container, binding: of ``-p``, and with ``-P`` of every port that is exposed."""
    bindings = dict(record.host_config.port_bindings or {})
    if record.host_config.publish_all_ports:
        for port in record.config.exposed_ports or ():
            bindings.setdefault(port, [PortBinding()])
    for port, each in bindings.items():
        number, _, protocol = port.partition("/")
        for binding in each or [PortBinding()]:
            yield protocol or "tcp", int(number), binding


def _publish(
    store: Store,
    networks: Networks,
    record: Record,
    endpoints: list[Endpoint],
    wanted: list[tuple[Network, EndpointConfig]],
) -> list[socket.socket]:
    asked = list(published(record))
    outward = [
        (network, endpoint)
        for (network, _), endpoint in zip(wanted, endpoints, strict=True)
        if not network.internal
    ]
    if not asked or not outward:
        return []
    network, endpoint = outward[0]
    with ExitStack() as undo:
        held, found = [], []
        with _ports_lock(store):
            allocated = _allocated(store, record.id)
            for protocol, number, binding in asked:
                try:
                    for host, address in _places(network, endpoint, binding.host_ip):
                        port, handle = ports.hold(
                            protocol, host, binding.host_port, address, number, allocated
                        )
                        found.append(port)
                        if handle is not None:
                            undo.enter_context(handle)
                            held.append(handle)
                except Conflict as error:
                    raise Conflict(
                        "driver failed programming external connectivity on endpoint "
                        f"{record.name} ({endpoint.id}): {error}"
                    ) from None
            write(store, record.id, Attached(endpoints=endpoints, ports=found))
        networks.filter.publish(found, networks.bridged)
        bridge.local_routes(network)
        with Netlink() as kernel:
            bridge.hairpin(kernel, endpoint)
        undo.pop_all()
    return held


def _places(network: Network, endpoint: Endpoint, host: str) -> list[tuple[str, str]]:
    """Host address and container address of a binding; one without a host address may have two."""
    if host:
        address = endpoint.address6 if ":" in host else endpoint.address
        if not address:
            raise Conflict(f"the container has no address that {host} could lead to")
        return [(host, address)]
    places = [(network.options.get(HOST_BINDING) or "0.0.0.0", endpoint.address)]
    if endpoint.address6:
        places.append(("::", endpoint.address6))
    return places


@contextmanager
def _ports_lock(store: Store) -> Iterator[None]:
    fd = os.open(f"{store.state}/ports.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _allocated(store: Store, identifier: str) -> Callable[[Port], bool]:
    """Whether another container has a port."""
    taken = {
        (port.protocol, port.host_port, port.host)
        for other in store.worked_on()
        if other != identifier
        for port in read(store, other).ports
    }

    def test(port: Port) -> bool:
        everywhere = port.host in ("0.0.0.0", "::")
        return any(
            protocol == port.protocol
            and number == port.host_port
            and (host == port.host or ((":" in host) == (":" in port.host) and (everywhere or _any(host))))
            for protocol, number, host in taken
        )

    return test


def _any(host: str) -> bool:
    return host in ("0.0.0.0", "::")


# -- what somebody asked for


def settled(
    store: Store, host: HostConfig, asked: dict[str, EndpointConfig] | None
) -> dict[str, EndpointConfig]:
    """The networks of a new container, with names in place of identifiers; checked in Docker's words."""
    if not own(host):
        if asked:
            raise Conflict(
                "container sharing network namespace with another container or host cannot be "
                "connected to any other network"
            )
        return {}
    networks = of(store)
    result: dict[str, EndpointConfig] = {}
    given = dict(asked or {})
    for name in dict.fromkeys((host.network_mode, *given)):
        network = networks.resolve(name)
        endpoint = given.get(name, EndpointConfig())
        check_endpoint(network, endpoint)
        result[network.name] = endpoint
    return result


def check_endpoint(network: Network, endpoint: EndpointConfig) -> None:
    if network.driver != "bridge":
        raise Conflict(
            "container cannot be connected to multiple networks with one of the networks in private (none) "
            "mode"
            if network.name == "none"
            else "container cannot be connected to host network - container must be created in host network"
        )
    ipam = endpoint.ipam_config or EndpointIpam()
    fixed = [each for each in (ipam.ipv4_address, ipam.ipv6_address) if each]
    if network.name == "bridge":
        if fixed:
            raise InvalidArgument("user specified IP address is supported on user defined networks only")
        if endpoint.aliases:
            raise InvalidArgument(
                "network-scoped alias is supported only for containers in user defined networks"
            )
    for address in fixed:
        check(network, address)
    if endpoint.mac_address and not _is_mac(endpoint.mac_address):
        raise InvalidArgument(f"{endpoint.mac_address} is not a valid mac address")


def _is_mac(text: str) -> bool:
    parts = text.split(":")
    if len(parts) != 6 or any(len(part) != 2 for part in parts):
        return False
    try:
        return not int(parts[0], 16) & 1 and all(int(part, 16) >= 0 for part in parts)
    except ValueError:
        return False
