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
    gateway = first(part)
    if pool.gateway:
        gateway = _inside(pool.gateway, subnet, "gateway")
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
