"""``--publish`` and the networks of ``run``, as docker's command line reads them."""

from __future__ import annotations

from typing import Any

import pytest

from mydocker import errors
from mydocker.cli.flags import network
from mydocker.container.config import EndpointConfig, EndpointIpam, PortBinding
from mydocker.network.document import Pool


def bindings(text: str) -> dict[str, list[tuple[str, str]]]:
    found = network.port_bindings([network.parse_publish(text)])
    return {port: [(each.host_ip, each.host_port) for each in found[port]] for port in found}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("80", {"80/tcp": [("", "")]}),
        ("8080:80", {"80/tcp": [("", "8080")]}),
        ("8080:80/UDP", {"80/udp": [("", "8080")]}),
        ("127.0.0.1:8080:80", {"80/tcp": [("127.0.0.1", "8080")]}),
        ("127.0.0.1::80", {"80/tcp": [("127.0.0.1", "")]}),
        ("[::1]:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("::1:8080:80", {"80/tcp": [("::1", "8080")]}),
        ("8000-8001:80-81", {"80/tcp": [("", "8000")], "81/tcp": [("", "8001")]}),
        ("8000-8009:80", {"80/tcp": [("", "8000-8009")]}),
        ("80-81", {"80/tcp": [("", "")], "81/tcp": [("", "")]}),
        ("target=80", {"80/tcp": [("", "")]}),
        ("published=8080,target=80", {"80/tcp": [("", "8080")]}),
        ("target=80,published=8080-8081,protocol=udp,mode=host", {"80/udp": [("", "8080-8081")]}),
    ],
)
def test_publish(text: str, found: dict[str, list[tuple[str, str]]]) -> None:
    assert bindings(text) == found


def test_two_bindings_of_a_port() -> None:
    found = network.port_bindings([network.parse_publish(each) for each in ("1:80", "2:80")])
    assert found == {"80/tcp": [PortBinding(host_port="1"), PortBinding(host_port="2")]}


def flags(**given: Any) -> dict[str, Any]:
    names = ("network", "net", "network-alias", "net-alias", "link", "network-opt")
    empty: dict[str, Any] = {**dict.fromkeys(names, ()), "ip": "", "ip6": "", "mac-address": ""}
    return {**empty, **{name.replace("_", "-"): value for name, value in given.items()}}


def test_networks() -> None:
    mine, other = network.parse_network("mine"), network.parse_network("name=other,alias=o")
    assert network.endpoints(flags()) == ("default", {})
    assert network.endpoints(flags(network=[network.parse_network("host")])) == ("host", {})
    assert network.endpoints(flags(network=[mine, other], ip="10.0.0.2", network_alias=["a"])) == (
        "mine",
        {
            "mine": EndpointConfig(ipam_config=EndpointIpam(ipv4_address="10.0.0.2"), aliases=["a"]),
            "other": EndpointConfig(aliases=["o"]),
        },
    )
    with pytest.raises(errors.InvalidArgument, match="cannot specify both --ip and per-network ip"):
        network.endpoints(flags(network=[network.parse_network("name=a,ip=10.0.0.3")], ip="10.0.0.2"))


def test_pools() -> None:
    found = network.pools(
        ["10.0.0.0/16", "fd00::/64"], ["10.0.1.0/24"], ["fd00::9", "10.0.0.9"], {"a": "10.0.0.7"}
    )
    assert found == [
        Pool(
            subnet="10.0.0.0/16",
            ip_range="10.0.1.0/24",
            gateway="10.0.0.9",
            auxiliary_addresses={"a": "10.0.0.7"},
        ),
        Pool(subnet="fd00::/64", gateway="fd00::9"),
    ]
    with pytest.raises(errors.InvalidArgument, match=r"no matching subnet for gateway 10\.9\.0\.1"):
        network.pools(["10.0.0.0/16"], [], ["10.9.0.1"], {})
    with pytest.raises(errors.InvalidArgument, match="multiple gateways"):
        network.pools(["10.0.0.0/16", "fd00::/64"], [], ["10.0.0.1", "10.0.0.2"], {})
    for subnets, ranges, gateways in (([], ["10.0.0.0/24"], []), (["10.0.0.0/16"], [], ["10.0.0.1"] * 2)):
        with pytest.raises(errors.InvalidArgument, match="must have a corresponding subnet"):
            network.pools(subnets, ranges, gateways, {})
    with pytest.raises(errors.InvalidArgument, match="multiple overlapping subnet"):
        network.pools(["10.0.0.0/16", "x", "fd00::/64", "10.0.5.0/24"], [], [], {})
