"""rtnetlink, in a network namespace that is made for each test."""

from __future__ import annotations

import errno
import socket

import pytest

from mydocker.linux import namespace
from mydocker.linux.links import Netlink
from support import command, probe
from support.hosts import apart

pytestmark = pytest.mark.root


def test_bridge_address_and_route() -> None:
    def work() -> None:
        with Netlink() as kernel:
            assert kernel.link("br") is None
            kernel.add_bridge("br", bytes.fromhex("024200000001"), 1400)
            link = kernel.link("br")
            assert link is not None
            assert (link.kind, link.mtu, link.address.hex(), link.up) == (
                "bridge",
                1400,
                "024200000001",
                False,
            )
            kernel.add_address(link.index, socket.inet_aton("10.0.0.1"), 24)
            kernel.set_up(link.index)
            kernel.add_default_route(socket.inet_aton("10.0.0.254"), link.index)
            routes = {(each.destination, each.prefix, each.gateway) for each in kernel.routes()}
            assert (socket.inet_aton("10.0.0.0"), 24, b"") in routes
            assert (b"", 0, socket.inet_aton("10.0.0.254")) in routes
            assert (link.index, socket.inet_aton("10.0.0.1"), 24) in kernel.addresses()
            assert {each.name for each in kernel.links()} >= {"lo", "br"}
            assert kernel.delete_link("br")
            assert not kernel.delete_link("br")

    apart(work)


def test_what_the_kernel_refuses_has_its_name() -> None:
    def work() -> None:
        with Netlink() as kernel:
            kernel.add_bridge("br")
            with pytest.raises(OSError, match="br") as caught:
                kernel.add_bridge("br")
            assert caught.value.errno == errno.EEXIST

    apart(work)


@pytest.mark.skipif(bool(probe.missing_programs("bridge")), reason="needs bridge (iproute2)")
def test_settings_of_a_port() -> None:
    def work() -> None:
        with Netlink() as kernel:
            kernel.add_bridge("br")
            bridge = kernel.link("br")
            assert bridge is not None
            own = namespace.open_namespace("network")
            kernel.add_veth("one", bridge.index, peer="two", address=b"\2\0\0\0\0\1", namespace=own)
            port = kernel.link("one")
            peer = kernel.link("two")
            assert port is not None
            assert peer is not None
            assert (port.master, port.kind, peer.address) == (bridge.index, "veth", b"\2\0\0\0\0\1")
            kernel.disable_port(port.index)
            kernel.isolate_port(port.index)
            kernel.hairpin_port(port.index)
            shown = command.run(["bridge", "-d", "link", "show", "dev", "one"]).out
            assert "state disabled" in shown
            assert "isolated on" in shown
            assert "hairpin on" in shown

    apart(work)


def test_a_link_above_another_and_a_route_to_it() -> None:
    def work() -> None:
        own = namespace.open_namespace("network")
        with Netlink() as kernel:
            kernel.add_bridge("br")
            bridge = kernel.link("br")
            assert bridge is not None
            kernel.add_veth("one", bridge.index, peer="two", address=b"\2\0\0\0\0\1", namespace=own)
            parent = kernel.link("two")
            assert parent is not None
            kernel.add_macvlan(
                "above", parent.index, mode="vepa", address=b"\2\0\0\0\0\2", namespace=own, mtu=1200
            )
            made = kernel.link("above")
            assert made is not None
            assert (made.kind, made.mtu, made.address) == ("macvlan", 1200, b"\2\0\0\0\0\2")
            assert "macvlan mode vepa" in command.run(["ip", "-d", "link", "show", "above"]).out
            kernel.set_up(parent.index)
            kernel.set_up(made.index)
            kernel.add_address(made.index, socket.inet_aton("10.0.0.1"), 32)
            kernel.add_default_link(4, made.index)
            assert command.run(["ip", "route", "show", "default"]).out.startswith("default dev above")
            kernel.set_down(made.index)
            assert not kernel.link("above").up  # type: ignore[union-attr]

    apart(work)
