"""Containers that are connected to networks and leave them: what was cut short, and the ways that they go."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support import probe
from support.command import Runner
from support.hosts import Host

_NEEDED = probe.missing_programs("nft", "ip", "nsenter")
pytestmark = pytest.mark.skipif(bool(_NEEDED), reason=_NEEDED or "")
SIX = ("--ipv6", "--subnet", "fd92::/64", "--subnet", "10.92.0.0/24")


def links(pid: int) -> list[str]:
    return sorted(each["ifname"] for each in json.loads(Host(pid).run("ip", "-j", "link").out))


def ways(pid: int) -> dict[int, str]:
    """The links by which the default routes of IPv4 and IPv6 go."""
    found = {}
    for version in (4, 6):
        for each in json.loads(Host(pid).run("ip", "-j", f"-{version}", "route", "show", "default").out):
            found[version] = each["dev"]
    return found


def leases(mydocker: Runner, network: str) -> list[str]:
    return sorted(os.listdir(f"{mydocker.state}/network/{network}"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def pid_of(mydocker: Runner, container: str) -> int:
    pid: int = mydocker.inspect(container)["State"]["Pid"]
    return pid


# -- what was cut short


def test_no_address_stays_of_one_that_cannot_be_connected(mydocker: Runner, image: str) -> None:
    with mydocker.network("six", *SIX) as six:
        mydocker.start(image, "--network", six, "--ip6", "fd92::9")
        other, pid = mydocker.start(image)
        refused = mydocker("network", "connect", "--ip6", "fd92::9", six, other, check=1)
        assert "Address already in use" in refused.err
        assert leases(mydocker, six) == ["10.92.0.2", "fd92::9"]
        assert links(pid) == ["eth0", "lo"]


def test_an_address_that_somebody_has_claimed_who_was_killed(mydocker: Runner, image: str) -> None:
    """Before it said that the container has it, but not before it said in which network."""
    for end in ("rm", "connect", "network rm"):
        mydocker("network", "create", "--subnet", "10.92.0.0/24", "six")
        container, pid = mydocker.start(image)
        change(Path(mydocker.state, "container", container, "network.json"), Joining="six")
        os.makedirs(f"{mydocker.state}/network/six", exist_ok=True)
        os.symlink(container, f"{mydocker.state}/network/six/10.92.0.2")
        if end == "rm":
            mydocker("rm", "-f", container)
        elif end == "connect":
            mydocker("network", "connect", "six", container)
            assert leases(mydocker, "six") == ["10.92.0.2"]
            assert links(pid) == ["eth0", "eth1", "lo"]
            mydocker("network", "disconnect", "six", container)
        mydocker("network", "rm", "six")
        mydocker.remove_all()


def test_one_more_try(mydocker: Runner, image: str) -> None:
    """A connection that the record does not tell of, as its maker was killed, is made anew, or goes."""
    with mydocker.network("more", "--subnet", "10.92.0.0/24") as more:
        container, pid = mydocker.start(image)
        record = Path(mydocker.root, "container", container, "config.json")
        before = record.read_text()
        mydocker("network", "connect", more, container)
        record.write_text(before)
        mydocker("network", "connect", more, container)
        assert (links(pid), leases(mydocker, more)) == (["eth0", "eth1", "lo"], ["10.92.0.2"])
        record.write_text(before)
        mydocker("network", "disconnect", more, container)
        assert (links(pid), leases(mydocker, more)) == (["eth0", "lo"], [])
        assert "is not connected" in mydocker("network", "disconnect", more, container, check=1).err


def test_what_a_killed_disconnect_has_not_come_to(mydocker: Runner, image: str) -> None:
    """It has left, but its default route is gone with the link, and the record tells of the network."""
    with mydocker.network("more", "--subnet", "10.92.0.0/24") as more:
        container, pid = mydocker.start(image, "--network", more)
        mydocker("network", "connect", "bridge", container)
        record = Path(mydocker.root, "container", container, "config.json")
        hosts = Path(mydocker.root, "container", container, "hosts")
        before, known = record.read_text(), hosts.read_text()
        mydocker("network", "disconnect", more, container)
        assert ways(pid) == {4: "eth1"}
        Host(pid).run("ip", "route", "del", "default")
        left = hosts.read_text()
        hosts.write_text(known)
        record.write_text(before)
        mydocker("network", "disconnect", more, container)
        assert (ways(pid), hosts.read_text()) == ({4: "eth1"}, left)
        mydocker("rm", "-f", container)


def test_during_a_start(mydocker: Runner, image: str) -> None:
    """Whoever is first: when both are over, the container is in the networks that its record tells of."""
    with mydocker.network("more", "--subnet", "10.92.0.0/24") as more:
        for connected in (True, False) * 4:
            network = more if connected else "bridge"
            container = mydocker("create", image, "sleep", "1000").line
            starting = mydocker.popen("start", container, stdin=subprocess.DEVNULL)
            mydocker("network", "connect" if connected else "disconnect", network, container)
            starting.communicate(timeout=20)
            shown = mydocker.inspect(container)["NetworkSettings"]["Networks"]
            told = [name for name, each in shown.items() if each["IPAddress"]]
            assert len(links(pid_of(mydocker, container))) == 1 + len(told)
            assert (network in told) == connected
            mydocker("rm", "-f", container)


# -- default routes


def test_ways_of_both_families(mydocker: Runner, image: str) -> None:
    """By the first network that has both, or else by the first for each; as under Docker."""
    mydocker("network", "create", *SIX, "both")
    mydocker("network", "create", "--ipv4=false", "--ipv6", "--subnet", "fd93::/64", "six")
    container = mydocker("create", image, "sleep", "1000").line
    for network in ("six", "both"):
        mydocker("network", "connect", network, container)
    mydocker("start", container)
    pid = pid_of(mydocker, container)
    assert ways(pid) == {4: "eth2", 6: "eth2"}
    mydocker("network", "disconnect", "both", container)
    assert ways(pid) == {4: "eth0", 6: "eth1"}
    mydocker("network", "connect", "both", container)
    assert ways(pid) == {4: "eth2", 6: "eth2"}
    mydocker("network", "disconnect", "six", container)
    mydocker("network", "disconnect", "both", container)
    assert ways(pid) == {4: "eth0"}
    mydocker.remove_all()
    mydocker("network", "rm", "six", "both")


def test_a_way_that_cannot_be_gone(mydocker: Runner, image: str) -> None:
    """The container has left its first network all the same."""
    with mydocker.network("first", *SIX) as first:
        mydocker("network", "create", "--ipv6", "--subnet", "fd93::/64", "--subnet", "10.93.0.0/24", "next")
        container, pid = mydocker.start(image, "--network", first)
        mydocker("network", "connect", "next", container)
        assert ways(pid) == {4: "eth0", 6: "eth0"}
        Host(pid).run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6")
        mydocker("network", "disconnect", first, container)
        assert (links(pid), leases(mydocker, first), ways(pid)) == (["eth1", "lo"], [], {4: "eth1"})
        mydocker("network", "disconnect", "next", container)
        mydocker("rm", "--force", container)
        mydocker("network", "rm", "next")
