"""Bridges and the links of containers to them, in the kernel.

    host                                        container
    md-<id> or mydocker0, with the gateway's
    addresses, up when all of it is there  ---- mdv<id><n> | eth<n>, with the container's addresses

A container's link goes with its network namespace, which the kernel takes apart some time after its last
process. Until then its port is disabled, so an address can be given out again at once. Out of scope: who gets
which address.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection

from ..errors import Conflict, Forbidden, NotSupported
from ..linux.links import LONGEST_NAME, Link, Netlink
from . import rates
from .document import Address, Endpoint, Network
from .inside import packed, settle, sysctl


def find(kernel: Netlink, network: Network) -> Link | None:
    """The bridge, if it is there with all that belongs to it: it is brought up last."""
    link = kernel.link(network.bridge)
    return link if link is not None and link.up else None


def make(kernel: Netlink, network: Network, *, forward: bool) -> None:
    """The bridge with its addresses; needs the lock of all networks.

    One that is there already was made half, or somebody has set it down: as containers may be on it, what it
    lacks is added. ``forward``: the host is to pass on what its containers send to elsewhere.
    """
    link = kernel.link(network.bridge) or _add(kernel, network)
    if link.kind != "bridge":
        raise Conflict(f"there is a link {network.bridge} that is no bridge")
    conf = f"/proc/sys/net/ipv6/conf/{network.bridge}"
    if network.enable_ipv6:
        sysctl(f"{conf}/accept_ra", "0")
        sysctl(f"{conf}/accept_dad", "0")
    elif os.path.exists(conf):
        sysctl(f"{conf}/disable_ipv6", "1")
    there = {(address, prefix) for index, address, prefix in kernel.addresses() if index == link.index}
    for pool in network.pools:
        wanted = packed(pool.gateway), pool.subnet.prefixlen
        if wanted not in there:
            kernel.add_address(link.index, *wanted)
    if forward and not network.internal:
        _forward("/proc/sys/net/ipv4/ip_forward")
        if network.enable_ipv6:
            _forward("/proc/sys/net/ipv6/conf/all/forwarding")
    kernel.set_up(link.index)


def _add(kernel: Netlink, network: Network) -> Link:
    try:
        kernel.add_bridge(network.bridge, address=b"\x02\x42" + os.urandom(4), mtu=network.mtu)
    except OSError as error:
        raise _refused(error, network) from error
    made = kernel.link(network.bridge)
    if made is None:
        raise Conflict(f"somebody has removed the bridge {network.bridge}")
    return made


def hairpin(kernel: Netlink, endpoint: Endpoint) -> None:
    """Let the container reach itself by its published port, where bridged packets pass the filter too."""
    port = kernel.link(endpoint.link)
    if port is not None:
        kernel.hairpin_port(port.index)


def local_routes(network: Network) -> None:
    """Let connections from 127.0.0.1 be sent over the bridge: a published port is reached from there too.

    The other way round is closed by the packet filter (``raw``), which is there before (CVE-2020-8558).
    """
    sysctl(f"/proc/sys/net/ipv4/conf/{network.bridge}/route_localnet", "1")


def remove(kernel: Netlink, network: Network) -> None:
    kernel.delete_link(network.bridge)


def link_name(container: str, pid: int, number: int) -> str:
    """The host's end: whose it is, which of them, and of which start."""
    return f"mdv{container[:8]}{number:x}{pid & 0xFFF:03x}"[:LONGEST_NAME]


def mac_of(address: Address) -> str:
    """Docker's: an address that is given out again comes with the MAC that the neighbours remember."""
    return ":".join(f"{byte:02x}" for byte in b"\x02\x42" + address.packed[-4:])


def plug(
    kernel: Netlink,
    bridge: Link,
    network: Network,
    endpoint: Endpoint,
    target: int,
    *,
    gateway: Collection[int],
) -> None:
    """Link the network namespace of which ``target`` is a descriptor to ``bridge``.

    ``gateway``: IP versions whose default routes go this way. A link of the same name is of a start that was
    cut short.
    """
    mac = bytes.fromhex(endpoint.mac.replace(":", ""))
    arguments = {"peer": endpoint.interface, "address": mac, "namespace": target, "mtu": network.mtu}
    try:
        kernel.add_veth(endpoint.link, bridge.index, **arguments)  # type: ignore[arg-type]
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise _refused(error, network) from error
        kernel.delete_link(endpoint.link)
        kernel.add_veth(endpoint.link, bridge.index, **arguments)  # type: ignore[arg-type]
    if endpoint.rate_in or not network.icc:
        port = kernel.link(endpoint.link)
        if port is None:
            raise Conflict(f"the link {endpoint.link} is gone")
        if not network.icc:
            kernel.isolate_port(port.index)
        rates.hold(kernel, port, endpoint.rate_in)
    settle(target, endpoint, gateway=gateway)


def unplug(kernel: Netlink, endpoint: Endpoint) -> None:
    """Cut the container's link off; the kernel removes it with the namespace, which has to be empty."""
    port = kernel.link(endpoint.link) if endpoint.link else None
    if port is None or not port.master:
        return
    try:
        kernel.disable_port(port.index)
    except OSError as error:
        if error.errno not in (errno.ENODEV, errno.EINVAL, errno.EOPNOTSUPP):
            raise  # these say that the kernel was faster: it is gone, or no port any more


def _forward(path: str) -> None:
    with open(path, "rb", buffering=0) as file:
        if file.read().strip() == b"1":
            return
    sysctl(path, "1")


def _refused(error: OSError, network: Network) -> Exception:
    if error.errno in (errno.EPERM, errno.EACCES):
        return Forbidden(f"network {network.name} needs CAP_NET_ADMIN (use --network none or host)")
    if error.errno == errno.EOPNOTSUPP:
        return NotSupported("this kernel has no bridges or no veth (use --network none or host)")
    return error
