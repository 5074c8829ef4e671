"""Published ports: of a container that starts, and one more or one less of one that runs.

    record           ``PortBindings``: what the next start publishes
    network.json     what is published now, before it is
    socket           bound; it listens when the packet filter knows the port (network/ports.py)
    packet filter    leads it to the container; where there is none, the monitor's proxy does
    monitor          holds the socket for as long as the container runs

Out of scope: which ports were asked for on the command line.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

import msgspec

from ..errors import Conflict, NotFound, NotSupported, Unavailable
from ..linux.links import Netlink
from ..monitor import client
from ..monitor.owner import Held
from ..monitor.protocol import PortRequest
from ..network import bridge, flows, ports
from ..network.document import HOST_BINDING, Attached, Endpoint, Network, Port
from ..network.filter import available
from ..network.store import Networks
from . import attached, events
from .config import HostConfig, PortBinding
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
        _, held = _publish(store, networks, record, before, way, asked, undo)
        undo.pop_all()
    return held


def _publish(
    store: Store,
    networks: Networks,
    record: Record,
    before: Attached,
    way: tuple[Network, Endpoint],
    asked: list[Asked],
    undo: ExitStack,
) -> tuple[list[Port], list[Held]]:
    """What is undone with ``undo`` is the sockets; the rest goes by ``network.json``."""
    network, endpoint = way
    found: list[Port] = []
    handles = []
    with _locked(store):
        allocated = _allocated(store, record.id, before.ports)
        for protocol, number, binding in asked:
            try:
                places = _places(network, endpoint, binding.host_ip, protocol)
                for port, handle in ports.hold(
                    protocol, places, binding.host_port, number, allocated, filtered=available()
                ):
                    found.append(port)
                    handles.append(handle)
                    if handle is not None:
                        undo.enter_context(handle)
            except Conflict as error:
                raise Conflict(_failed(record, endpoint, error)) from None
        attached.write(store, record.id, _with(before, found))
    filtered = [port for port in found if not port.proxied]
    if filtered:
        try:
            networks.filter.publish(filtered, networks.bridged)
        except NotSupported:
            if any(port.protocol == "sctp" for port in filtered):
                raise
            found = [msgspec.structs.replace(port, proxied=True) for port in found]
            attached.write(store, record.id, _with(before, found))
        else:
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
    return found, held


def _with(before: Attached, more: list[Port]) -> Attached:
    return msgspec.structs.replace(before, ports=[*before.ports, *more])


def _failed(record: Record, endpoint: Endpoint, error: Exception) -> str:
    lead = "driver failed programming external connectivity on endpoint"
    return f"{lead} {record.name} ({endpoint.id}): {error}"


def _places(network: Network, endpoint: Endpoint, host: str, protocol: str) -> list[tuple[str, str]]:
    """Host address and container address of a binding; one without a host address is at both of the host's.

    To the container's IPv4 address, the proxy leads what comes by IPv6; which knows no SCTP.
    """
    first, other = endpoint.address, endpoint.address6
    if host:
        return [(host, (other or first) if ":" in host else (first or other))]
    bound = network.options.get(HOST_BINDING) or "0.0.0.0"
    places = [(bound, first or other)]
    if other:
        places.append(("::", other))
    elif bound == "0.0.0.0" and protocol != "sctp" and ports.has_ipv6():
        places.append(("::", first))
    return places


@contextmanager
def _locked(store: Store) -> Iterator[None]:
    fd = os.open(f"{store.state}/ports.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _allocated(store: Store, identifier: str, own: list[Port]) -> Callable[[Port], bool]:
    """Whether a container has a port: another one, or this one since before."""
    taken = {
        (port.protocol, port.host_port, port.host)
        for other in store.worked_on()
        for port in (own if other == identifier else attached.read(store, other).ports)
    }

    def test(port: Port) -> bool:
        return any(
            protocol == port.protocol and number == port.host_port and _meet(host, port.host)
            for protocol, number, host in taken
        )

    return test


def _meet(host: str, other: str) -> bool:
    same_family = (":" in host) == (":" in other)
    return host == other or (same_family and bool({host, other} & {"0.0.0.0", "::"}))


# -- of a container that may run


def add(store: Store, record: Record, key: str, binding: PortBinding) -> list[Port]:
    """Publish one more port, now and at each start; what was published now.

    ``Conflict`` if it is taken, or the container has no network by which anything could be published.
    """
    published_port(key, [binding])
    with store.editing(record.id) as current:
        if not _own(current.host_config):
            raise Conflict("conflicting options: port publishing and the network mode")
        bindings = _bindings(current)
        if binding.host_port and binding in bindings.get(key, ()):
            where = ports.shown(binding.host_ip or "0.0.0.0", binding.host_port)
            raise Conflict(f"port {key} of container {current.name} is published at {where} already")
        bindings.setdefault(key, []).append(binding)
        changed = _changed(current, bindings)
        made = _begin(store, current, key, binding)
        store.write_record(changed)
    events.container(store, changed, "update")
    return made


def _begin(store: Store, record: Record, key: str, binding: PortBinding) -> list[Port]:
    found = attached.target(store, record.id)
    if found is None:
        return []
    os.close(found[1])
    networks = attached.of(store)
    before = attached.read(store, record.id)
    way = outward(before.endpoints, networks.every())
    if way is None:
        raise Conflict(f"container {record.name} is in no network by which a port could be published")
    number, protocol = _split(key)
    with ExitStack() as sockets:
        try:
            asked = [(protocol, number, binding)]
            made, held = _publish(store, networks, record, before, way, asked, sockets)
            handles = iter(held)
            for port in made:
                _hand_over(store, record, port, None if port.protocol == "sctp" else next(handles))
            if not store.held(record.id):
                raise Conflict(f"container {record.id} has just ended")
        except BaseException:
            begun = [port for port in attached.read(store, record.id).ports if port not in before.ports]
            networks.filter.unpublish(begun)
            with suppress(FileNotFoundError):  # it has just ended
                attached.write(store, record.id, before)
            for port in begun:
                _let_go(store, record, port)
            raise
    return made


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
    client.port(store.run_directory(record.id), request, held.handle)


def _let_go(store: Store, record: Record, port: Port) -> None:
    request = PortRequest(protocol=port.protocol, host=port.host, host_port=port.host_port)
    with suppress(Unavailable):  # it has just ended
        client.port(store.run_directory(record.id), request)


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
            and binding.host_ip in ("", port.host)
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
            flows.end(attached.of(store).filter.unpublish(gone), cut=True)
            for port in gone:
                _let_go(store, current, port)
            with suppress(FileNotFoundError):  # it has just ended
                rest = [port for port in before.ports if port not in gone]
                attached.write(store, current.id, msgspec.structs.replace(before, ports=rest))
    events.container(store, changed, "update")
    return gone


def _means(kept: PortBinding, wanted: PortBinding, gone: list[Port]) -> bool:
    """Whether a binding of the record is what was published, or would be."""
    if wanted.host_ip not in ("", kept.host_ip or "0.0.0.0"):
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


def _own(host: HostConfig) -> bool:
    return host.network_mode not in ("none", "host") and not host.network_mode.startswith("container:")
