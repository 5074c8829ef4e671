"""rtnetlink(7): to give a network interface, with its addresses, to another network namespace.

A message is ``struct nlmsghdr``, a family header and attributes, each padded to four bytes. Out of scope:
whatever a library is better for (bridges, routes, neighbours); this is for the runtime, which starts cold.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_CREATE, NLM_F_EXCL = 0x400, 0x200
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR = 16, 18, 20, 22
IFLA_IFNAME, IFLA_NET_NS_FD = 3, 28
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFA_F_PERMANENT = 0x80
IFF_UP = 1
RT_SCOPE_UNIVERSE = 0
_HEADER = struct.Struct("=IHHII")  # nlmsg_len, nlmsg_type, nlmsg_flags, nlmsg_seq, nlmsg_pid
_LINK = struct.Struct("=BxHiII")  # ifi_family, ifi_type, ifi_index, ifi_flags, ifi_change
_ADDRESS = struct.Struct("=BBBBI")  # ifa_family, ifa_prefixlen, ifa_flags, ifa_scope, ifa_index
_ATTRIBUTE = struct.Struct("=HH")  # nla_len, nla_type


class Address:
    """An address of an interface, as the kernel describes it."""

    __slots__ = ("attributes", "family", "prefix")

    def __init__(self, family: int, prefix: int, attributes: dict[int, bytes]) -> None:
        self.family = family
        self.prefix = prefix
        self.attributes = attributes


class Route:
    """A NETLINK_ROUTE socket of the network namespace that the caller is in now. Close it after use."""

    def __init__(self) -> None:
        kind = _socket.SOCK_RAW | _socket.SOCK_CLOEXEC
        self._socket = _socket.socket(_socket.AF_NETLINK, kind, 0)  # NETLINK_ROUTE
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Route:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def index_of(self, name: str) -> int | None:
        """The number of the interface ``name``, or None."""
        attributes = _attribute(IFLA_IFNAME, os.fsencode(name) + b"\0")
        try:
            (answer,) = self._request(RTM_GETLINK, NLM_F_ACK, _LINK.pack(0, 0, 0, 0, 0) + attributes)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            return None
        index: int = _LINK.unpack_from(answer)[2]
        return index

    def addresses(self, index: int) -> list[Address]:
        """The permanent addresses of global scope that the interface has."""
        found = []
        for body in self._request(RTM_GETADDR, NLM_F_DUMP, _ADDRESS.pack(0, 0, 0, 0, 0)):
            family, prefix, flags, scope, interface = _ADDRESS.unpack_from(body)
            if interface == index and scope == RT_SCOPE_UNIVERSE and flags & IFA_F_PERMANENT:
                attributes = _attributes(body[_ADDRESS.size :])
                kept = {k: v for k, v in attributes.items() if k in (IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST)}
                found.append(Address(family, prefix, kept))
        return found

    def add_address(self, index: int, address: Address) -> None:
        header = _ADDRESS.pack(address.family, address.prefix, IFA_F_PERMANENT, RT_SCOPE_UNIVERSE, index)
        attributes = b"".join(_attribute(kind, value) for kind, value in address.attributes.items())
        self._request(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, header + attributes)

    def set_up(self, index: int, up: bool) -> None:
        self._request(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, IFF_UP if up else 0, IFF_UP))

    def move(self, index: int, namespace: int, name: str) -> None:
        """Give the interface to the network namespace of the descriptor, where it is called ``name``."""
        attributes = _attribute(IFLA_NET_NS_FD, struct.pack("=I", namespace))
        attributes += _attribute(IFLA_IFNAME, os.fsencode(name) + b"\0")
        self._request(RTM_NEWLINK, NLM_F_ACK, _LINK.pack(0, 0, index, 0, 0) + attributes)

    def _request(self, kind: int, flags: int, body: bytes) -> list[bytes]:
        """Send one message and return the bodies of the answers; ``OSError`` for an error among them."""
        self._sequence += 1
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, kind, NLM_F_REQUEST | flags, self._sequence, 0) + body)
        found: list[bytes] = []
        while True:
            packet = self._socket.recv(1 << 16)
            while len(packet) >= _HEADER.size:
                size, kind, _, sequence, _ = _HEADER.unpack_from(packet)
                answer, packet = packet[_HEADER.size : size], packet[(size + 3) & ~3 :]
                if sequence != self._sequence:
                    continue
                if kind == NLMSG_ERROR:
                    code = -struct.unpack_from("=i", answer)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    return found
                if kind == NLMSG_DONE:
                    return found
                found.append(answer)


def _attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(-size % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= _ATTRIBUTE.size:
        size, kind = _ATTRIBUTE.unpack_from(data)
        found[kind] = data[_ATTRIBUTE.size : size]
        data = data[(size + 3) & ~3 :]
    return found
