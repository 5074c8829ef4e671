"""Ports of the host, held by sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from mydocker import errors
from mydocker.network import ports
from mydocker.network.document import Port


def nobody(_: Port) -> bool:
    return False


def hold(
    protocol: str,
    host: str,
    wanted: str,
    address: str,
    port: int,
    allocated: Callable[[Port], bool],
    *,
    filtered: bool = True,
) -> tuple[Port, socket.socket | None]:
    """At one place."""
    [found] = ports.hold(protocol, [(host, address)], wanted, port, allocated, filtered=filtered)
    return found


@pytest.mark.parametrize(
    ("text", "found"), [("", (0, 0)), ("80", (80, 80)), ("80-90", (80, 90)), ("0", (0, 0))]
)
def test_bounds(text: str, found: tuple[int, int]) -> None:
    assert ports.bounds(text) == found


@pytest.mark.parametrize("text", ["x", "80-", "90-80", "70000", "-5"])
def test_no_bounds(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="invalid port"):
        ports.bounds(text)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_held_until_closed(protocol: str) -> None:
    port, held = hold(protocol, "127.0.0.1", "", "10.0.0.2", 80, nobody)
    assert held is not None
    ports.listen(port, held)
    with held, pytest.raises(errors.Conflict, match=f"127.0.0.1:{port.host_port}.*address already in use"):
        hold(protocol, "127.0.0.1", str(port.host_port), "10.0.0.2", 80, nobody)
    _, again = hold(protocol, "127.0.0.1", str(port.host_port), "10.0.0.2", 80, nobody)
    assert again is not None
    again.close()


def test_the_first_of_a_range_that_is_free() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        low = taken.getsockname()[1]
        port, held = hold("tcp", "127.0.0.1", f"{low}-{low + 9}", "10.0.0.2", 80, nobody)
        assert held is not None
        held.close()
        assert low < port.host_port <= low + 9


def test_another_containers() -> None:
    with pytest.raises(errors.Conflict, match=r"Bind for 0.0.0.0:80 failed: port is already allocated"):
        hold("tcp", "0.0.0.0", "80", "10.0.0.2", 80, lambda port: port.host_port == 80)


def test_sctp_has_no_socket() -> None:
    port, held = hold("sctp", "0.0.0.0", "", "10.0.0.2", 80, lambda port: port.host_port < 50000)
    assert (port.host_port, held) == (50000, None)


def test_nothing_is_accepted_before_it_listens() -> None:
    """What the kernel accepted before the packet filter knows the port would wait for ever."""
    port, held = hold("tcp", "127.0.0.1", "", "10.0.0.2", 80, nobody)
    assert held is not None
    with held, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.host_port))


def test_somebody_who_listens_first() -> None:
    port, held = hold("tcp", "127.0.0.1", "", "10.0.0.2", 80, nobody)
    assert held is not None
    with held, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port.host_port))
        other.listen()
        with pytest.raises(errors.Conflict, match="address already in use"):
            ports.listen(port, held)


@pytest.mark.parametrize(
    ("host", "address", "filtered", "proxied"),
    [
        ("127.0.0.1", "10.0.0.2", True, False),
        ("127.0.0.1", "10.0.0.2", False, True),
        ("127.0.0.1", "fd00::2", True, True),
        ("::1", "fd00::2", True, True),
        ("::", "fd00::2", True, False),
    ],
)
def test_what_the_filter_cannot_do(host: str, address: str, filtered: bool, proxied: bool) -> None:
    port, held = hold("udp", host, "", address, 80, nobody, filtered=filtered)
    assert held is not None
    held.close()
    assert port.proxied == proxied


def test_sctp_is_not_proxied() -> None:
    with pytest.raises(errors.NotSupported, match="sctp ports cannot be published"):
        hold("sctp", "0.0.0.0", "80", "10.0.0.2", 80, nobody, filtered=False)


PLACES = [("127.0.0.1", "10.0.0.2"), ("::1", "10.0.0.2")]


def close(held: list[tuple[Port, socket.socket | None]]) -> None:
    for _, handle in held:
        assert handle is not None
        handle.close()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_the_same_port_at_two_places(protocol: str) -> None:
    held = ports.hold(protocol, PLACES, "", 80, nobody)
    close(held)
    first, second = (port for port, _ in held)
    assert first.host_port == second.host_port
    assert [(port.host, port.proxied) for port in (first, second)] == [("127.0.0.1", False), ("::1", True)]


def test_what_is_taken_at_one_of_two_places() -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        low = taken.getsockname()[1]
        with pytest.raises(errors.Conflict, match=rf"\[::1\]:{low}.*address already in use"):
            ports.hold("tcp", PLACES, str(low), 80, nobody)
        held = ports.hold("tcp", PLACES, f"{low}-{low + 9}", 80, nobody)
        close(held)
        assert low < held[0][0].host_port == held[1][0].host_port <= low + 9
        with socket.socket() as free:  # what was taken at the first place was let go of
            free.bind(("127.0.0.1", low))
