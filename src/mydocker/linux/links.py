"""Links, addresses and routes by rtnetlink(7), as far as an engine that makes bridges needs them, and a
runtime that gives away a link of the host.

Addresses are packed (4 or 16 bytes, ``socket.inet_pton``). Messages and refusals are those of ``netlink.py``.
"""

from __future__ import annotations

import _socket
import os
import struct

from .netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Socket,
    attribute,
    attributes,
    nested,
    number,
    text,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26

IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_PROTINFO, IFLA_LINKINFO = 1, 3, 4, 10, 12, 18
IFLA_LINK, IFLA_AF_SPEC, IFLA_NET_NS_FD = 5, 26, 28
IFLA_INET6_CONF = 2
_DISABLE_IPV6 = 26  # linux/ipv6.h: DEVCONF_DISABLE_IPV6
IFLA_VLAN_ID = 1
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
VETH_INFO_PEER = 1
IFLA_MACVLAN_MODE = 1
MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS = 1, 2
IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}
IFLA_BRPORT_STATE, IFLA_BRPORT_MODE, IFLA_BRPORT_FLUSH, IFLA_BRPORT_ISOLATED = 1, 4, 24, 33
BR_STATE_DISABLED = 0
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFA_F_NODAD, IFA_F_PERMANENT = 0x02, 0x80
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST = 254, 3, 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253

LONGEST_NAME = 15
"""of a link: IFNAMSIZ (linux/if.h) less the NUL"""
_REFUSED = frozenset("/:% \t\n\v\f\r\0")  # dev_valid_name() in net/core/dev.c

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")


def is_name(text: str) -> bool:
    """Whether a link can be called so."""
    return 0 < len(os.fsencode(text)) <= LONGEST_NAME and text not in (".", "..") and not _REFUSED & set(text)


class Link:
    """One network interface, as RTM_GETLINK shows it. ``ipv6``: whether it takes part in that, if the kernel
    has it."""

    __slots__ = ("address", "flags", "index", "ipv6", "kind", "master", "mtu", "name")

    def __init__(self, body: bytes) -> None:
        _, _, self.index, self.flags, _ = _LINK.unpack_from(body)
        found = attributes(body, _LINK.size)
        self.name = found.get(IFLA_IFNAME, b"\0")[:-1].decode()
        self.address = found.get(IFLA_ADDRESS, b"")
        self.mtu = int.from_bytes(found.get(IFLA_MTU, b""), "little")
        self.master = int.from_bytes(found.get(IFLA_MASTER, b""), "little")
        info = attributes(found.get(IFLA_LINKINFO, b""))
        self.kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
        families = attributes(found.get(IFLA_AF_SPEC, b""))
        settings = attributes(families.get(_socket.AF_INET6, b"")).get(IFLA_INET6_CONF)
        self.ipv6 = not struct.unpack_from("=i", settings, 4 * _DISABLE_IPV6)[0] if settings else None

    @property
    def up(self) -> bool:
        return bool(self.flags & IFF_UP)


class Route:
    """One route of the main table: destination (packed, empty for the default) and its prefix length."""

    __slots__ = ("destination", "family", "gateway", "oif", "prefix")

    def __init__(self, body: bytes) -> None:
        self.family, self.prefix = body[0], body[1]
        found = attributes(body, _ROUTE.size)
        self.destination = found.get(RTA_DST, b"")
        self.gateway = found.get(RTA_GATEWAY, b"")
        self.oif = int.from_bytes(found.get(RTA_OIF, b""), "little")


class Netlink(Socket):
    """``with Netlink() as kernel:`` a socket in the current network namespace."""

    __slots__ = ()

    # -- links

    def link(self, name: str) -> Link | None:
        try:
            answer = self.ask(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name), name)
        except OSError as error:
            if error.errno == 19:  # ENODEV
                return None
            raise
        return Link(answer)

    def links(self) -> list[Link]:
        return [Link(body) for body in self.dump(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0))]

    def add_bridge(self, name: str, address: bytes = b"", mtu: int = 0) -> None:
        """A bridge that is down; ``OSError`` EEXIST if there is a link of this name."""
        wanted = [text(IFLA_IFNAME, name), nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))]
        if address:
            wanted.append(attribute(IFLA_ADDRESS, address))
        if mtu:
            wanted.append(number(IFLA_MTU, mtu))
        self.new(RTM_NEWLINK, _LINK.pack(0, 0, 0, 0, 0) + b"".join(wanted), name)

    def add_veth(
        self, name: str, master: int, *, peer: str, address: bytes, namespace: int, mtu: int = 0
    ) -> None:
        """A veth that is up and a port of the bridge ``master``, and its peer, down in another namespace.

        ``address`` is the peer's MAC address, ``namespace`` a descriptor. Either both are there or none.
        """
        size = number(IFLA_MTU, mtu) if mtu else b""
        other = (
            _LINK.pack(0, 0, 0, 0, 0)
            + text(IFLA_IFNAME, peer)
            + attribute(IFLA_ADDRESS, address)
            + number(IFLA_NET_NS_FD, namespace)
            + size
        )
        info = nested(
            IFLA_LINKINFO,
            text(IFLA_INFO_KIND, "veth"),
            nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, other)),
        )
        body = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name) + number(IFLA_MASTER, master)
        self.new(RTM_NEWLINK, body + size + info, name)

    def add_macvlan(
        self, name: str, parent: int, *, mode: str, address: bytes, namespace: int, mtu: int = 0
    ) -> None:
        """A link above the link ``parent``, down in another namespace; modes are ``MACVLAN_MODES``."""
        data = number(IFLA_MACVLAN_MODE, MACVLAN_MODES[mode])
        self._add_above("macvlan", name, parent, data, namespace, mtu, attribute(IFLA_ADDRESS, address))

    def add_ipvlan(
        self, name: str, parent: int, *, mode: str, flag: str, namespace: int, mtu: int = 0
    ) -> None:
        """The same with the parent's MAC address; modes are ``IPVLAN_MODES``, flags ``IPVLAN_FLAGS``."""
        data = attribute(IFLA_IPVLAN_MODE, struct.pack("=H", IPVLAN_MODES[mode]))
        data += attribute(IFLA_IPVLAN_FLAGS, struct.pack("=H", IPVLAN_FLAGS[flag]))
        self._add_above("ipvlan", name, parent, data, namespace, mtu, b"")

    def _add_above(
        self, kind: str, name: str, parent: int, data: bytes, namespace: int, mtu: int, more: bytes
    ) -> None:
        body = _LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name) + number(IFLA_LINK, parent) + more
        body += number(IFLA_NET_NS_FD, namespace) + (number(IFLA_MTU, mtu) if mtu else b"")
        info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), nested(IFLA_INFO_DATA, data))
        self.new(RTM_NEWLINK, body + info, name)

    def add_vlan(self, name: str, parent: int, identifier: int) -> None:
        """A link that is up, of the frames of the link ``parent`` that have this tag (IEEE 802.1Q)."""
        data = nested(IFLA_INFO_DATA, attribute(IFLA_VLAN_ID, struct.pack("=H", identifier)))
        self._add("vlan", name, number(IFLA_LINK, parent), data)

    def add_dummy(self, name: str) -> None:
        """A link that is up, and loses everything."""
        self._add("dummy", name)

    def _add(self, kind: str, name: str, more: bytes = b"", data: bytes = b"") -> None:
        info = nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, kind), data)
        body = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + text(IFLA_IFNAME, name) + more
        self.new(RTM_NEWLINK, body + info, name)

    def set_up(self, index: int) -> None:
        self.send(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, IFF_UP, IFF_UP), str(index))

    def set_down(self, index: int) -> None:
        self.send(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, 0, IFF_UP), str(index))

    def move(self, index: int, namespace: int, name: str) -> None:
        """Give a link to the namespace of the descriptor, where it is called ``name``."""
        body = _LINK.pack(0, 0, index, 0, 0) + number(IFLA_NET_NS_FD, namespace) + text(IFLA_IFNAME, name)
        self.send(RTM_NEWLINK, NLM_F_ACK, body, name)

    def rename(self, index: int, name: str) -> None:
        """Of a link that is down: before Linux 6.2 one that is up keeps its name (EBUSY)."""
        body = _LINK.pack(0, 0, index, 0, 0) + text(IFLA_IFNAME, name)
        self.send(RTM_NEWLINK, NLM_F_ACK, body, name)

    def disable_port(self, index: int) -> None:
        """Have a bridge take nothing from a port, give it nothing, and forget what it has learned there.

        Takes 20 µs, where RTM_DELLINK has to wait for every CPU, 25 ms.
        """
        disabled = attribute(IFLA_BRPORT_STATE, bytes((BR_STATE_DISABLED,)))
        self._port(index, disabled, attribute(IFLA_BRPORT_FLUSH, b""))

    def isolate_port(self, index: int) -> None:
        """Have a bridge pass nothing between this port and other isolated ones."""
        self._port(index, attribute(IFLA_BRPORT_ISOLATED, b"\1"))

    def hairpin_port(self, index: int) -> None:
        """Have a bridge send packets back by the port that they came from, if they are to go there."""
        self._port(index, attribute(IFLA_BRPORT_MODE, b"\1"))

    def _port(self, index: int, *settings: bytes) -> None:
        body = _LINK.pack(_socket.AF_BRIDGE, 0, index, 0, 0) + nested(IFLA_PROTINFO, *settings)
        self.send(RTM_SETLINK, NLM_F_ACK, body, str(index))

    def delete_link(self, name: str) -> bool:
        """Whether it was there."""
        try:
            self.send(RTM_DELLINK, NLM_F_ACK, _LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name), name)
        except OSError as error:
            if error.errno == 19:  # ENODEV
                return False
            raise
        return True

    # -- addresses and routes

    def add_address(self, index: int, address: bytes, prefix: int) -> None:
        family = _socket.AF_INET if len(address) == 4 else _socket.AF_INET6
        body = _ADDRESS.pack(family, prefix, IFA_F_NODAD if len(address) == 16 else 0, 0, index)
        body += attribute(IFA_LOCAL, address) + attribute(IFA_ADDRESS, address)
        if family == _socket.AF_INET and prefix < 31:
            everybody = int.from_bytes(address, "big") | (1 << 32 - prefix) - 1
            body += attribute(IFA_BROADCAST, everybody.to_bytes(4, "big"))
        self.new(RTM_NEWADDR, body, _socket.inet_ntop(family, address))

    def addresses(self) -> list[tuple[int, bytes, int]]:
        """Link index, packed address and prefix length of each address in this namespace."""
        found = []
        for body in self.dump(RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
            _, prefix, _, _, index = _ADDRESS.unpack_from(body)
            values = attributes(body, _ADDRESS.size)
            found.append((index, values.get(IFA_LOCAL, values.get(IFA_ADDRESS, b"")), prefix))
        return found

    def permanent(self, index: int) -> list[bytes]:
        """The permanent addresses of global scope that a link has, as messages for ``restore``."""
        found = []
        for body in self.dump(RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
            family, prefix, flags, scope, interface = _ADDRESS.unpack_from(body)
            if interface == index and scope == RT_SCOPE_UNIVERSE and flags & IFA_F_PERMANENT:
                values = attributes(body, _ADDRESS.size)
                kept = [kind for kind in (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST) if kind in values]
                header = _ADDRESS.pack(family, prefix, IFA_F_PERMANENT, RT_SCOPE_UNIVERSE, 0)
                found.append(header + b"".join(attribute(kind, values[kind]) for kind in kept))
        return found

    def restore(self, index: int, address: bytes) -> None:
        """Give a link an address that ``permanent`` has told."""
        family, prefix, flags, scope, _ = _ADDRESS.unpack_from(address)
        body = _ADDRESS.pack(family, prefix, flags, scope, index) + address[_ADDRESS.size :]
        self.new(RTM_NEWADDR, body, str(index))

    def add_default_route(self, gateway: bytes, index: int) -> None:
        family = _socket.AF_INET if len(gateway) == 4 else _socket.AF_INET6
        body = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
        body += attribute(RTA_GATEWAY, gateway) + number(RTA_OIF, index)
        flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
        self.send(RTM_NEWROUTE, flags, body, f"default via {_socket.inet_ntop(family, gateway)}")

    def add_default_link(self, size: int, index: int) -> None:
        """A default route without a gateway, for addresses of ``size`` bytes."""
        family = _socket.AF_INET if size == 4 else _socket.AF_INET6
        body = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST, 0)
        flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
        self.send(RTM_NEWROUTE, flags, body + number(RTA_OIF, index), f"default dev {index}")

    def routes(self) -> list[Route]:
        """Those of the main table, of both families."""
        found = []
        for body in self.dump(RTM_GETROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
            table = attributes(body, _ROUTE.size).get(RTA_TABLE)
            if (int.from_bytes(table, "little") if table else body[4]) == RT_TABLE_MAIN:
                found.append(Route(body))
        return found
