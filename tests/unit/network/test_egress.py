"""Lists of places, and what of them goes into the packet filter."""

from __future__ import annotations

import ipaddress

import pytest

from mydocker import errors
from mydocker.network.egress import Key, Place, Remembered, places


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


def test_the_filter_is_told_when_half_of_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    one: Key = ("10.0.0.1", 7, "tcp")
    two: Key = ("10.0.0.2", 7, "tcp")
    known = Remembered()
    assert known.due("a", [one], 3600) == [one]
    assert known.due("a", [one], 3600) == [one], "as long as nobody says that it was done"
    known.note([one], 3600)
    for later, due in ((0, [two]), (1700, [two]), (1900, [one, two]), (9999, [one, two])):
        now = 1000.0 + later
        assert known.due("a", [one, two], 3600) == due
    known.note([one], 3600)
    assert known.due("b", [one], 3600) == [one], "what another had is gone with it"
