"""Connections that the kernel remembers otherwise than they are to go from now on.

The packet filter leads the first packet of a connection; the others go where that went. So a client by TCP
that nobody answers begins again and again with who was there before, and a flow of UDP goes on as it was for
as long as packets come: to a container that is gone, or to nobody, if it has begun before its port was
published.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..linux.conntrack import Conntrack
from ..linux.links import Netlink
from .document import Port
from .inside import packed

_NUMBERS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
_NO_TABLE = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL)
"""what a kernel without netfilter's netlink says, or without that of its connections"""


def begin(ports: Iterable[Port]) -> None:
    """These are published now: flows to them that came to nobody are to come to the container."""
    wanted = [port for port in ports if port.protocol == "udp" and not port.proxied]
    if not wanted:
        return
    with Netlink() as links:
        own = {address for _, address, _ in links.addresses()}
    with _where_there_are_any(), Conntrack() as kernel:
        for port in wanted:
            family = socket.AF_INET6 if ":" in port.host else socket.AF_INET
            for flow in kernel.sent_to(family, port.host_port, socket.IPPROTO_UDP):
                if flow.sent_to in own and flow.answered_by != packed(port.address):
                    kernel.forget(flow)


def end(ports: Iterable[Port], *, cut: bool = False) -> None:
    """These are published no more: what still comes by them is to come no more.

    Of TCP that is what nobody has answered yet, and is sent again and again; with ``cut`` all of it. The
    kernel looks at its whole table for this, which may take 9 ms, so it is for ports that something has come
    by (``Filter.unpublish``).
    """
    for address, protocol in {(port.address, port.protocol) for port in ports if not port.proxied}:
        if protocol not in _NUMBERS:
            continue
        with _where_there_are_any(), Conntrack() as kernel:
            for flow in kernel.answered_by(packed(address), _NUMBERS[protocol]):
                if flow.sent_to != packed(address) and (cut or protocol == "udp" or not flow.answered):
                    kernel.forget(flow)


def forget(addresses: Iterable[str]) -> None:
    """These are somebody else's now: what their last owner has begun does not go on as his."""
    with _where_there_are_any(), Conntrack() as kernel:
        for address in addresses:
            for flow in kernel.sent_by(packed(address)):
                kernel.forget(flow)


@contextmanager
def _where_there_are_any() -> Iterator[None]:
    """A kernel that remembers no connections has none to forget."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_TABLE:
            raise
