"""Links of containers above a link of the host (macvlan, ipvlan), in whose network they are themselves.

    host: eth0 (-o parent=eth0)  ====  container: eth<n>, with an address of that network

The host has no end of such a link, so nothing here is on its way: no packet filter, no published ports, and
the container does not reach the host by it. It goes with its namespace. Out of scope: DHCP; addresses are
the network's own.
"""

from __future__ import annotations

import errno
import os

from ..errors import Conflict, InvalidArgument, NotSupported
from ..linux import namespace
from ..linux.links import IPVLAN_FLAGS, IPVLAN_MODES, MACVLAN_MODES, Link, Netlink
from .document import Endpoint, Network
from .inside import Inside, settle

DRIVERS = ("macvlan", "ipvlan")
PARENT = "parent"
MODES = {"macvlan": ("macvlan_mode", MACVLAN_MODES), "ipvlan": ("ipvlan_mode", IPVLAN_MODES)}
FLAG = "ipvlan_flag"
_PROBE = "mdvprobe"


def check_options(driver: str, options: dict[str, str]) -> None:
    """``InvalidArgument`` for a mode that there is none of, or no parent."""
    if not options.get(PARENT):
        raise InvalidArgument(f"a {driver} network needs the link that it is above: -o parent=LINK")
    name, modes = MODES[driver]
    for key, known in ((name, modes), *(((FLAG, IPVLAN_FLAGS),) if driver == "ipvlan" else ())):
        if key in options and options[key] not in known:
            raise InvalidArgument(f"unknown {key} {options[key]} (there are {', '.join(known)})")


def find(kernel: Netlink, network: Network) -> Link:
    """The parent; ``Conflict`` if it is not there."""
    name = network.options[PARENT]
    parent = kernel.link(name)
    if parent is None:
        raise Conflict(f"there is no link {name} that network {network.name} could be above")
    return parent


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
    kernel: Netlink, parent: Link, network: Network, endpoint: Endpoint, target: int, *, gateway: bool
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
