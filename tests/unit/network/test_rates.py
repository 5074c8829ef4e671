"""Rates as tc(8) writes them, and a token bucket in the kernel."""

from __future__ import annotations

import json

import pytest

from mydocker import errors
from mydocker.linux.links import Netlink
from mydocker.network import rates
from support import command, probe
from support.hosts import apart


@pytest.mark.parametrize(
    ("text", "found"),
    [("10mbit", 1_250_000), ("1.5Mbit", 187_500), ("8kbit", 1000), ("1gbit", 125_000_000), ("8000bit", 1000)],
)
def test_rates(text: str, found: int) -> None:
    assert rates.parse({"rate-in": text}) == (found, 0)
    assert rates.parse({"rate-out": text}) == (0, found)


@pytest.mark.parametrize("text", ["10", "10mb", "x", "-1mbit", "1.mbit", "7kbit", "99gbit", "1e3mbit"])
def test_no_rates(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="invalid rate"):
        rates.parse({"rate-in": text})


def test_other_options() -> None:
    with pytest.raises(errors.NotSupported, match="network option x is not supported"):
        rates.parse({"x": "1mbit"})


@pytest.mark.root
@pytest.mark.skipif(bool(probe.missing_programs("tc")), reason="needs tc (iproute2)")
def test_the_kernel_has_it() -> None:
    def work() -> None:
        with Netlink() as kernel:
            for name, mtu, least in (("one", 1500, 16_000), ("long", 40_000, 40_014)):
                kernel.add_bridge(name, mtu=mtu)
                link = kernel.link(name)
                assert link is not None
                rates.hold(kernel, link, 1_250_000)
                rates.hold(kernel, link, 0)
                (shown,) = json.loads(command.run(["tc", "-j", "qdisc", "show", "dev", name]).out)
                assert shown["kind"] == "tbf"
                assert shown["options"]["rate"] == 1_250_000
                assert least <= shown["options"]["burst"] <= least + 1000, "the longest packet passes"

    apart(work)
