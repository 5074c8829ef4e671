"""Ports of the host: sockets that hold them for a container while it runs.

The packet filter sends what arrives at a published port to the container, so nothing ever reaches the socket;
it is there so that the port is free, and nobody else takes it. Out of scope: the filter itself.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

from ..errors import Conflict, InvalidArgument
from .document import Port

PROTOCOLS = ("tcp", "udp", "sctp")
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
    protocol: str, host: str, wanted: str, address: str, port: int, allocated: Callable[[Port], bool]
) -> tuple[Port, socket.socket | None]:
    """Take a port of the host, one of those ``wanted``; the socket is the caller's.

    ``allocated`` says whether a container has that port. ``Conflict`` if all are taken, in Docker's words.
    """
    refusal: Exception | None = None
    for number in _numbers(wanted):
        found = Port(protocol=protocol, host=host, host_port=number, address=address, port=port)
        shown = f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
        if number and allocated(found):
            refusal = Conflict(f"Bind for {shown} failed: port is already allocated")
            continue
        if protocol not in _KINDS:
            return _unheld(found, allocated), None
        try:
            handle = _bind(protocol, host, number)
        except OSError as error:
            reason = (error.strerror or "").lower()
            refusal = Conflict(f"failed to bind host port for {shown}:{address}:{port}/{protocol}: {reason}")
            if error.errno != errno.EADDRINUSE:
                break
            continue
        return (
            Port(
                protocol=protocol,
                host=host,
                host_port=handle.getsockname()[1],
                address=address,
                port=port,
            ),
            handle,
        )
    assert refusal is not None
    raise refusal


def _numbers(wanted: str) -> Iterator[int]:
    low, high = bounds(wanted)
    yield from range(low, high + 1)


def _bind(protocol: str, host: str, number: int) -> socket.socket:
    handle = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, _KINDS[protocol])
    try:
        if ":" in host:
            handle.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # connections of a server that was here before may still be in TIME-WAIT
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        handle.bind((host, number))
        if protocol == "tcp":
            handle.listen(1)
    except BaseException:
        handle.close()
        raise
    return handle


def _unheld(port: Port, allocated: Callable[[Port], bool]) -> Port:
    """SCTP: kernels without it can still pass it on, so there is no socket to hold the port with."""
    if port.host_port:
        return port
    for number in range(49153, 65536):
        candidate = Port(
            protocol=port.protocol, host=port.host, host_port=number, address=port.address, port=port.port
        )
        if not allocated(candidate):
            return candidate
    raise Conflict("all ports are allocated")
