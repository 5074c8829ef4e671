"""Ports of the host: sockets that hold them for a container while it runs.

The packet filter sends what arrives at a published port to the container, so nothing ever reaches the socket;
it is there so that the port is free, and nobody else takes it. What the filter cannot lead away (to ::1, or
to an address of the other family, or all of it where there is no filter) is served by a proxy.

A socket is bound first and listens when the filter knows the port: a connection between the two would be
accepted by the kernel, and wait for an answer for as long as the container runs. Out of scope: the filter
and the proxy themselves.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence

import msgspec

from ..errors import Conflict, InvalidArgument, NotSupported
from .document import Port

PROTOCOLS = ("tcp", "udp", "sctp")
_BACKLOG = 512
_TRIES = 8
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def bounds(text: str) -> tuple[int, int]:
    """``80`` or ``80-90``; empty and ``0`` mean any, which is (0, 0). ``InvalidArgument`` for no port."""
    first, dash, last = text.partition("-")
    if not text:
        return 0, 0
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise InvalidArgument(f"invalid port: {text}")
    low, high = int(first), int(last or first)
    if low > high or high > 65535:
        raise InvalidArgument(f"invalid port: {text}")
    return low, high


def hold(
    protocol: str,
    places: Sequence[tuple[str, str]],
    wanted: str,
    port: int,
    allocated: Callable[[Port], bool],
    *,
    filtered: bool = True,
) -> list[tuple[Port, socket.socket | None]]:
    """Take one port of the host, of those ``wanted``, at all ``places``: host address and container address.

    The sockets are the caller's, and are to ``listen``. ``allocated`` says whether a container has that port,
    ``filtered`` whether there is a packet filter. ``Conflict`` if all are taken, in Docker's words.
    """
    refusal: Exception | None = None
    for number in _numbers(wanted):
        held: list[tuple[Port, socket.socket | None]] = []
        try:
            for host, address in places:
                same = held[0][0].host_port if held else number
                proxied = _is_proxied(protocol, host, address, filtered=filtered)
                asked = Port(
                    protocol=protocol, host=host, host_port=same, address=address, port=port, proxied=proxied
                )
                held.append(_hold(asked, allocated))
        except _Taken as error:
            refusal = error
        except BaseException:
            _drop(held)
            raise
        else:
            return held
        _drop(held)
    assert refusal is not None
    raise Conflict(str(refusal))


class _Taken(Exception):
    """By somebody, so there may be another one."""


def _hold(port: Port, allocated: Callable[[Port], bool]) -> tuple[Port, socket.socket | None]:
    if port.host_port and allocated(port):
        raise _Taken(f"Bind for {shown(port.host, port.host_port)} failed: port is already allocated")
    if port.protocol not in _KINDS:
        return _unheld(port, allocated), None
    try:
        handle = _bind(port)
    except OSError as error:
        kind = _Taken if error.errno == errno.EADDRINUSE else Conflict
        raise kind(_refused(port, error)) from None
    given = msgspec.structs.replace(port, host_port=handle.getsockname()[1])
    if not port.host_port and allocated(given):
        handle.close()
        raise _Taken(f"Bind for {shown(port.host, given.host_port)} failed: port is already allocated")
    return given, handle


def _is_proxied(protocol: str, host: str, address: str, *, filtered: bool) -> bool:
    proxied = not filtered or host == "::1" or (":" in host) != (":" in address)
    if proxied and protocol not in _KINDS:
        why = f"to {host}" if filtered else "without the packet filter (nft)"
        raise NotSupported(f"{protocol} ports cannot be published {why}: the proxy knows tcp and udp")
    return proxied


def _drop(held: list[tuple[Port, socket.socket | None]]) -> None:
    for _, handle in held:
        if handle is not None:
            handle.close()


def listen(port: Port, handle: socket.socket) -> None:
    """Take connections from now on; ``Conflict`` if somebody else has begun to since the port was held."""
    if port.protocol != "tcp":
        return
    try:
        handle.listen(_BACKLOG if port.served else 1)
    except OSError as error:
        raise Conflict(_refused(port, error)) from error


def _refused(port: Port, error: OSError) -> str:
    reason = (error.strerror or "").lower()
    lead = f"failed to bind host port for {shown(port.host, port.host_port)}"
    return f"{lead}:{port.address}:{port.port}/{port.protocol}: {reason}"


def has_ipv6() -> bool:
    """Whether anything can come to this host by IPv6, from itself at least."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def shown(host: str, number: int | str) -> str:
    """``0.0.0.0:80``, ``[::]:80``"""
    return f"[{host}]:{number}" if ":" in host else f"{host}:{number}"


def _numbers(wanted: str) -> Iterator[int]:
    """0 is any that is free at the first place, which it need not be at the others."""
    low, high = bounds(wanted)
    yield from range(low, high + 1) if high else (0,) * _TRIES


def _bind(port: Port) -> socket.socket:
    handle = socket.socket(socket.AF_INET6 if ":" in port.host else socket.AF_INET, _KINDS[port.protocol])
    try:
        if ":" in port.host:
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":
            # connections of a server that was here before may still be in TIME-WAIT
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handle.bind((port.host, port.host_port))
    except BaseException:
        handle.close()
        raise
    return handle


def _unheld(port: Port, allocated: Callable[[Port], bool]) -> Port:
    """SCTP: kernels without it can still pass it on, so there is no socket to hold the port with."""
    if port.host_port:
        return port
    for number in range(49153, 65536):
        candidate = msgspec.structs.replace(port, host_port=number)
        if not allocated(candidate):
            return candidate
    raise Conflict("all ports are allocated")
