"""Which subnets may be had."""

from __future__ import annotations

import ipaddress

import pytest

from mydocker import errors
from mydocker.network import pools
from mydocker.network.document import Pool, Subnet


def nets(*texts: str) -> list[Subnet]:
    return [ipaddress.ip_network(text) for text in texts]


def test_the_first_that_is_free() -> None:
    assert pools.choose([]).subnet == "172.17.0.0/16"
    assert pools.choose(nets("172.17.5.0/24", "172.16.0.0/15", "fd00::/8")).subnet == "172.18.0.0/16"
    assert pools.choose(nets("172.16.0.0/12")) == Pool(subnet="192.168.0.0/20", gateway="192.168.0.1")


def test_none_left() -> None:
    with pytest.raises(errors.Unavailable, match="could not find an available, non-overlapping IPv4"):
        pools.choose(nets("172.16.0.0/12", "192.168.0.0/16"))


def test_a_local_prefix() -> None:
    subnet = ipaddress.IPv6Network(pools.choose6().subnet)
    assert subnet.subnet_of(ipaddress.IPv6Network("fd00::/8"))
    assert subnet.prefixlen == 64


def test_a_gateway_by_default() -> None:
    assert pools.check(Pool(subnet="10.1.0.0/16"), []).gateway == "10.1.0.1"
    assert pools.check(Pool(subnet="10.1.0.0/16", ip_range="10.1.4.0/24"), []).gateway == "10.1.4.1"
    assert pools.check(Pool(subnet="10.1.0.0/16", gateway="10.1.9.9"), []).gateway == "10.1.9.9"
    narrow = Pool(subnet="10.1.0.0/16", ip_range="10.1.4.200/32", gateway="10.1.0.1")
    assert pools.check(narrow, []) == narrow


@pytest.mark.parametrize(
    ("pool", "error", "message"),
    [
        (Pool(subnet="10.1.0.0/16"), errors.Forbidden, "Pool overlaps"),
        (Pool(subnet="10.2.0.0"), errors.InvalidArgument, "invalid CIDR address"),
        (Pool(subnet="10.2.0.1/16"), errors.InvalidArgument, "it should be 10.2.0.0/16"),
        (Pool(subnet="10.2.0.0/31"), errors.InvalidArgument, "no room"),
        (Pool(subnet="10.2.0.0/31", gateway="10.2.0.1"), errors.InvalidArgument, "no room"),
        (Pool(subnet="10.2.0.0/16", ip_range="10.2.4.200/32"), errors.InvalidArgument, "no room"),
        (Pool(subnet="10.2.0.0/16", gateway="10.3.0.1"), errors.InvalidArgument, "no matching subnet"),
        (Pool(subnet="10.2.0.0/16", gateway="x"), errors.InvalidArgument, "invalid gateway address"),
        (Pool(subnet="10.2.0.0/16", ip_range="10.3.0.0/24"), errors.InvalidArgument, "no matching subnet"),
        (Pool(subnet="10.2.0.0/16", ip_range="fd00::/64"), errors.InvalidArgument, "no matching subnet"),
    ],
)
def test_refused(pool: Pool, error: type[errors.Error], message: str) -> None:
    with pytest.raises(error, match=message):
        pools.check(pool, nets("10.1.5.0/24"))


def test_the_pools_of_a_network() -> None:
    six, four = Pool(subnet="fd77::/64"), Pool(subnet="10.2.0.0/16")
    given = pools.settled([six, four], [], ipv4=True, ipv6=True)
    assert [pool.subnet for pool in given] == ["10.2.0.0/16", "fd77::/64"]
    (chosen,) = pools.settled([], [], ipv4=False, ipv6=True)
    assert chosen.subnet.startswith("fd")
    for asked, message in (
        ([six], "an IPv6 subnet needs --ipv6"),
        ([four, Pool(subnet="10.2.1.0/24")], "Pool overlaps with other one on this address space"),
    ):
        with pytest.raises(errors.Error, match=message):
            pools.settled(asked, [], ipv4=True, ipv6=False)
