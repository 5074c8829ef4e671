"""The kernel's table of connections by nfnetlink(7): to find some, and to have it forget them.

A connection is known by two tuples, one for each direction, of addresses, protocol and ports. Since Linux 5.8
the kernel looks for some itself (CTA_FILTER), so a long table is not read from one end to the other.
"""

from __future__ import annotations

import _socket
import errno
import struct

from .netlink import (
    NLM_F_ACK,
    Socket,
    attribute,
    attributes,
    nested,
    number,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

NETLINK_NETFILTER = 12
IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE = 0x101, 0x102
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_ID, CTA_FILTER = 1, 2, 3, 12, 25
IPS_SEEN_REPLY = 0x2
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
CTA_IP_SRC = {4: 1, 16: 3}
CTA_IP_DST = {4: 2, 16: 4}
CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 1, 3
CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS = 1, 2
CTA_FILTER_F_IP_SRC, CTA_FILTER_F_PROTO_NUM, CTA_FILTER_F_PROTO_DST_PORT = 0x1, 0x8, 0x20

_NFGENMSG = struct.Struct("!BBH")  # nfgen_family, version, res_id


class Flow:
    """One connection: where its first packet was sent, and who answers it (packed addresses)."""

    __slots__ = ("answered", "answered_by", "id", "original", "sent_to")

    def __init__(self, body: bytes) -> None:
        found = attributes(body, _NFGENMSG.size)
        self.original = found[CTA_TUPLE_ORIG]
        self.id = found[CTA_ID]
        self.answered = bool(int.from_bytes(found[CTA_STATUS], "big") & IPS_SEEN_REPLY)
        self.sent_to = _address(self.original, CTA_IP_DST)
        self.answered_by = _address(found[CTA_TUPLE_REPLY], CTA_IP_SRC)


def _address(values: bytes, kinds: dict[int, int]) -> bytes:
    found = attributes(attributes(values)[CTA_TUPLE_IP])
    return next((found[kind] for kind in kinds.values() if kind in found), b"")


class Conntrack(Socket):
    """``with Conntrack() as kernel:`` the table of the current network namespace."""

    __slots__ = ()
    PROTOCOL = NETLINK_NETFILTER

    def answered_by(self, address: bytes, protocol: int) -> Iterator[Flow]:
        """Those whose answers come from ``address``, whatever address they were sent to."""
        source = nested(CTA_TUPLE_IP, attribute(CTA_IP_SRC[len(address)], address))
        wanted = nested(CTA_TUPLE_REPLY, source, _protocol(protocol))
        flags = number(CTA_FILTER_REPLY_FLAGS, CTA_FILTER_F_IP_SRC | CTA_FILTER_F_PROTO_NUM)
        return self._find(_family(address), wanted, flags)

    def sent_by(self, address: bytes) -> Iterator[Flow]:
        """Those whose first packet came from ``address``."""
        source = attribute(CTA_IP_SRC[len(address)], address)
        wanted = nested(CTA_TUPLE_ORIG, nested(CTA_TUPLE_IP, source))
        return self._find(_family(address), wanted, number(CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_IP_SRC))

    def sent_to(self, family: int, port: int, protocol: int) -> Iterator[Flow]:
        """Those that were sent to ``port``, at whatever address."""
        destination = attribute(CTA_PROTO_DST_PORT, port.to_bytes(2, "big"))
        wanted = nested(CTA_TUPLE_ORIG, _protocol(protocol, destination))
        flags = number(CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_PROTO_NUM | CTA_FILTER_F_PROTO_DST_PORT)
        return self._find(family, wanted, flags)

    def _find(self, family: int, wanted: bytes, flags: bytes) -> Iterator[Flow]:
        body = _NFGENMSG.pack(family, 0, 0) + wanted + nested(CTA_FILTER, flags)
        for found in [*self.dump(IPCTNL_MSG_CT_GET, body)]:
            yield Flow(found)

    def forget(self, flow: Flow) -> None:
        """No error if it has just ended."""
        body = _NFGENMSG.pack(_family(flow.sent_to), 0, 0)
        body += nested(CTA_TUPLE_ORIG, flow.original) + attribute(CTA_ID, flow.id)
        try:
            self.send(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, body, "connection")
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def _protocol(protocol: int, *more: bytes) -> bytes:
    return nested(CTA_TUPLE_PROTO, attribute(CTA_PROTO_NUM, bytes((protocol,))), *more)


def _family(address: bytes) -> int:
    return _socket.AF_INET if len(address) == 4 else _socket.AF_INET6
