"""Networks above a link of the host, and networks of IPv6 alone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support import command, hosts, probe
from support.command import Runner
from support.hosts import THERE, Host

_NEEDED = probe.missing_programs("nft", "ip", "nsenter")
pytestmark = pytest.mark.skipif(bool(_NEEDED), reason=_NEEDED or "")


def start(mydocker: Runner, image: str, *flags: str) -> tuple[str, Host]:
    container, pid = mydocker.start(image, *flags)
    return container, Host(pid)


def link(host: Host, name: str = "eth0") -> dict[str, object]:
    """A link, its kind and its addresses, as the kernel has them."""
    found: dict[str, object] = json.loads(host.run("ip", "-j", "-d", "address", "show", "dev", name).out)[0]
    return found


def addresses(host: Host, name: str = "eth0") -> list[str]:
    return [each["local"] for each in link(host, name)["addr_info"] if each["scope"] == "global"]  # type: ignore[attr-defined]


@pytest.fixture
def other() -> Iterator[Host]:
    with hosts.outside() as there:
        yield there


def above(mydocker: Runner, driver: str, *options: str) -> str:
    flags = [word for option in ("parent=cable", *options) for word in ("-o", option)]
    subnet = ["--subnet", "10.99.0.0/24", "--gateway", "10.99.0.1", "--ip-range", "10.99.0.128/25"]
    return mydocker("network", "create", "-d", driver, *subnet, *flags, "above").line


def remove(mydocker: Runner) -> None:
    mydocker.remove_all()
    mydocker("network", "rm", "above")


def kind(host: Host) -> tuple[str, str]:
    info = link(host)["linkinfo"]
    return info["info_kind"], info["info_data"]["mode"]  # type: ignore[index]


@pytest.mark.both_ways
def test_macvlan(mydocker: Runner, image: str, other: Host) -> None:
    above(mydocker, "macvlan")
    one, first = start(mydocker, image, "--network", "above")
    two, second = start(mydocker, image, "--network", "above", "--ip", "10.99.0.140")
    assert kind(first) == ("macvlan", "bridge")
    assert addresses(first) == ["10.99.0.128"]
    told = mydocker.inspect(one)["NetworkSettings"]["Networks"]["above"]
    assert told["MacAddress"] == link(first)["address"]
    with other.echo("tcp", 7), second.echo("tcp", 8):
        assert first.ask("tcp", THERE, 7) == "hello from 10.99.0.128"
        assert first.ask("tcp", "10.99.0.140", 8) == "hello from 10.99.0.128"
        assert other.ask("tcp", "10.99.0.140", 8) == f"hello from {THERE}"
    route = json.loads(first.run("ip", "-j", "route", "show", "default").out)
    assert [(each["gateway"], each["dev"]) for each in route] == [("10.99.0.1", "eth0")]
    for _ in range(3):  # the kernel has the old link, with this MAC, for a while
        mydocker("restart", "--timeout", "0", two)
    assert mydocker("network", "inspect", "above").json()[0]["Driver"] == "macvlan"
    assert "has active endpoints" in mydocker("network", "rm", "above", check=1).err
    remove(mydocker)


def test_macvlan_private(mydocker: Runner, image: str, other: Host) -> None:
    above(mydocker, "macvlan", "macvlan_mode=private", "com.docker.network.driver.mtu=1300")
    _, first = start(mydocker, image, "--network", "above")
    _, second = start(mydocker, image, "--network", "above")
    assert kind(first) == ("macvlan", "private")
    assert link(first)["mtu"] == 1300
    with other.echo("tcp", 7), second.echo("tcp", 8):
        assert first.ask("tcp", THERE, 7).startswith("hello")
        assert first.ask("tcp", addresses(second)[0], 8, patience=1) in ("TimeoutError", "OSError")
    remove(mydocker)


def test_macvlan_beside_a_bridge(mydocker: Runner, image: str, other: Host) -> None:
    """Connected and disconnected while it runs; names; ports by the bridge."""
    above(mydocker, "macvlan")
    port = hosts.free_port()
    _, web = start(mydocker, image, "--name", "web", "-p", f"{port}:80")
    mydocker("network", "connect", "--alias", "www", "above", "web")
    assert addresses(web, "eth1") == ["10.99.0.128"]
    mydocker.start(image, "--name", "client", "--network", "above")
    mydocker("exec", "client", "ping", "-c1", "-W5", "www")
    with web.echo("tcp", 80):
        assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello")
        assert other.ask("tcp", "10.99.0.128", 80) == f"hello from {THERE}"
    mydocker("network", "disconnect", "above", "web")
    assert {each["ifname"] for each in json.loads(web.run("ip", "-j", "link").out)} == {"lo", "eth0"}
    remove(mydocker)


def test_what_macvlan_has_not(mydocker: Runner, image: str, other: Host) -> None:
    assert other
    above(mydocker, "macvlan")
    told = mydocker("run", "--rm", "--network", "above", "-p", "80", image, "true").err
    assert "Published ports are discarded when using macvlan networks" in told
    for flags, message in (
        (["--network-opt", "rate-in=1mbit"], "rate-in is for bridges"),
        (["--egress", "none"], "--egress is for bridges"),
    ):
        assert message in mydocker("run", "--rm", "--network", "above", *flags, image, "true", check=125).err
    shown = mydocker(
        "run", "--rm", "--network", "above", "--network-opt", "rate-out=1mbit", image, "ip", "link"
    )
    assert "qdisc tbf" in shown.out
    remove(mydocker)


def has_ipvlan() -> bool:
    done = command.run(["ip", "link", "add", "ipv0", "link", "cable", "type", "ipvlan"], check=False)
    if done.code == 0:
        command.run(["ip", "link", "delete", "ipv0"])
    return done.code == 0


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_ipvlan(mydocker: Runner, image: str, other: Host, mode: str) -> None:
    if not has_ipvlan():
        option = f"ipvlan_mode={mode}"
        arguments = ["-d", "ipvlan", "-o", "parent=cable", "-o", option, "--subnet", "10.98.0.0/24", "above"]
        refused = mydocker("network", "create", *arguments, check=1)
        assert "this kernel has no ipvlan (CONFIG_IPVLAN)" in refused.err
        assert mydocker("network", "ls", "-q", "-f", "name=above").out == ""
        return
    above(mydocker, "ipvlan", f"ipvlan_mode={mode}")
    _, first = start(mydocker, image, "--network", "above")
    _, second = start(mydocker, image, "--network", "above")
    assert kind(first) == ("ipvlan", mode)
    with second.echo("tcp", 8):
        assert first.ask("tcp", addresses(second)[0], 8).startswith("hello")
        if mode == "l2":
            assert other.ask("tcp", addresses(second)[0], 8).startswith("hello")
    remove(mydocker)


# -- IPv6


def test_ipv6_alone(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    mydocker("network", "create", "--ipv4=false", "--ipv6", "above")
    (pool,) = mydocker("network", "inspect", "above").json()[0]["IPAM"]["Config"]
    assert pool["Subnet"].startswith("fd")
    wanted = pool["Gateway"][:-1] + "77"
    one, first = start(
        mydocker, image, "--network", "above", "--name", "six", "--ip6", wanted, "-p", f"{port}:80"
    )
    _, second = start(mydocker, image, "--network", "above")
    assert addresses(first) == [wanted]
    told = mydocker.inspect(one)["NetworkSettings"]["Networks"]["above"]
    assert (told["IPAddress"], told["GlobalIPv6Address"]) == ("", wanted)
    route = json.loads(first.run("ip", "-6", "-j", "route", "show", "default").out)
    assert [each["gateway"] for each in route] == [pool["Gateway"]]
    with first.echo("tcp", 80, "::"):
        assert second.ask("tcp", wanted, 80).startswith("hello from fd")
        assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello from fd")
        assert hosts.session().ask("tcp", "::1", port).startswith("hello from fd")
    mydocker("exec", "six", "ping", "-c1", "-W5", "six")
    remove(mydocker)


def test_pools_of_ipv6_differ(mydocker: Runner) -> None:
    made = []
    for name in ("above", "below"):
        mydocker("network", "create", "--ipv6", name)
        config = mydocker("network", "inspect", name).json()[0]["IPAM"]["Config"]
        assert [":" in each["Subnet"] for each in config] == [False, True]
        made.append(config[1]["Subnet"])
    assert made[0] != made[1]
    mydocker("network", "rm", "above", "below")
