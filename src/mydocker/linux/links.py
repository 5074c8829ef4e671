"""Links, addresses and routes by rtnetlink(7), as far as an engine that makes bridges needs them.

A ``Netlink`` is a socket in the network namespace in which it was opened, and stays there whatever its
process joins later. Messages are requests with an acknowledgement: a refusal of the kernel is an ``OSError``
with the name of what was asked for. Addresses are packed (4 or 16 bytes, ``socket.inet_pton``).

Why not pyroute2: its import takes 180 to 400 ms, which is what ten containers take to run; the ten messages
that are needed here are these few lines.
"""

from __future__ import annotations

import _socket
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_ROUTE = 0
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP, NLM_F_REPLACE = 0x1, 0x4, 0x300, 0x100
NLM_F_EXCL, NLM_F_CREATE = 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_PROTINFO, IFLA_LINKINFO = 1, 3, 4, 10, 12, 18
IFLA_NET_NS_FD = 28
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
VETH_INFO_PEER = 1
IFLA_BRPORT_STATE, IFLA_BRPORT_MODE, IFLA_BRPORT_FLUSH, IFLA_BRPORT_ISOLATED = 1, 4, 24, 33
BR_STATE_DISABLED = 0
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_NODAD = 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN, RTPROT_BOOT, RTN_UNICAST = 254, 3, 1
RT_SCOPE_UNIVERSE = 0

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ROOM = 1 << 16


def attribute(kind: int, payload: bytes) -> bytes:
    """``struct nlattr`` with its payload, padded to four bytes."""
    size = _ATTRIBUTE.size + len(payload)
    return _ATTRIBUTE.pack(size, kind) + payload + bytes(-size % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The payloads by type; of a type that is there twice, the last."""
    found: dict[int, bytes] = {}
    while offset + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, offset)
        if size < _ATTRIBUTE.size:
            break
        found[kind & NLA_TYPE_MASK] = data[offset + _ATTRIBUTE.size : offset + size]
        offset += size + -size % 4
    return found


class Link:
    """One network interface, as RTM_GETLINK shows it."""

    __slots__ = ("address", "flags", "index", "kind", "master", "mtu", "name")

    def __init__(self, body: bytes) -> None:
        _, _, self.index, self.flags, _ = _LINK.unpack_from(body)
        found = attributes(body, _LINK.size)
        self.name = found.get(IFLA_IFNAME, b"\0")[:-1].decode()
        self.address = found.get(IFLA_ADDRESS, b"")
        self.mtu = int.from_bytes(found.get(IFLA_MTU, b""), "little")
        self.master = int.from_bytes(found.get(IFLA_MASTER, b""), "little")
        info = attributes(found.get(IFLA_LINKINFO, b""))
        self.kind = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()

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


class Netlink:
    """``with Netlink() as kernel:`` a socket in the current network namespace."""

    __slots__ = ("_sequence", "_socket")

    def __init__(self) -> None:
        self._socket = _socket.socket(
            _socket.AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, NETLINK_ROUTE
        )
        self._socket.bind((0, 0))
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    # -- links

    def link(self, name: str) -> Link | None:
        try:
            answer = self._ask(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name), name)
        except OSError as error:
            if error.errno == 19:  # ENODEV
                return None
            raise
        return Link(answer)

    def links(self) -> list[Link]:
        return [Link(body) for body in self._dump(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0))]

    def add_bridge(self, name: str, address: bytes = b"", mtu: int = 0) -> None:
        """A bridge that is down; ``OSError`` EEXIST if there is a link of this name."""
        wanted = [text(IFLA_IFNAME, name), nested(IFLA_LINKINFO, text(IFLA_INFO_KIND, "bridge"))]
        if address:
            wanted.append(attribute(IFLA_ADDRESS, address))
        if mtu:
            wanted.append(number(IFLA_MTU, mtu))
        self._new(RTM_NEWLINK, _LINK.pack(0, 0, 0, 0, 0) + b"".join(wanted), name)

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
        self._new(RTM_NEWLINK, body + size + info, name)

    def set_up(self, index: int) -> None:
        self._send(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, IFF_UP, IFF_UP), str(index))

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
        self._send(RTM_SETLINK, NLM_F_ACK, body, str(index))

    def delete_link(self, name: str) -> bool:
        """Whether it was there."""
        try:
            self._send(RTM_DELLINK, NLM_F_ACK, _LINK.pack(0, 0, 0, 0, 0) + text(IFLA_IFNAME, name), name)
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
        self._new(RTM_NEWADDR, body, _socket.inet_ntop(family, address))

    def addresses(self) -> list[tuple[int, bytes, int]]:
        """Link index, packed address and prefix length of each address in this namespace."""
        found = []
        for body in self._dump(RTM_GETADDR, _ADDRESS.pack(0, 0, 0, 0, 0)):
            _, prefix, _, _, index = _ADDRESS.unpack_from(body)
            values = attributes(body, _ADDRESS.size)
            found.append((index, values.get(IFA_LOCAL, values.get(IFA_ADDRESS, b"")), prefix))
        return found

    def add_default_route(self, gateway: bytes, index: int) -> None:
        self._route(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, gateway, index)

    def delete_default_route(self, gateway: bytes, index: int) -> None:
        self._route(RTM_DELROUTE, NLM_F_ACK, gateway, index)

    def _route(self, message: int, flags: int, gateway: bytes, index: int) -> None:
        family = _socket.AF_INET if len(gateway) == 4 else _socket.AF_INET6
        body = _ROUTE.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
        body += attribute(RTA_GATEWAY, gateway) + number(RTA_OIF, index)
        self._send(message, flags, body, f"default via {_socket.inet_ntop(family, gateway)}")

    def routes(self) -> list[Route]:
        """Those of the main table, of both families."""
        found = []
        for body in self._dump(RTM_GETROUTE, _ROUTE.pack(0, 0, 0, 0, 0, 0, 0, 0, 0)):
            table = attributes(body, _ROUTE.size).get(RTA_TABLE)
            if (int.from_bytes(table, "little") if table else body[4]) == RT_TABLE_MAIN:
                found.append(Route(body))
        return found

    # -- messages

    def _new(self, message: int, body: bytes, what: str) -> None:
        self._send(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body, what)

    def _ask(self, message: int, body: bytes, what: str) -> bytes:
        for kind, answer in self._exchange(message, 0, body):
            if kind == NLMSG_ERROR:
                _raise(answer, what)
            return answer
        raise OSError(71, os.strerror(71), what)  # EPROTO

    def _send(self, message: int, flags: int, body: bytes, what: str) -> None:
        for kind, answer in self._exchange(message, flags, body):
            if kind == NLMSG_ERROR:
                _raise(answer, what)
                return

    def _dump(self, message: int, body: bytes) -> Iterator[bytes]:
        for kind, answer in self._exchange(message, NLM_F_DUMP, body):
            if kind == NLMSG_ERROR:
                _raise(answer, "dump")
            if kind == NLMSG_DONE:
                return
            yield answer

    def _exchange(self, message: int, flags: int, body: bytes) -> Iterator[tuple[int, bytes]]:
        """Send a request and yield the messages that answer it, without an end of their own."""
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), message, NLM_F_REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            data = self._socket.recv(_ROOM)
            offset = 0
            while offset + _HEADER.size <= len(data):
                size, kind, _, sequence, _ = _HEADER.unpack_from(data, offset)
                if sequence == self._sequence:
                    yield kind, data[offset + _HEADER.size : offset + size]
                offset += size + -size % 4


def _raise(answer: bytes, what: str) -> None:
    code: int = -struct.unpack_from("=i", answer)[0]
    if code:
        raise OSError(code, os.strerror(code), what)
