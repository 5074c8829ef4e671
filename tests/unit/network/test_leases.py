"""Addresses are claimed once, and given back by whoever has them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.network.document import Ipam, Network, Pool
from mydocker.network.leases import Leases

NETWORK = Network(
    name="n",
    id="0" * 64,
    created="",
    ipam=Ipam(
        config=[
            Pool(subnet="10.0.0.0/29", gateway="10.0.0.1", auxiliary_addresses={"a": "10.0.0.2"}),
            Pool(subnet="10.9.0.0/24", ip_range="10.9.0.4/30", gateway="10.9.0.1"),
            Pool(subnet="fd00::/64", gateway="fd00::1"),
        ]
    ),
)


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(str(tmp_path))


def test_the_lowest_that_is_free(leases: Leases) -> None:
    given = [str(leases.claim(NETWORK, f"c{n}")) for n in range(8)]
    assert given == [
        "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.9.0.4", "10.9.0.5", "10.9.0.6", "10.9.0.7",
    ]  # fmt: skip
    with pytest.raises(errors.Unavailable, match=r"no available IPv4 addresses .*: n \(0{64}\)"):
        leases.claim(NETWORK, "c9")
    leases.release("n", "10.0.0.4", "c1")
    assert str(leases.claim(NETWORK, "c9")) == "10.0.0.4"
    assert str(leases.claim(NETWORK, "c9", version=6)) == "fd00::2"


def test_a_wanted_one(leases: Leases) -> None:
    assert str(leases.claim(NETWORK, "c", address="10.9.0.200")) == "10.9.0.200"
    for taken, version in (("10.9.0.200", 4), ("10.0.0.1", 4), ("fd00::1", 6), ("10.0.0.2", 4)):
        with pytest.raises(errors.Forbidden, match="Address already in use"):
            leases.claim(NETWORK, "d", address=taken, version=version)
    for outside in ("10.8.0.1", "10.0.0.0", "10.0.0.7", "x", "fd00::5"):
        with pytest.raises(errors.InvalidArgument):
            leases.claim(NETWORK, "d", address=outside)


def test_only_the_owner_gives_back(leases: Leases) -> None:
    address = str(leases.claim(NETWORK, "c"))
    leases.release("n", address, "d")
    leases.release_all("d")
    assert leases.of("n") == {address: "c"}
    assert not leases.close("n")
    assert leases.owners() == {"c"}
    leases.release_all("c")
    assert leases.owner("n", address) == ""
    assert leases.close("n")
    assert leases.close("n")


def test_at_once(leases: Leases) -> None:
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: str(leases.claim(NETWORK, f"c{n}")), range(8)))
    assert len(set(given)) == 8
