"""Connections that the kernel remembers otherwise than they are to go from now on.

The packet filter leads the first packet of a connection; the others go where that went. TCP begins again by
itself, as whoever is there now says that it knows of none. A flow of UDP goes on as it was for as long as
packets come: to a container that is gone, or, if it has begun before its port was published, to nobody.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress

from ..linux.conntrack import Conntrack
from ..linux.links import Netlink
from .document import Port
from .inside import packed

_NUMBERS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}


def begin(ports: Iterable[Port]) -> None:
    """These are published now: flows to them that came to nobody are to come to the container."""
    wanted = [port for port in ports if port.protocol == "udp" and not port.proxied]
    if not wanted:
        return
    with Netlink() as links:
        own = {address for _, address, _ in links.addresses()}
    with suppress(OSError), Conntrack() as kernel:  # a kernel without the one has no flows to forget
        for port in wanted:
            family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
            for flow in kernel.sent_to(family, port.host_port, socket.IPPROTO_UDP):
                if flow.sent_to in own and flow.answered_by != packed(port.address):
                    kernel.forget(flow)


def end(ports: Iterable[Port], *protocols: str) -> None:
    """These are published no more: what still comes by them, of these protocols, is to come no more."""
    for address, protocol in {(port.address, port.protocol) for port in ports if not port.proxied}:
        if protocol in protocols:
            with suppress(OSError), Conntrack() as kernel:
                for flow in kernel.answered_by(packed(address), _NUMBERS[protocol]):
                    if flow.sent_to != packed(address):
                        kernel.forget(flow)
