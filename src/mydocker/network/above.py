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
from collections.abc import Collection

from ..errors import Conflict, InvalidArgument, NotSupported
from ..linux import namespace
from ..linux.links import IPVLAN_FLAGS, IPVLAN_MODES, MACVLAN_MODES, Link, Netlink
from .document import PARENT, Endpoint, Network
from .inside import Inside, settle

DRIVERS = ("macvlan", "ipvlan")
MODES = {"macvlan": ("macvlan_mode", MACVLAN_MODES), "ipvlan": ("ipvlan_mode", IPVLAN_MODES)}
FLAG = "ipvlan_flag"
_PROBE = "mdvprobe"
_LINK_NAME = 15
"""IFNAMSIZ without the zero byte"""
_VLANS = 4095


def check_options(driver: str, options: dict[str, str]) -> None:
    """``InvalidArgument`` for a mode that there is none of."""
    name, modes = MODES[driver]
    for key, known in ((name, modes), *(((FLAG, IPVLAN_FLAGS),) if driver == "ipvlan" else ())):
        if key in options and options[key] not in known:
            raise InvalidArgument(f"unknown {key} {options[key]} (there are {', '.join(known)})")


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
    if len(name) > _LINK_NAME:
        raise InvalidArgument(f"the name of a link has at most {_LINK_NAME} characters: {name}")
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
    own = namespace.open_namespace("network")
    name = f"{_PROBE}{os.getpid() & 0xFFFF:x}"
    try:
        _add(kernel, parent, network, name, b"\x02" + os.urandom(5), own)
        kernel.delete_link(name)
    finally:
        os.close(own)


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
    _add(kernel, parent, network, endpoint.interface, mac, target)
    settle(target, endpoint, gateway=gateway)


def unplug(endpoint: Endpoint, target: int) -> None:
    """Take the link away from a container that goes on."""
    with Inside(target) as inside:
        inside.delete_link(endpoint.interface)


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
