"""The order in which a container is put into a network and taken out, and the ways of its default routes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import pytest

from mydocker.container import endpoints
from mydocker.container.config import Config, EndpointConfig, EndpointIpam, HostConfig
from mydocker.container.record import Record
from mydocker.errors import Forbidden
from mydocker.network.document import Endpoint, Ipam, Network, Pool
from mydocker.network.leases import Leases

WAYS: dict[str, dict[str, Any]] = {
    "four": {"address": "10.0.0.2", "gateway": "10.0.0.1"},
    "six": {"address6": "fd00::2", "gateway6": "fd00::1"},
    "both": {"address": "10.1.0.2", "gateway": "10.1.0.1", "address6": "fd01::2", "gateway6": "fd01::1"},
    "more": {"address": "10.2.0.2", "gateway": "10.2.0.1", "address6": "fd02::2", "gateway6": "fd02::1"},
    "routed": {"address": "10.3.0.2", "routed": True},
    "internal": {"address": "10.4.0.2", "address6": "fd04::2"},
}


def endpoint(name: str, **given: Any) -> Endpoint:
    values = {"network_id": "", "id": "", "interface": "eth0", "link": "mdv0", "mac": "", **given}
    return Endpoint(network=name, **values)


@pytest.mark.parametrize(
    ("names", "four", "six"),
    [
        ("", "", ""),
        ("internal", "", ""),
        ("internal four six both more", "both", "both"),
        ("four six", "four", "six"),
        ("six routed four", "routed", "six"),
        ("four internal", "four", ""),
    ],
)
def test_ways(names: str, four: str, six: str) -> None:
    found = endpoints.ways([endpoint(name, **WAYS[name]) for name in names.split()])
    wanted = {version: name for version, name in ((4, four), (6, six)) if name}
    assert {version: each.network for version, each in found.items()} == wanted


class Recorder:
    """The networks, their packet filter and the kernel, which are told what to do, and do nothing."""

    table = "t"

    def __init__(self) -> None:
        self.told: list[str] = []
        self.filter = self
        self.leases = self
        self.holder = "c" * 64

    def bridged(self) -> list[Network]:
        return []

    def unlimiting(self) -> nullcontext[None]:
        self.told.append("lock")
        return nullcontext()

    def change(self, commands: str, _: Sequence[Network]) -> None:
        assert '"mdv0" . 10.0.0.2' in commands
        self.told.append("limit")

    def forget(self, commands: str) -> None:
        assert "bridge t limited" in commands
        assert ("limited4 { 10.0.0.2" in commands) == (self.holder == "c" * 64)
        self.told.append("chain" if "delete chain" in commands else "unlimit")

    def plug(self, *_: Any, gateway: Sequence[int]) -> None:
        assert gateway == [4]
        self.told.append("plug")

    def delete_link(self, name: str) -> None:
        assert name == "mdv0"
        self.told.append("unplug")

    def owner(self, network: str, address: str) -> str:
        assert (network, address) == ("four", "10.0.0.2")
        return self.holder

    def release(self, network: str, address: str, container: str) -> None:
        assert (network, address, container) == ("four", "10.0.0.2", "c" * 64)
        self.told.append("release")


def record(**host: Any) -> Record:
    return Record(
        id="c" * 64,
        created="",
        path="",
        args=[],
        name="c",
        config=Config(),
        host_config=HostConfig(**host),
    )


@pytest.mark.root
def test_no_link_without_its_limits() -> None:
    """They are there before it is, and go after it."""
    at: Any = Recorder()
    one = endpoint("four", **WAYS["four"])
    link: Any = None
    network: Any = None
    endpoints.attach(at, at, record(egress=["none"]), network, one, link, 0, beside=[one])
    assert at.told == ["limit", "plug"]
    for last, undone in ((False, "unlimit"), (True, "chain")):
        at.told.clear()
        endpoints.detach(at, at, "c" * 64, one, 0, limited=True, last=last)
        endpoints.give_back(at, "c" * 64, one, limited=True)
        assert at.told == ["unplug", "lock", undone, "lock", "release"]


def test_who_has_the_address_by_now_keeps_his_limits() -> None:
    at: Any = Recorder()
    at.holder = "d" * 64
    endpoints.detach(at, at, "c" * 64, endpoint("four", **WAYS["four"]), 0, limited=True, last=True)
    assert at.told == ["unplug", "lock", "chain"]


@pytest.mark.parametrize(
    ("options", "internal", "leads"),
    [({"parent": "eth0"}, False, True), ({}, False, False), ({"parent": "eth0"}, True, False)],
)
def test_no_way_by_a_network_that_leads_nowhere(
    tmp_path: Any, options: dict[str, str], internal: bool, leads: bool
) -> None:
    at: Any = Recorder()
    at.leases = Leases(str(tmp_path))
    network = Network(
        name="n",
        id="1" * 64,
        created="",
        driver="ipvlan",
        options={"ipvlan_mode": "l3", **options},
        internal=internal,
        ipam=Ipam(config=[Pool(subnet="10.0.0.0/24", gateway="10.0.0.1")]),
    )
    made = endpoints.claim(at, record(), network, EndpointConfig(), 0, 1)
    assert bool(endpoints.ways([made])) == leads


def test_no_address_stays_of_what_cannot_be_had(tmp_path: Any) -> None:
    at: Any = Recorder()
    at.leases = Leases(str(tmp_path))
    pools = [Pool(subnet="10.0.0.0/24", gateway="10.0.0.1"), Pool(subnet="fd00::/64", gateway="fd00::1")]
    network = Network(name="n", id="1" * 64, created="", ipam=Ipam(config=pools))
    at.leases.claim(network, "other", address="fd00::9", version=6)
    asked = EndpointConfig(ipam_config=EndpointIpam(ipv6_address="fd00::9"))
    with pytest.raises(Forbidden):
        endpoints.claim(at, record(), network, asked, 0, 1)
    assert at.leases.of("n") == {"fd00::9": "other"}
