"""Links of containers above a link of the host (macvlan, ipvlan), in whose network they are themselves.

    host: eth0 (-o parent=eth0)  ====  container: eth<n>, with an address of that network

The host has no end of such a link, so nothing here is on its way: no packet filter, no published ports, and
the container does not reach the host by it. It goes with its namespace.

A parent that is not there is made with the network, and removed with it: ``eth0.100`` is VLAN 100 of eth0,
and without a parent a dummy leads nowhere but to the network's other containers. Out of scope: DHCP;
addresses are the network's own.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from ..errors import Conflict, InvalidArgument, NotSupported
from ..linux import namespace
from ..linux.links import (
    IPVLAN_FLAGS,
    IPVLAN_MODES,
    LONGEST_NAME,
    MACVLAN_MODES,
    Link,
    Netlink,
    is_name,
)
from .document import PARENT, Endpoint, Network
from .inside import Inside, settle

DRIVERS = ("macvlan", "ipvlan")
MODES = {"macvlan": ("macvlan_mode", MACVLAN_MODES), "ipvlan": ("ipvlan_mode", IPVLAN_MODES)}
FLAG = "ipvlan_flag"
_PROBE = "mdvprobe"
_VLANS = 4095


def check_options(driver: str, options: dict[str, str]) -> None:
    """``InvalidArgument`` for a mode that there is none of."""
    name, modes = MODES[driver]
    for key, known in ((name, modes), *(((FLAG, IPVLAN_FLAGS),) if driver == "ipvlan" else ())):
        if key in options and options[key] not in known:
            raise InvalidArgument(f"unknown {key} {options[key]} (there are {', '.join(known)})")


def check_beside(network: Network, others: Iterable[Network]) -> None:
    """``Conflict`` with other networks above the same link, where the kernel has one driver at a time; and of
    ipvlan one mode and one flag, which the links that are there get from the next one."""
    own = _manner(network)
    for other in others:
        there = _manner(other)
        if own != there:
            raise Conflict(
                f"network {other.name} is above {network.parent} by {there}, so none can be by {own} "
                "(use another parent, such as a VLAN of it)"
            )


def _manner(network: Network) -> str:
    """What all networks above a link have in common."""
    if network.driver == "ipvlan":
        return f"ipvlan ({network.mode}, {network.options.get(FLAG, 'bridge')})"
    return network.driver


def find(kernel: Netlink, network: Network) -> Link:
    """The parent, made if it is the network's own, as after a reboot; ``Conflict`` if it is not there."""
    parent = kernel.link(network.parent)
    if parent is None and network.made_parent:
        _make_parent(kernel, network)
        parent = kernel.link(network.parent)
    if parent is None:
        raise Conflict(f"there is no link {network.parent} that network {network.name} could be above")
    return parent


def lacks_parent(kernel: Netlink, network: Network) -> bool:
    """Whether the parent is to be made; Docker's ``InvalidArgument`` or ``Conflict`` if it cannot be."""
    if kernel.link(network.parent) is not None:
        return False
    if network.options.get(PARENT):
        _vlan(kernel, network.parent)
    return True


def _vlan(kernel: Netlink, name: str) -> tuple[Link, int]:
    """The link, and the number, of the VLAN that ``eth0.100`` names."""
    under, dot, number = name.rpartition(".")
    if not dot:
        raise InvalidArgument(f"invalid subinterface vlan name {name}, example formatting is eth0.10")
    if not number.isdecimal():
        raise InvalidArgument(f"unable to parse a valid vlan id from: {number} (ex. eth0.10 for vlan 10)")
    if not 0 < int(number) < _VLANS:
        raise InvalidArgument(f"vlan id must be between 1-4094, received: {int(number)}")
    if not is_name(name):
        raise InvalidArgument(f"the name of a link has at most {LONGEST_NAME} characters: {name}")
    link = kernel.link(under)
    if link is None:
        raise Conflict(f"failed to find master interface {under} on the host: Link not found")
    return link, int(number)


def _make_parent(kernel: Netlink, network: Network) -> None:
    name = network.parent
    try:
        if network.options.get(PARENT):
            link, number = _vlan(kernel, name)
            kernel.add_vlan(name, link.index, number)
        else:
            kernel.add_dummy(name)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return  # somebody was faster
        if error.errno == errno.EOPNOTSUPP and network.options.get(PARENT):
            raise NotSupported(
                f"failed to create {name} vlan link: this kernel has no VLANs (CONFIG_VLAN_8021Q)"
            ) from error
        if error.errno == errno.EOPNOTSUPP:
            raise NotSupported(
                f"a {network.driver} network without a parent is above a dummy link, which this kernel does "
                "not have (CONFIG_DUMMY): use -o parent=LINK"
            ) from error
        raise Conflict(f"cannot make the link {name}: {(error.strerror or '').lower()}") from error


def remove_parent(kernel: Netlink, network: Network) -> None:
    """The link that was made for the network, which is the last one above it."""
    kernel.delete_link(network.parent)


def probe(kernel: Netlink, network: Network) -> None:
    """``NotSupported`` or ``Conflict`` if the kernel makes no such link above this parent."""
    parent = find(kernel, network)
    name = f"{_PROBE}{os.getpid() & 0xFFFF:x}"
    with _new_namespace() as target:
        _add(kernel, parent, network, name, b"\x02" + os.urandom(5), target)
        with Inside(target) as inside:
            inside.delete_link(name)


@contextmanager
def _new_namespace() -> Iterator[int]:
    """A network namespace that ends with its descriptor, so with this process too, and all links in it."""
    before = namespace.open_namespace("network", "thread-self")
    try:
        namespace.unshare(namespace.CLONE_NEWNET)
        try:
            made = namespace.open_namespace("network", "thread-self")
        finally:
            namespace.setns(before, namespace.CLONE_NEWNET)
    finally:
        os.close(before)
    try:
        yield made
    finally:
        os.close(made)


def plug(
    kernel: Netlink,
    parent: Link,
    network: Network,
    endpoint: Endpoint,
    target: int,
    *,
    gateway: Collection[int],
) -> None:
    """As ``bridge.plug``."""
    mac = bytes.fromhex(endpoint.mac.replace(":", ""))
    _add(kernel, parent, network, _made(endpoint), mac, target)
    settle(target, endpoint, gateway=gateway, made=_made(endpoint))


def unplug(endpoint: Endpoint, target: int) -> None:
    """Take the link away from a container that goes on."""
    with Inside(target) as inside:
        if not inside.delete_link(_made(endpoint)):
            inside.delete_link(endpoint.interface)


def _made(endpoint: Endpoint) -> str:
    """The link's name until it is inside: before Linux 6.15 none of the host's may have the same."""
    return f"mdv{endpoint.id}"[:LONGEST_NAME]


def _add(kernel: Netlink, parent: Link, network: Network, name: str, mac: bytes, target: int) -> None:
    mode = network.mode
    try:
        if network.driver == "macvlan":
            kernel.add_macvlan(name, parent.index, mode=mode, address=mac, namespace=target, mtu=network.mtu)
        else:
            flag = network.options.get(FLAG, "bridge")
            kernel.add_ipvlan(name, parent.index, mode=mode, flag=flag, namespace=target, mtu=network.mtu)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise NotSupported(
                f"this kernel has no {network.driver} (CONFIG_{network.driver.upper()})"
            ) from error
        reason = (error.strerror or "").lower()
        raise Conflict(f"cannot make a {network.driver} link above {parent.name}: {reason}") from error
