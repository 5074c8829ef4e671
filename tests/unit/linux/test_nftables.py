"""Elements of maps, in a network namespace made for each test; the nft program tells what there is."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from mydocker.linux.nftables import Nftables, field
from mydocker.network.document import Port
from mydocker.network.filter import Filter
from support import probe
from support.hosts import apart

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(probe.missing_programs("nft") is not None, reason="needs nft"),
]

TABLE = """
add table inet t
add map inet t m { type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service; }
"""


def shown_as(key: Sequence[Any], value: Sequence[Any]) -> list[Any]:
    """An element that nothing has found yet, as nft shows it."""
    found = {"val": {"concat": key}, "counter": {"packets": 0, "bytes": 0}}
    return [{"elem": found}, {"concat": value}]


def key(port: int) -> bytes:
    return field(b"\x06") + field(socket.inet_aton("10.0.0.1")) + field(port.to_bytes(2, "big"))


def value(port: int) -> bytes:
    return field(socket.inet_aton("172.17.0.2")) + field(port.to_bytes(2, "big"))


def make() -> None:
    subprocess.run(["nft", "-f", "-"], input=TABLE.encode(), check=True)


def elements(table: str, name: str) -> list[Any]:
    done = subprocess.run(
        ["nft", "-j", "list", "map", "inet", table, name], stdout=subprocess.PIPE, check=True
    )
    found: list[Any] = json.loads(done.stdout)["nftables"][1]["map"].get("elem", [])
    return sorted(found, key=str)


def test_added_and_deleted() -> None:
    def work() -> None:
        make()
        with Nftables() as kernel:
            kernel.add_elements("t", [("m", key(80), value(8)), ("m", key(81), value(9))])
            shown = shown_as(["tcp", "10.0.0.1", 80], ["172.17.0.2", 8])
            assert elements("t", "m")[0] == shown
            assert len(elements("t", "m")) == 2
            kernel.add_elements("t", [("m", key(80), value(8))])
            assert kernel.delete_elements("t", [("m", key(81), value(9))]) == {("m", key(81)): 0}
            assert elements("t", "m") == [shown]

    apart(work)


def refused(number: int, table: str, *wanted: tuple[str, bytes, bytes], delete: bool = False) -> None:
    with Nftables() as kernel, pytest.raises(OSError, match=f"{os.strerror(number)}: '{table}'"):
        (kernel.delete_elements if delete else kernel.add_elements)(table, list(wanted))


def test_all_or_none() -> None:
    def work() -> None:
        make()
        with Nftables() as kernel:
            kernel.add_elements("t", [("m", key(80), value(8))])
        before = elements("t", "m")
        refused(errno.EEXIST, "t", ("m", key(81), value(9)), ("m", key(80), value(7)))
        refused(errno.ENOENT, "t", ("other", key(81), value(9)), ("m", key(81), value(9)))
        refused(errno.ENOENT, "other", ("m", key(81), value(9)))
        refused(errno.ENOENT, "t", ("m", key(80), b""), ("m", key(81), b""), delete=True)
        assert elements("t", "m") == before

    apart(work)


def test_many() -> None:
    def work() -> None:
        make()
        many = [("m", key(port), value(port)) for port in range(1, 1001)]
        with Nftables() as kernel:
            kernel.add_elements("t", many)
            assert len(elements("t", "m")) == 1000
            assert len(kernel.delete_elements("t", many)) == 1000
        assert elements("t", "m") == []

    apart(work)


@pytest.mark.parametrize(
    ("host", "protocol", "address", "name", "shown"),
    [
        ("0.0.0.0", "tcp", "172.17.0.2", "any4", ["tcp", 8080]),
        ("127.0.0.1", "udp", "172.17.0.2", "ports4", ["udp", "127.0.0.1", 8080]),
        ("::", "sctp", "fd00::2", "any6", ["sctp", 8080]),
        ("fd00::1", "tcp", "fd00::2", "ports6", ["tcp", "fd00::1", 8080]),
    ],
)
def test_ports(host: str, protocol: str, address: str, name: str, shown: Sequence[Any]) -> None:
    """The map, key and value that each kind of port takes; the table is made when it is not there."""
    port = Port(protocol=protocol, host=host, host_port=8080, address=address, port=80)

    def work() -> None:
        filter = Filter("t")
        for _ in range(2):
            filter.publish([port], list)
            assert elements("t", name) == [shown_as(shown, [address, 80])]
        missing = Port(protocol="tcp", host="0.0.0.0", host_port=1, address="1.1.1.1", port=1)
        assert filter.unpublish([port, missing]) == [missing], "which something may have come by"
        assert elements("t", name) == []
        filter.remove()
        assert filter.unpublish([port]) == [port]

    apart(work)


def test_what_has_come_by_a_port() -> None:
    used, unused = (
        Port(protocol="tcp", host="0.0.0.0", host_port=number, address="127.0.0.2", port=80)
        for number in (8080, 8081)
    )

    def work() -> None:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        filter = Filter("t")
        filter.publish([used, unused], list)
        with socket.socket() as server, socket.socket() as client:
            server.bind(("127.0.0.2", 80))
            server.listen()
            client.connect(("127.0.0.1", 8080))
        assert filter.unpublish([used, unused]) == [used]

    apart(work)
