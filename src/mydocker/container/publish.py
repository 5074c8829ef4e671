"""Published ports: of a container that starts, and one more or one less of one that runs.

    record           ``PortBindings``: what the next start publishes
    claim            this container has the port, and no other one      (network/claims.py)
    network.json     what is published now, before it is
    socket           bound; it listens when the packet filter knows the port (network/ports.py)
    packet filter    leads it to the container; where there is none, the monitor's proxy does
    monitor          holds the socket for as long as the container runs

Out of scope: which ports were asked for on the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from socket import socket

import msgspec

from ..errors import Conflict, NotFound, NotSupported, Unavailable
from ..linux.links import Netlink
from ..monitor import client
from ..monitor.owner import Held
from ..monitor.protocol import PortRequest
from ..network import bridge, flows, ports
from ..network.claims import Changing
from ..network.document import HOST_BINDING, Attached, Endpoint, Network, Port
from ..network.filter import available
from ..network.store import Networks
from . import attached, events
from .config import PortBinding
from .record import Record
from .store import Store
from .validate import published_port

Asked = tuple[str, int, PortBinding]
"""protocol, port of the container, binding"""


def published(record: Record) -> Iterator[Asked]:
    """Of ``-p``, and with ``-P`` of every port that is exposed."""
    for port, each in _bindings(record).items():
        number, protocol = _split(port)
        for binding in each or [PortBinding()]:
            yield protocol, number, binding


def _bindings(record: Record) -> dict[str, list[PortBinding]]:
    bindings = {port: [*(each or ())] for port, each in (record.host_config.port_bindings or {}).items()}
    if record.host_config.publish_all_ports:
        for port in record.config.exposed_ports or ():
            bindings.setdefault(port, [PortBinding()])
    return bindings


def _split(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return int(number), protocol or "tcp"


def outward(endpoints: list[Endpoint], networks: Sequence[Network]) -> tuple[Network, Endpoint] | None:
    """The network by which ports are published: the first bridge that leads anywhere."""
    known = {network.name: network for network in networks}
    for endpoint in endpoints:
        network = known[endpoint.network]
        if network.bridged and not network.internal:
            return network, endpoint
    return None


def publish(
    store: Store, networks: Networks, record: Record, endpoints: list[Endpoint], wanted: list[Network]
) -> list[Held]:
    """All that the record asks for; the sockets are the monitor's to hold."""
    asked, way = list(published(record)), outward(endpoints, wanted)
    if not asked or way is None:
        return []
    with ExitStack() as undo:
        before = attached.read(store, record.id)
        held = _publish(store, networks, record, before, way, asked, [], undo)
        undo.pop_all()
    return held


def _publish(
    store: Store,
    networks: Networks,
    record: Record,
    before: Attached,
    way: tuple[Network, Endpoint],
    asked: list[Asked],
    found: list[Port],
    undo: ExitStack,
) -> list[Held]:
    """``found`` is what is published now, or as far as it has come; of that ``undo`` closes the sockets."""
    network, endpoint = way
    handles = []
    own = [*before.ports]
    with networks.claims.changing() as claims, ExitStack() as unwritten:
        unwritten.callback(claims.release, found)
        allocated = _allocated(store, networks, claims, record.id, own)
        for protocol, number, binding in asked:
            try:
                places = _places(network, endpoint, _host(binding), protocol)
                for port, handle in ports.hold(
                    protocol, places, binding.host_port, number, allocated, filtered=available()
                ):
                    claims.take(port, record.id)
                    own.append(port)
                    found.append(port)
                    handles.append(handle)
                    if handle is not None:
                        undo.enter_context(handle)
            except Conflict as error:
                raise Conflict(_failed(record, endpoint, error)) from None
        attached.write(store, record.id, _with(before, found))
        unwritten.pop_all()
        filtered = [port for port in found if not port.proxied]
        if filtered and not _lead(networks, filtered):
            found[:] = [msgspec.structs.replace(port, proxied=True) for port in found]
            attached.write(store, record.id, _with(before, found))
            filtered = []
    if filtered:
        flows.begin(filtered)
        bridge.local_routes(network)
        with Netlink() as kernel:
            bridge.hairpin(kernel, endpoint)
    held = []
    for port, handle in zip(found, handles, strict=True):
        if handle is not None:
            try:
                ports.listen(port, handle)
            except Conflict as error:
                raise Conflict(_failed(record, endpoint, error)) from None
            held.append(Held(handle, port.address, port.port) if port.served else Held(handle))
    return held


def _lead(networks: Networks, filtered: list[Port]) -> bool:
    """Whether the packet filter knows them now; if not, a proxy can do it for all but SCTP."""
    try:
        networks.filter.publish(filtered, networks.bridged)
    except NotSupported:
        if any(port.protocol == "sctp" for port in filtered):
            raise
        return False
    return True


def _with(before: Attached, more: list[Port]) -> Attached:
    return msgspec.structs.replace(before, ports=[*before.ports, *more])


def _failed(record: Record, endpoint: Endpoint, error: Exception) -> str:
    lead = "driver failed programming external connectivity on endpoint"
    return f"{lead} {record.name} ({endpoint.id}): {error}"


def _host(binding: PortBinding) -> str:
    """The address, of which there may be many spellings, in one; empty: it is at every one."""
    return str(ip_address(binding.host_ip)) if binding.host_ip else ""


def _places(network: Network, endpoint: Endpoint, host: str, protocol: str) -> list[tuple[str, str]]:
    """Host address and container address of a binding; one without a host address is at both of the host's,
    or at the IPv4 address that the network is bound to.

    To the container's IPv4 address, the proxy leads what comes by IPv6; which knows no SCTP.
    """
    first, other = endpoint.address, endpoint.address6
    if host:
        return [(host, (other or first) if ":" in host else (first or other))]
    bound = network.options.get(HOST_BINDING) or "0.0.0.0"
    places = [(bound, first or other)]
    if bound == "0.0.0.0" and (other or (protocol != "sctp" and ports.has_ipv6())):
        places.append(("::", other or first))
    return places


def _allocated(
    store: Store, networks: Networks, claims: Changing, identifier: str, own: list[Port]
) -> Callable[[Port], bool]:
    """Whether a container has a port: another one, or this one, which has ``own``. Nobody else takes any
    meanwhile, so a claim without an entry in ``network.json`` is of somebody who was killed."""

    def test(port: Port) -> bool:
        for claimed, owner in claims.meeting(port):
            known = own if owner == identifier else attached.read(store, owner).ports
            if any(each.place == claimed.place for each in known):
                return True
            networks.filter.unpublish([claimed])
            claims.release([claimed])
        return False

    return test


# -- of a container that may run


def add(store: Store, record: Record, key: str, binding: PortBinding) -> list[Port]:
    """Publish one more port, now and at each start; what was published now.

    ``Conflict`` if it is taken, or the container has no network by which anything could be published.
    """
    published_port(key, [binding])
    with store.editing(record.id) as current:
        if not current.host_config.networked:
            raise Conflict("conflicting options: port publishing and the network mode")
        bindings = _bindings(current)
        if binding.host_port and binding in bindings.get(key, ()):
            where = ports.shown(binding.host_ip or "0.0.0.0", binding.host_port)
            raise Conflict(f"port {key} of container {current.name} is published at {where} already")
        bindings.setdefault(key, []).append(binding)
        changed = _changed(current, bindings)
        number, protocol = _split(key)
        made = _begin(store, current, [(protocol, number, binding)]) if _init(store, current) else []
        store.write_record(changed)
    events.container(store, changed, "update")
    return made


def follow(store: Store, record: Record, network: Network | None = None) -> None:
    """Publish what the record asks for and nothing publishes, by the network that leads outside now.

    For a container that runs and has left the one that did before; or has been connected to ``network``,
    which may not be that one.
    """
    asked, before = list(published(record)), attached.read(store, record.id)
    found = way(attached.of(store), before)
    if asked and not before.ports and found is not None and network in (None, found[0]):
        _begin(store, record, asked)


def way(networks: Networks, now: Attached) -> tuple[Network, Endpoint] | None:
    """The network by which the ports of a container are published that has this."""
    return outward(now.endpoints, [networks.get(each.network) for each in now.endpoints])


def _init(store: Store, record: Record) -> int:
    """Its process, or 0 if it does not run."""
    found = attached.target(store, record.id)
    if found is None:
        return 0
    os.close(found[1])
    return found[0]


def _begin(store: Store, record: Record, asked: list[Asked]) -> list[Port]:
    """Of one that runs; ``Conflict`` if there is no network for it."""
    networks = attached.of(store)
    before = attached.read(store, record.id)
    found = way(networks, before)
    if found is None:
        raise Conflict(f"container {record.name} is in no network by which a port could be published")
    made: list[Port] = []
    with ExitStack() as sockets:
        try:
            held = _publish(store, networks, record, before, found, asked, made, sockets)
            handles = iter(held)
            for port in made:
                _hand_over(store, record, port, None if port.protocol == "sctp" else next(handles))
            if not _init(store, record):
                raise Conflict(f"container {record.id} has just ended")
        except BaseException:
            withdraw(store, networks, record, before, made)
            raise
    return made


def withdraw(store: Store, networks: Networks, record: Record, now: Attached, gone: list[Port]) -> None:
    """Publish these no more, of one that may run: connections by them end."""
    try:
        for port in gone:
            _let_go(store, record, port)
    finally:
        flows.end(networks.unpublish(gone, record.id), cut=True)
    with suppress(FileNotFoundError):  # it has just ended
        rest = [port for port in now.ports if port not in gone]
        attached.write(store, record.id, msgspec.structs.replace(now, ports=rest))


def _hand_over(store: Store, record: Record, port: Port, held: Held | None) -> None:
    if held is None:
        return
    request = PortRequest(
        held=True,
        protocol=port.protocol,
        host=port.host,
        host_port=port.host_port,
        address=held.address,
        port=held.port,
    )
    _tell(store, record, request, held.handle)


def _let_go(store: Store, record: Record, port: Port) -> None:
    request = PortRequest(protocol=port.protocol, host=port.host, host_port=port.host_port)
    with suppress(Unavailable):  # it has just ended
        _tell(store, record, request)


def _tell(store: Store, record: Record, request: PortRequest, handle: socket | None = None) -> None:
    pid = _init(store, record)
    if not pid:
        raise Unavailable(f"container {record.id} has just ended")
    client.port(store.run_directory(record.id), pid, request, handle)


def remove(store: Store, record: Record, key: str, binding: PortBinding) -> list[Port]:
    """Publish a port no more: at the host's port of ``binding``, or wherever it is if that names none.

    What is published no more now. ``NotFound`` if there is no such port.
    """
    with store.editing(record.id) as current:
        number, protocol = _split(key)
        before = attached.read(store, current.id)
        gone = [
            port
            for port in before.ports
            if (port.port, port.protocol) == (number, protocol)
            and binding.host_port in ("", str(port.host_port))
            and _host(binding) in ("", port.host)
        ]
        bindings = _bindings(current)
        left = [each for each in bindings.get(key, ()) if not _means(each, binding, gone)]
        if not gone and len(left) == len(bindings.get(key, ())):
            where = f" at {ports.shown(binding.host_ip, binding.host_port)}" if binding.host_port else ""
            raise NotFound(f"No public port '{key}' published{where} for {current.name}")
        bindings = {**bindings, key: left} if left else {k: v for k, v in bindings.items() if k != key}
        changed = _changed(current, bindings)
        store.write_record(changed)
        if gone:
            withdraw(store, attached.of(store), current, before, gone)
    events.container(store, changed, "update")
    return gone


def _means(kept: PortBinding, wanted: PortBinding, gone: list[Port]) -> bool:
    """Whether a binding of the record is what was published, or would be."""
    if _host(wanted) not in ("", _host(kept) or "0.0.0.0"):
        return False
    if wanted.host_port in ("", kept.host_port):
        return True
    low, high = ports.bounds(kept.host_port)
    return any(low <= port.host_port <= high or not high for port in gone)


def _changed(record: Record, bindings: dict[str, list[PortBinding]]) -> Record:
    """With these ports alone: those of ``-P`` are among them by name."""
    exposed = {**(record.config.exposed_ports or {}), **{port: {} for port in bindings}}
    return msgspec.structs.replace(
        record,
        config=msgspec.structs.replace(record.config, exposed_ports=exposed or None),
        host_config=msgspec.structs.replace(
            record.host_config, port_bindings=bindings or None, publish_all_ports=False
        ),
    )
