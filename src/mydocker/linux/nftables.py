"""Elements of nftables maps by nfnetlink(7): the nft program takes longer to start than this to work.

    nfgenmsg NFNL_MSG_BATCH_BEGIN
    nfgenmsg NFT_MSG_NEWSETELEM or DELSETELEM   table, map, {key [, value]}       one for each element
    nfgenmsg NFNL_MSG_BATCH_END

A batch is one transaction. Keys and values are fields of the map's type one after the other, each padded to
four bytes (``field``). Out of scope: tables, chains and rules, which people and their tools read and write in
nft's language.
"""

from __future__ import annotations

import os
import struct

from .netlink import (
    HEADER,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    Socket,
    attribute,
    nested,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Element = tuple[str, bytes, bytes]
    """the map's name, a key and its value"""

NETLINK_NETFILTER = 12
NFPROTO_INET = 1
NFNL_SUBSYS_NFTABLES = 10
NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END = 0x10, 0x11
NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM = 12, 14
NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_ELEMENTS = 1, 2, 3
NFTA_LIST_ELEM = 1
NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_DATA = 1, 2
NFTA_DATA_VALUE = 1

_NFGENMSG = struct.Struct("!BBH")  # nfgen_family, version, res_id
_ROOM = 1 << 16


def field(value: bytes) -> bytes:
    """One field of a key or value: a number is in network order, and as long as its type."""
    return value + bytes(-len(value) % 4)


class Nftables(Socket):
    """``with Nftables() as kernel:`` the tables of the current network namespace."""

    __slots__ = ()
    PROTOCOL = NETLINK_NETFILTER

    def add_elements(self, table: str, elements: Sequence[Element]) -> None:
        """All of them, or none. ``OSError``: ENOENT without the map, EEXIST for a key with another value."""
        messages = [_element(table, name, key, value) for name, key, value in elements]
        self._transact(NFT_MSG_NEWSETELEM, NLM_F_CREATE, messages, table)

    def delete_elements(self, table: str, elements: Sequence[Element]) -> None:
        """All of them, whatever their values, or none. ``OSError`` ENOENT if one is not there."""
        messages = [_element(table, name, key, b"") for name, key, _ in elements]
        self._transact(NFT_MSG_DELSETELEM, 0, messages, table)

    def _transact(self, message: int, flags: int, elements: Sequence[bytes], table: str) -> None:
        kind = NFNL_SUBSYS_NFTABLES << 8 | message
        batch = self._packed(NFNL_MSG_BATCH_BEGIN, 0, _NFGENMSG.pack(0, 0, NFNL_SUBSYS_NFTABLES))
        for element in elements:
            last = NLM_F_ACK if element is elements[-1] else 0
            batch += self._packed(kind, flags | last, _NFGENMSG.pack(NFPROTO_INET, 0, 0) + element)
        acknowledged = self._sequence
        batch += self._packed(NFNL_MSG_BATCH_END, 0, _NFGENMSG.pack(0, 0, NFNL_SUBSYS_NFTABLES))
        self._socket.send(batch)
        while True:
            for kind, sequence, code in _replies(self._socket.recv(_ROOM)):
                if kind == NLMSG_ERROR and code:
                    raise OSError(code, os.strerror(code), table)
                if kind == NLMSG_ERROR and sequence == acknowledged:
                    return

    def _packed(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        return HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0) + body


def _element(table: str, name: str, key: bytes, value: bytes) -> bytes:
    parts = [nested(NFTA_SET_ELEM_KEY, attribute(NFTA_DATA_VALUE, key))]
    if value:
        parts.append(nested(NFTA_SET_ELEM_DATA, attribute(NFTA_DATA_VALUE, value)))
    elements = nested(NFTA_SET_ELEM_LIST_ELEMENTS, nested(NFTA_LIST_ELEM, *parts))
    return text(NFTA_SET_ELEM_LIST_TABLE, table) + text(NFTA_SET_ELEM_LIST_SET, name) + elements


def _replies(data: bytes) -> list[tuple[int, int, int]]:
    """Type, sequence number and errno of each message."""
    found = []
    offset = 0
    while offset + HEADER.size <= len(data):
        size, kind, _, sequence, _ = HEADER.unpack_from(data, offset)
        code = -struct.unpack_from("=i", data, offset + HEADER.size)[0] if kind == NLMSG_ERROR else 0
        found.append((kind, sequence, code))
        offset += size + -size % 4
    return found
