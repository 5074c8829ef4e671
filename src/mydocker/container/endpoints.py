"""A container in one of its networks: what is made for that, and undone, whoever does it.

    claim     addresses                                         (network/leases.py)
    attach    the only places outside, if there is a list       (network/egress.py)
              the link                                          (network/bridge.py, above.py)
    detach    the link, the list
    give_back the addresses

In this order nothing is ever sent by a link whose limits are not there yet, or not any more. ``network.json``
has the endpoint, or says in which network there may be addresses of none (``joining``), from before ``claim``
until after ``give_back``; while a container is started it is not there before all claims, which means any. So
all of it may be undone again, if somebody was killed in the middle: what others have by then stays as it is.
Out of scope: what a container has of all its networks together (``networks.py``: files, names, ports).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext

import msgspec

from ..linux.links import Link, Netlink
from ..network import above, bridge, flows, rates
from ..network.document import Endpoint, Network
from ..network.egress import Egress, places
from ..network.store import Networks
from . import links
from .config import EndpointConfig, EndpointIpam
from .record import Record


def claim(
    networks: Networks, record: Record, network: Network, asked: EndpointConfig, number: int, pid: int
) -> Endpoint:
    """The endpoint with its addresses; none of them stays claimed if one cannot be had."""
    ipam = asked.ipam_config or EndpointIpam()
    endpoint = Endpoint(
        network=network.name,
        network_id=network.id,
        driver=network.driver,
        id=os.urandom(32).hex(),
        interface=f"eth{number}",
        link=bridge.link_name(record.id, pid, number) if network.bridged else "",
        routed=network.routed and not network.closed,
        mac=asked.mac_address,
        aliases=_names(record, asked) if network.name != "bridge" else [],
        links={alias.lower(): name for name, alias in map(links.split, asked.links or ())},
    )
    rate_in, rate_out = rates.parse(asked.driver_opts or {})
    changes: dict[str, object] = {"rate_in": rate_in, "rate_out": rate_out}
    with ExitStack() as undo:
        for pool in network.pools:
            version = pool.subnet.version
            six = "6" if version == 6 else ""
            if f"address{six}" in changes:
                continue
            fixed = ipam.ipv6_address if six else ipam.ipv4_address
            address = networks.leases.claim(network, record.id, address=fixed, version=version)
            undo.callback(networks.leases.release, network.name, str(address), record.id)
            where = next(each for each in network.pools if address in each.subnet)
            changes |= {f"address{six}": str(address), f"prefix{six}": where.subnet.prefixlen}
            changes[f"gateway{six}"] = "" if network.closed or network.routed else str(where.gateway)
            if not endpoint.mac and "mac" not in changes and network.driver != "ipvlan":
                changes["mac"] = bridge.mac_of(address)
        undo.pop_all()
    return msgspec.structs.replace(endpoint, **changes)


def _names(record: Record, asked: EndpointConfig) -> list[str]:
    """What the container is called in a network of the user's, beside its name."""
    own = filter(None, (record.short_id, record.config.hostname))
    return list(dict.fromkeys((*(asked.aliases or ()), *own)))


def limited(record: Record) -> bool:
    """Whether it may talk to some places outside only."""
    return record.host_config.egress is not None


def attach(
    networks: Networks,
    kernel: Netlink,
    record: Record,
    network: Network,
    endpoint: Endpoint,
    link: Link,
    target: int,
    *,
    beside: Iterable[Endpoint],
) -> None:
    """Where ``Networks.ready`` has found ``link``; ``target`` is a descriptor of the network namespace.

    ``beside``: all endpoints of the container, this one among them. Whoever had the addresses before may have
    left connections, which a list of places would not stop.
    """
    if limited(record):
        allowed = places(record.host_config.egress or ())
        Egress(networks.filter).on(record.id, endpoint, allowed, networks.bridged())
        flows.forget(endpoint.addresses)
    versions = [version for version, way in ways(beside).items() if way is endpoint]
    networks.plug(kernel, link, network, endpoint, target, gateway=versions)


def ways(endpoints: Iterable[Endpoint]) -> dict[int, Endpoint]:
    """By which of them the default route of each IP version goes, if by any.

    As in Docker (moby, ``selectGatewayEndpoint``): the first that leads by both, or else the first for each.
    """
    found: dict[int, Endpoint] = {}
    for endpoint in endpoints:
        versions = [version for version in (4, 6) if endpoint.leads_by(version)]
        if len(versions) == 2:
            return dict.fromkeys(versions, endpoint)
        for version in versions:
            found.setdefault(version, endpoint)
    return found


def unplug(kernel: Netlink, endpoint: Endpoint, target: int | None) -> None:
    """Remove the link from its namespace; without one, of a container that has ended, cut it off."""
    if target is None:
        bridge.unplug(kernel, endpoint)
    elif endpoint.link:
        kernel.delete_link(endpoint.link)
    else:
        above.unplug(endpoint, target)


def detach(
    networks: Networks,
    kernel: Netlink,
    container: str,
    endpoint: Endpoint,
    target: int | None,
    *,
    limited: bool,
    last: bool,
) -> None:
    """Undo ``attach``, or what there is of it. ``last``: no endpoint is left then."""
    unplug(kernel, endpoint, target)
    if limited:
        with networks.unlimiting():
            owner = networks.leases.owner
            own = [each for each in endpoint.addresses if owner(endpoint.network, each) == container]
            Egress(networks.filter).off(container, endpoint, own, last=last)


def give_back(networks: Networks, container: str, endpoint: Endpoint, *, limited: bool) -> None:
    """Undo ``claim``. Not while somebody else takes the limits off, who relies on the addresses."""
    with networks.unlimiting() if limited else nullcontext():
        for address in endpoint.addresses:
            networks.leases.release(endpoint.network, address, container)
