"""The container's side of its links: addresses, routes and settings in its network namespace."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Collection

from ..errors import Conflict, NotSupported
from ..linux import namespace
from ..linux.links import Netlink
from . import rates
from .document import Address, Endpoint

_PATIENCE = 2.0
"""seconds for the kernel to take apart a namespace that has ended, and the links there"""


def packed(address: str | Address) -> bytes:
    text = str(address)
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


class Inside:
    """``with Inside(fd) as kernel``: this process is in that network namespace, and has a socket there."""

    __slots__ = ("_kernel", "_outside", "_target")

    def __init__(self, target: int) -> None:
        self._target = target

    def __enter__(self) -> Netlink:
        self._outside = namespace.open_namespace("network")
        try:
            namespace.setns(self._target, namespace.CLONE_NEWNET)
            self._kernel = Netlink()
        except BaseException:
            self._leave()
            raise
        return self._kernel

    def __exit__(self, *_: object) -> None:
        self._kernel.__exit__()
        self._leave()

    def _leave(self) -> None:
        namespace.setns(self._outside, namespace.CLONE_NEWNET)
        os.close(self._outside)


def settle(target: int, endpoint: Endpoint, *, gateway: Collection[int], made: str = "") -> None:
    """Give the link its addresses and bring it up; ``gateway``: IP versions whose default routes go this way.

    ``target`` is a descriptor of the namespace, ``made`` what the link is called so far if not by its name.
    """
    with Inside(target) as inside:
        link = inside.link(made or endpoint.interface)
        if link is None:
            raise Conflict(f"the link {endpoint.interface} is gone")
        if made:
            inside.rename(link.index, endpoint.interface)
        wanted = bool(endpoint.address6)
        if link.ipv6 is not None and link.ipv6 != wanted:
            sysctl(f"/proc/sys/net/ipv6/conf/{endpoint.interface}/disable_ipv6", "0" if wanted else "1")
        for address, prefix in (
            (endpoint.address, endpoint.prefix),
            (endpoint.address6, endpoint.prefix6),
        ):
            if address:
                _patiently(endpoint, inside.add_address, link.index, packed(address), prefix)
        rates.hold(inside, link, endpoint.rate_out)
        _patiently(endpoint, inside.set_up, link.index)
        if gateway:
            lead(inside, endpoint, link.index, gateway)


def lead(inside: Netlink, endpoint: Endpoint, index: int, versions: Collection[int]) -> None:
    """Have default routes of IP go by a link: to the gateways, or where there are none to whoever answers."""
    ways = {4: (endpoint.address, endpoint.gateway), 6: (endpoint.address6, endpoint.gateway6)}
    for address, way in map(ways.__getitem__, versions):
        if way:
            inside.add_default_route(packed(way), index)
        elif address and endpoint.routed:
            inside.add_default_link(len(packed(address)), index)


def _patiently(endpoint: Endpoint, step: Callable[..., None], *arguments: object) -> None:
    """Above a link of the host no two have one address (ipvlan) or one MAC (macvlan)."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return step(*arguments)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EBUSY):
                raise
            if time.monotonic() > end:
                raise Conflict(
                    f"{endpoint.address or endpoint.address6} is in use above the same link, by something "
                    "in the network namespace of a container that has ended (end it, or use --ip)"
                ) from error
            time.sleep(0.005)


def sysctl(path: str, value: str) -> None:
    try:
        with open(path, "wb", buffering=0) as file:
            file.write(value.encode())
    except OSError as error:
        raise NotSupported(f"cannot set {path} to {value}: {(error.strerror or '').lower()}") from error
