"""Connect a container to one more network, or disconnect it from one, whether it runs or not.

The record says in which networks a container is; one that runs is also linked, or cut off, at once. Its ports
go with it: to another network when it leaves the one by which they are published (``publish.follow``).

Whoever does either holds the record (``Store.editing``). A container that ends meanwhile gives back what
``network.json`` says, so it says so before a link is made, and who has made one looks afterwards whether
anybody is still there to do that.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import msgspec

from ..errors import Conflict, Error, Forbidden
from ..linux.links import Netlink
from ..monitor import client
from ..network import above
from ..network.document import Attached, Endpoint, Network
from ..network.egress import Egress
from ..network.inside import Inside, lead
from ..network.store import Networks
from . import attached, events, files, links, networks, publish
from .config import EndpointConfig
from .record import Record
from .store import Store

_SHARED = (
    "container sharing network namespace with another container or host cannot be connected to any other "
    "network"
)


def connect(store: Store, record: Record, network: Network, asked: EndpointConfig) -> None:
    """``Forbidden`` if it is in there already, ``Conflict`` if it has no links of its own."""
    with store.editing(record.id) as current:
        if not networks.own(current.host_config):
            raise Conflict(_SHARED)
        networks.check_endpoint(network, asked)
        networks.check_egress(network, current.host_config)
        if network.name in current.networks:
            raise Forbidden(f"endpoint with name {current.name} already exists in network {network.name}")
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
        if network.name not in current.networks:
            raise Conflict(f"container {current.id} is not connected to network {network.name}")
        left = {name: each for name, each in current.networks.items() if name != network.name}
        changed = msgspec.structs.replace(current, networks=left)
        store.write_record(changed)
        if not _unplug(store, changed, network):
            return ""
        try:
            publish.follow(store, changed)
        except (Error, OSError) as error:
            return str(error) if store.held(record.id) else ""
        return ""


def _plug(store: Store, record: Record, network: Network, asked: EndpointConfig) -> None:
    found = attached.target(store, record.id)
    if found is None:
        return
    pid, target = found
    made = attached.of(store)
    files.host_known(store, record)
    try:
        with Netlink() as kernel, networks.ready(kernel, made, [network]) as (link,):
            before = attached.read(store, record.id)
            numbers = {int(each.interface.removeprefix("eth")) for each in before.endpoints}
            number = next(each for each in range(len(numbers) + 1) if each not in numbers)
            endpoint = networks.claim(made, record, network, asked, number, pid)
            try:
                _add(store, record, before, endpoint)
                way = endpoint.leads and not any(each.leads for each in before.endpoints)
                made.plug(kernel, link, network, endpoint, target, gateway=way)
                networks.limit(made, record, [endpoint])
                if networks.named([endpoint]) and not networks.named(before.endpoints):
                    _resolve(store, record, pid, target)
                if not store.held(record.id):
                    raise Conflict(f"container {record.id} has just ended")
            except BaseException:
                if before.limited:
                    Egress(made.filter).forget(record.id, [endpoint], all=False)
                _give_back(made, kernel, record.id, endpoint, target)
                with suppress(FileNotFoundError):
                    attached.write(store, record.id, before)
                raise
    finally:
        os.close(target)


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


def _add(store: Store, record: Record, before: Attached, endpoint: Endpoint) -> None:
    after = msgspec.structs.replace(before, endpoints=[*before.endpoints, endpoint])
    attached.write(store, record.id, after)
    files.write_network(store, record, after.endpoints, links.hosts(store, record))
    events.connected(store, endpoint, record.id)


def _unplug(store: Store, record: Record, network: Network) -> bool:
    """Whether ports were published by that one."""
    before = attached.read(store, record.id)
    gone = next((each for each in before.endpoints if each.network == network.name), None)
    if gone is None:
        return False
    made = attached.of(store)
    left = [each for each in before.endpoints if each is not gone]
    addresses = (gone.address, gone.address6)
    withdrawn = [port for port in before.ports if port.address in addresses]
    publish.withdraw(store, made, record, before, withdrawn)
    if before.limited:
        Egress(made.filter).forget(record.id, [gone], all=False)
    found = attached.target(store, record.id)
    target = found[1] if found is not None else None
    try:
        with Netlink() as kernel:
            _give_back(made, kernel, record.id, gone, target)
        ports = [port for port in before.ports if port not in withdrawn]
        with suppress(FileNotFoundError):  # it has just ended
            attached.write(store, record.id, msgspec.structs.replace(before, endpoints=left, ports=ports))
        events.disconnected(store, gone, record.id)
        files.write_network(store, record, left, links.hosts(store, record))
        if target is not None:
            _new_way(left, target)
    finally:
        if target is not None:
            os.close(target)
    return bool(withdrawn)


def _new_way(left: list[Endpoint], target: int) -> None:
    """The default route went with the link, if it was that way; the next network takes it over."""
    way = next((each for each in left if each.leads), None)
    if way is None:
        return
    with Inside(target) as inside:
        if any(not route.destination for route in inside.routes()):
            return
        link = inside.link(way.interface)
        if link is not None:
            lead(inside, way, link.index)


def _give_back(
    made: Networks, kernel: Netlink, identifier: str, endpoint: Endpoint, target: int | None
) -> None:
    """``target``: the namespace; there is none if it has just ended, and its links with it."""
    if endpoint.link:
        kernel.delete_link(endpoint.link)
    elif target is not None:
        above.unplug(endpoint, target)
    for address in filter(None, (endpoint.address, endpoint.address6)):
        made.leases.release(endpoint.network, address, identifier)
