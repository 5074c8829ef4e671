"""Elements of nftables maps by nfnetlink(7): the nft program takes longer to start than this to work.

    nfgenmsg NFNL_MSG_BATCH_BEGIN
    nfgenmsg NFT_MSG_NEWSETELEM or DELSETELEM   table, map, {key [, value, counter]}     one for each element
    nfgenmsg NFNL_MSG_BATCH_END

A batch is one transaction. Keys and values are fields of the map's type one after the other, each padded to
four bytes (``field``). Every element is given a counter of the packets that were looked up and found it; what
is deleted is echoed, and so tells whether there were any. Out of scope: tables, chains and rules, which
people and their tools read and write in nft's language.
"""

from __future__ import annotations

import _socket
import os
import struct

from .netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_ECHO,
    NLMSG_ERROR,
    Socket,
    attribute,
    attributes,
    nested,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Element = tuple[str, bytes, bytes]
    """the map's name, a key and its value"""

NETLINK_NETFILTER = 12
NFPROTO_INET = 1
NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM = 0xA0C, 0xA0E  # with the subsystem
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS = 1, 2, 3
NFTA_LIST_ELEM = 1
NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_EXPR = 1, 2, 7
NFTA_DATA_VALUE = 1
NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 2
NFTA_COUNTER_PACKETS = 2
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33

_NFGENMSG = struct.Struct("!BBH")  # nfgen_family, version, res_id
_FEW = 256
"""elements that fit into the buffers that a socket has by itself"""
_EACH = 1024
"""bytes of a buffer that one element takes at most, with what the kernel counts beside its message"""


def field(value: bytes) -> bytes:
    """One field of a key or value: a number is in network order, and as long as its type."""
    return value + bytes(-len(value) % 4)


class Nftables(Socket):
    """``with Nftables() as kernel:`` the tables of the current network namespace."""

    __slots__ = ()
    PROTOCOL = NETLINK_NETFILTER

    def add_elements(self, table: str, elements: Sequence[Element]) -> None:
        """All of them, or none. ``OSError``: ENOENT without the map, EEXIST for a key with another value."""
        counter = nested(NFTA_SET_ELEM_EXPR, text(NFTA_EXPR_NAME, "counter"))
        wanted = [
            _element(table, name, key, nested(NFTA_SET_ELEM_DATA, attribute(NFTA_DATA_VALUE, value)), counter)
            for name, key, value in elements
        ]
        self._transact(NFT_MSG_NEWSETELEM, NLM_F_CREATE, wanted, table)

    def delete_elements(self, table: str, elements: Sequence[Element]) -> dict[tuple[str, bytes], int]:
        """All of them, whatever their values, or none; how many packets found each, by map and key.

        One that has no counter is left out of that. ``OSError`` ENOENT if one is not there.
        """
        wanted = [_element(table, name, key) for name, key, _ in elements]
        return self._transact(NFT_MSG_DELSETELEM, NLM_F_ECHO, wanted, table)

    def _transact(
        self, message: int, flags: int, elements: Sequence[bytes], table: str
    ) -> dict[tuple[str, bytes], int]:
        if len(elements) > _FEW:
            for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
                self._socket.setsockopt(_socket.SOL_SOCKET, option, len(elements) * _EACH)
        batch = self._packed(NFNL_MSG_BATCH_BEGIN, 0, _NFGENMSG.pack(0, 0, NFNL_SUBSYS_NFTABLES))
        for element in elements:
            last = NLM_F_ACK if element is elements[-1] else 0
            batch += self._packed(message, flags | last, _NFGENMSG.pack(NFPROTO_INET, 0, 0) + element)
        acknowledged = self._sequence
        batch += self._packed(NFNL_MSG_BATCH_END, 0, _NFGENMSG.pack(0, 0, NFNL_SUBSYS_NFTABLES))
        self._socket.send(batch)
        echoed: dict[tuple[str, bytes], int] = {}
        while True:
            for kind, sequence, body in self._received():
                if kind == NFT_MSG_DELSETELEM:
                    echoed.update(_counted(body))
                if kind != NLMSG_ERROR:
                    continue
                if code := -struct.unpack_from("=i", body)[0]:
                    raise OSError(code, os.strerror(code), table)
                if sequence == acknowledged:
                    return echoed


def _element(table: str, name: str, key: bytes, *more: bytes) -> bytes:
    found = nested(NFTA_LIST_ELEM, nested(NFTA_SET_ELEM_KEY, attribute(NFTA_DATA_VALUE, key)), *more)
    place = text(NFTA_SET_ELEM_LIST_TABLE, table) + text(NFTA_SET_ELEM_LIST_SET, name)
    return place + nested(NFTA_SET_ELEM_LIST_ELEMENTS, found)


def _counted(body: bytes) -> Iterator[tuple[tuple[str, bytes], int]]:
    """Map and key of an element that is told of, and what it has counted, if anything."""
    told = attributes(body, _NFGENMSG.size)
    element = attributes(attributes(told[NFTA_SET_ELEM_LIST_ELEMENTS])[NFTA_LIST_ELEM])
    expression = attributes(element.get(NFTA_SET_ELEM_EXPR, b""))
    if expression.get(NFTA_EXPR_NAME) == b"counter\0":
        name = told[NFTA_SET_ELEM_LIST_SET].rstrip(b"\0").decode()
        key = attributes(element[NFTA_SET_ELEM_KEY])[NFTA_DATA_VALUE]
        packets = attributes(expression[NFTA_EXPR_DATA])[NFTA_COUNTER_PACKETS]
        yield (name, key), int.from_bytes(packets, "big")
