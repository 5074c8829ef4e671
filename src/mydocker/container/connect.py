"""Connect a container to one more network, or disconnect it from one, whether it runs or not.

The record says in which networks a container is; one that runs is also linked, or cut off, at once. Its ports
go with it: to another network when it leaves the one by which they are published (``publish.follow``).

Whoever does either holds the record (``Store.editing``), as a start does until the container's monitor has it
(``supervise.py``). The record is written last, so what was cut short is done by asking for it again. A
container that ends meanwhile gives back what ``network.json`` says, so it says so before anything is made:
first in which network there will be addresses (``joining``), then which; and the other way round until they
are given back. Who has made a link looks afterwards whether the container still runs.

Who waits for the container's monitor does not hold the lock of all networks: who wants that alone would wait
for the monitor too.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack, suppress

import msgspec

from ..errors import Conflict, Error, Forbidden, NotFound
from ..linux.links import Netlink
from ..monitor import client
from ..network.document import Attached, Endpoint, Network
from ..network.inside import Inside, lead
from ..network.leases import Leases
from ..network.store import Networks
from . import attached, endpoints, events, files, links, networks, publish
from .config import EndpointConfig
from .record import Record
from .store import Store


def connect(store: Store, record: Record, network: Network, asked: EndpointConfig) -> None:
    """``Forbidden`` if it is in there already, ``Conflict`` if it has no links of its own."""
    with store.editing(record.id) as current:
        if not current.host_config.networked:
            raise Conflict(networks.SHARED)
        networks.check_endpoint(network, asked)
        networks.check_egress(network, current.host_config)
        if network.name in current.networks:
            raise Forbidden(f"endpoint with name {current.name} already exists in network {network.name}")
        _unplug(store, current, network)  # of somebody who was killed
        changed = msgspec.structs.replace(current, networks={**current.networks, network.name: asked})
        _plug(store, changed, network, asked)
        try:
            if network.name == "bridge":
                links.tell(store, record.id)
            publish.follow(store, changed, network)
        except BaseException:
            _unplug(store, current, network)
            raise
        store.write_record(changed)


def disconnect(store: Store, record: Record, network: Network) -> str:
    """Why its ports are not published any more, if another network leads outside; empty if they are."""
    with store.editing(record.id) as current:
        linked = _endpoint(attached.read(store, record.id), network) is not None
        if network.name not in current.networks and not linked:
            raise Conflict(f"container {current.id} is not connected to network {network.name}")
        left = {name: each for name, each in current.networks.items() if name != network.name}
        changed = msgspec.structs.replace(current, networks=left)
        reason = ""
        if not linked:
            _mend(store, changed)
        if _unplug(store, changed, network):
            try:
                publish.follow(store, changed)
            except (Error, OSError) as error:
                reason = str(error) if store.held(record.id) else ""
        store.write_record(changed)
    return reason


def release_orphans(store: Store, network: Network) -> None:
    """Give back addresses of a network that whoever claimed them was killed with."""
    owners = set(Leases(store.state).of(network.name).values())
    if owners:
        networks.release_orphans(store)
    for identifier in owners:
        if attached.read(store, identifier).joining == network.name:
            with suppress(NotFound), store.editing(identifier):
                _joined(store, attached.of(store), identifier)


def _joined(store: Store, made: Networks, identifier: str) -> Attached:
    """What it has of networks, and no address beside that."""
    now = attached.read(store, identifier)
    if not now.joining:
        return now
    known = [address for each in now.endpoints if each.network == now.joining for address in each.addresses]
    for address, owner in made.leases.of(now.joining).items():
        if owner == identifier and address not in known:
            made.leases.release(now.joining, address, identifier)
    now = msgspec.structs.replace(now, joining="")
    _note(store, identifier, now)
    return now


def _note(store: Store, identifier: str, now: Attached) -> None:
    with suppress(FileNotFoundError):  # it has just ended
        attached.write(store, identifier, now)


def _endpoint(now: Attached, network: Network) -> Endpoint | None:
    return next((each for each in now.endpoints if each.network == network.name), None)


def _plug(store: Store, record: Record, network: Network, asked: EndpointConfig) -> None:
    found = attached.target(store, record.id)
    if found is None:
        return
    pid, target = found
    made = attached.of(store)
    try:
        with Netlink() as kernel, ExitStack() as undo:
            with networks.ready(kernel, made, [network]) as (link,):
                before = _joined(store, made, record.id)
                numbers = {int(each.interface.removeprefix("eth")) for each in before.endpoints}
                number = next(each for each in range(len(numbers) + 1) if each not in numbers)
                undo.callback(_note, store, record.id, before)
                _note(store, record.id, msgspec.structs.replace(before, joining=network.name))
                endpoint = endpoints.claim(made, record, network, asked, number, pid)
                undo.pop_all()
                undo.callback(_detach, store, made, kernel, record, before, endpoint, target)
                every = [*before.endpoints, endpoint]
                after = msgspec.structs.replace(before, endpoints=every, limited=endpoints.limited(record))
                _note(store, record.id, after)
                endpoints.attach(made, kernel, record, network, endpoint, link, target, beside=every)
            if networks.resolves(record, every) and not networks.resolves(record, before.endpoints):
                _resolve(store, record, pid, target)
            _check_runs(store, record)
            files.write_network(store, record, every, links.hosts(store, record))
            events.connected(store, endpoint, record.id)
            undo.pop_all()
    finally:
        os.close(target)


def _check_runs(store: Store, record: Record) -> None:
    found = attached.target(store, record.id)
    if found is None:
        raise Conflict(f"container {record.id} has just ended")
    os.close(found[1])


def _detach(
    store: Store,
    made: Networks,
    kernel: Netlink,
    record: Record,
    left: Attached,
    endpoint: Endpoint,
    target: int | None,
) -> None:
    """``left``: what the container has without the endpoint, and talks by from now on."""
    last, limited = not left.endpoints, endpoints.limited(record)
    endpoints.detach(made, kernel, record.id, endpoint, target, limited=limited, last=last)
    _note(store, record.id, msgspec.structs.replace(left, joining=endpoint.network))
    endpoints.give_back(made, record.id, endpoint, limited=limited)
    _note(store, record.id, left)
    if target is not None:
        with suppress(OSError):  # it can be told of no other way, but it has left this network
            _new_ways(left.endpoints, target)


def _resolve(store: Store, record: Record, pid: int, target: int) -> None:
    """Have the monitor resolve names, unless it does already, for a network that was left since."""
    try:
        sockets = networks.resolver_sockets(target)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return
        raise
    try:
        client.resolve(store.run_directory(record.id), pid, [each.fileno() for each in sockets])
    finally:
        for each in sockets:
            each.close()


def _unplug(store: Store, record: Record, network: Network) -> bool:
    """Whether its ports are to be published by another network now: they were by this one, or somebody who
    has come so far was killed."""
    made = attached.of(store)
    before = _joined(store, made, record.id)
    gone = _endpoint(before, network)
    if gone is None:
        return True
    way = publish.way(made, before)
    withdrawn = [port for port in before.ports if port.address in gone.addresses]
    publish.withdraw(store, made, record, before, withdrawn)
    rest = [each for each in before.endpoints if each is not gone]
    ports = [port for port in before.ports if port not in withdrawn]
    found = attached.target(store, record.id)
    target = found[1] if found is not None else None
    try:
        with Netlink() as kernel:
            left = msgspec.structs.replace(before, endpoints=rest, ports=ports)
            _detach(store, made, kernel, record, left, gone, target)
        events.disconnected(store, gone, record.id)
        files.write_network(store, record, rest, links.hosts(store, record))
    finally:
        if target is not None:
            os.close(target)
    return way is not None and way[1] is gone


def _mend(store: Store, record: Record) -> None:
    """Whoever has left a network may have been killed after that: the rest of it, if the container runs."""
    found = attached.target(store, record.id)
    if found is None:
        return
    try:
        now = attached.read(store, record.id).endpoints
        with suppress(OSError):
            _new_ways(now, found[1])
        files.write_network(store, record, now, links.hosts(store, record))
    finally:
        os.close(found[1])


def _new_ways(left: list[Endpoint], target: int) -> None:
    """Default routes that went with the link, if they were that way; the next networks take them over."""
    ways = endpoints.ways(left)
    if not ways:
        return
    with Inside(target) as inside:
        there = {
            4 if route.family == socket.AF_INET else 6 for route in inside.routes() if not route.destination
        }
        for version, way in ways.items():
            link = inside.link(way.interface)
            if link is not None and version not in there:
                lead(inside, way, link.index, (version,))
