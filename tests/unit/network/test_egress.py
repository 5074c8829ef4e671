"""Lists of places, and what of them goes into the packet filter."""

from __future__ import annotations

import ipaddress

import pytest

from mydocker import errors
from mydocker.network.egress import Place, places


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("10.0.0.0/8", Place(ipaddress.ip_network("10.0.0.0/8"))),
        ("10.0.0.7", Place(ipaddress.ip_network("10.0.0.7/32"))),
        ("fd00::1", Place(ipaddress.ip_network("fd00::1/128"))),
        ("fd00::/8", Place(ipaddress.ip_network("fd00::/8"))),
        ("10.0.0.7:443", Place(None, "10.0.0.7", 443, ("tcp", "udp"))),
        ("10.0.0.7:53/udp", Place(None, "10.0.0.7", 53, ("udp",))),
        ("[fd00::1]:443/tcp", Place(None, "fd00::1", 443, ("tcp",))),
        ("API.Example.org:443", Place(None, "api.example.org", 443, ("tcp", "udp"))),
    ],
)
def test_entries(entry: str, found: Place) -> None:
    assert places([entry]) == [found]
    assert found.named == ("example" in found.host)


@pytest.mark.parametrize(
    "entry",
    ["", "x", "a:0", "a:70000", "a:http", "a b:80", "[fd00::1]", "a..b:80", ":80", "a:80/icmp",
     "10.0.0.1/8", "10.0.0.0/99", "*.x.org:443", "fd00::1:443x"],
)  # fmt: skip
def test_no_entries(entry: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        places([entry])


def test_none() -> None:
    assert places(["none"]) == []
    with pytest.raises(errors.InvalidArgument, match="goes with nothing else"):
        places(["none", "10.0.0.1"])
