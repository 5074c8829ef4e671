"""Subnets: which may be had, which are taken, and what somebody asked for checked in Docker's words.

The defaults are Docker's (``daemon/libnetwork/ipamutils``): 172.17.0.0/16 to 172.31.0.0/16, then
192.168.0.0/20 to 192.168.240.0/20; and for IPv6 a /64 of a local prefix (RFC 4193). Taken is what another
network has, and what the host has an address in or a route to.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Iterator

from ..errors import Forbidden, InvalidArgument, Unavailable
from ..linux.links import Netlink
from .document import Address, Pool, Subnet

_OVERLAP = "Pool overlaps with other one on this address space"
_EXHAUSTED = (
    "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the "
    "network"
)


def defaults() -> Iterator[ipaddress.IPv4Network]:
    for second in range(17, 32):
        yield ipaddress.IPv4Network(f"172.{second}.0.0/16")
    yield from ipaddress.IPv4Network("192.168.0.0/16").subnets(new_prefix=20)


def of_host() -> list[Subnet]:
    """Where the host has an address, or a route that is not the default one."""
    with Netlink() as kernel:
        known = [(route.destination, route.prefix) for route in kernel.routes() if route.destination]
        known += [(address, prefix) for _, address, prefix in kernel.addresses()]
    return [ipaddress.ip_network(each, strict=False) for each in known if each[1]]


def overlaps(subnet: Subnet, others: Iterable[Subnet]) -> bool:
    return any(subnet.overlaps(other) for other in others if subnet.version == other.version)


def settled(asked: Iterable[Pool], networks: list[Subnet], *, ipv4: bool, ipv6: bool) -> list[Pool]:
    """The pools of a new network, those of IPv4 first: what was asked for, and what else it needs.

    ``networks``: the subnets of the others. Errors as ``check``.
    """
    if not ipv4 and not ipv6:
        raise InvalidArgument("IPv4 or IPv6 must be enabled")
    found = [check(pool, networks) for pool in asked]
    versions = {parse(pool.subnet).version for pool in found}
    if 4 in versions and not ipv4:
        raise InvalidArgument("an IPv4 subnet needs --ipv4")
    if 6 in versions and not ipv6:
        raise InvalidArgument("an IPv6 subnet needs --ipv6")
    if ipv4 and 4 not in versions:
        found.append(choose(networks + of_host()))
    if ipv6 and 6 not in versions:
        found.append(choose6())
    found.sort(key=lambda pool: parse(pool.subnet).version)
    subnets = [parse(pool.subnet) for pool in found]
    for number, subnet in enumerate(subnets):
        if overlaps(subnet, subnets[:number]):
            raise Forbidden(_OVERLAP)
    return found


def of_link(kernel: Netlink, name: str) -> Pool | None:
    """The pool of IPv4 of which a link has the gateway's address, if there is such a link."""
    link = kernel.link(name)
    if link is None:
        return None
    for index, address, prefix in kernel.addresses():
        if index == link.index and len(address) == 4:
            subnet = ipaddress.ip_network((address, prefix), strict=False)
            return Pool(subnet=str(subnet), gateway=str(ipaddress.ip_address(address)))
    return None


def choose(taken: list[Subnet]) -> Pool:
    """The first of the defaults that nobody has."""
    for subnet in defaults():
        if not overlaps(subnet, taken):
            return Pool(subnet=str(subnet), gateway=str(subnet[1]))
    raise Unavailable(_EXHAUSTED)


def choose6() -> Pool:
    """A /64 of a random local prefix."""
    prefix = b"\xfd" + os.urandom(5) + bytes(10)
    subnet = ipaddress.IPv6Network((prefix, 64))
    return Pool(subnet=str(subnet), gateway=str(subnet[1]))


def check(pool: Pool, networks: list[Subnet]) -> Pool:
    """The pool with its gateway; ``InvalidArgument`` for what it cannot be, ``Forbidden`` if it is taken."""
    subnet = parse(pool.subnet)
    if overlaps(subnet, networks):
        raise Forbidden(_OVERLAP)
    part = parse(pool.ip_range) if pool.ip_range else subnet
    if part.version != subnet.version or not part.subnet_of(subnet):  # type: ignore[arg-type]
        raise InvalidArgument(f"no matching subnet for range {pool.ip_range}")
    room = first(subnet if pool.gateway else part)
    gateway = _inside(pool.gateway, subnet, "gateway") if pool.gateway else room
    for other in pool.auxiliary_addresses.values():
        if _inside(other, subnet, "aux-address") == gateway:
            raise Forbidden("Address already in use")
    return Pool(
        subnet=str(subnet),
        ip_range=str(part) if pool.ip_range else "",
        gateway=str(gateway),
        auxiliary_addresses=pool.auxiliary_addresses,
    )


def first(subnet: Subnet) -> Address:
    if subnet.num_addresses < 4:
        raise InvalidArgument(f"invalid subnet {subnet}: it has no room for a gateway and a container")
    return subnet[1]


def parse(text: str) -> Subnet:
    try:
        subnet = ipaddress.ip_network(text)
    except ValueError:
        try:
            right = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise InvalidArgument(f"invalid subnet {text}: invalid CIDR address: {text}") from None
        raise InvalidArgument(f"invalid subnet {text}: it should be {right}") from None
    if "/" not in text:
        raise InvalidArgument(f"invalid subnet {text}: invalid CIDR address: {text}")
    return subnet


def _inside(text: str, subnet: Subnet, what: str) -> Address:
    found = address(text, what)
    if found not in subnet:
        raise InvalidArgument(f"no matching subnet for {what} {text}")
    return found


def address(text: str, what: str = "IP") -> Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise InvalidArgument(f"invalid {what} address: {text}") from None
