"""Attributes of netlink messages."""

from __future__ import annotations

from mydocker.linux import netlink


def test_attributes() -> None:
    data = netlink.text(3, "a") + netlink.number(4, 5) + netlink.nested(18, netlink.text(1, "b"))
    found = netlink.attributes(data)
    assert found[3] == b"a\0"
    assert int.from_bytes(found[4], "little") == 5
    assert netlink.attributes(found[18]) == {1: b"b\0"}
    assert netlink.attributes(b"\0\0\0\0") == {}
