"""Networks above a link of the host, and networks of IPv6 alone."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sys
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


def test_macvlan_before_there_is_a_bridge(fresh: Runner, busybox_tar: str, other: Host) -> None:
    """Where the host is, is what the default bridge would say, as under Docker."""
    assert other
    fresh("import", busybox_tar, "box:1")
    above(fresh, "macvlan")
    flags = ("--network", "above", "--add-host", "gate:host-gateway")
    hosts_file = fresh("run", "--rm", *flags, "box:1", "cat", "/etc/hosts").out
    assert re.search(r"^172\.\d+\.0\.1\tgate$", hosts_file, re.MULTILINE)
    remove(fresh)


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


def test_the_reason_of_a_failure(mydocker: Runner, image: str, other: Host) -> None:
    """And not that the link that the first try has made is in the way of the second one."""
    assert other
    above(mydocker, "macvlan")
    port = hosts.free_port()
    start(mydocker, image, "-p", f"{port}:80")
    container = mydocker("create", "--network", "above", "-p", f"{port}:80", image, "true").line
    mydocker("network", "connect", "bridge", container)
    assert "port is already allocated" in mydocker("start", container, check=1).err
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


def has(*kind: str) -> bool:
    """Whether the kernel makes links of this kind."""
    done = command.run(["ip", "link", "add", "probe0", *kind], check=False)
    if done.code == 0:
        command.run(["ip", "link", "delete", "probe0"])
    return done.code == 0


@contextlib.contextmanager
def a_link(*arguments: str) -> Iterator[None]:
    """Of the host, named by the first argument."""
    command.run(["ip", "link", "add", *arguments])
    try:
        yield
    finally:
        command.run(["ip", "link", "delete", arguments[0]])


def test_a_host_that_has_the_same_names(mydocker: Runner, image: str, other: Host) -> None:
    assert other
    above(mydocker, "macvlan")
    with a_link("eth0", "type", "veth", "peer", "name", "eth1"):
        _, web = start(mydocker, image, "--network", "above", "--name", "web")
        mydocker(
            "network", "create", "-d", "macvlan", "-o", "parent=cable", "--subnet", "10.98.0.0/24", "two"
        )
        mydocker("network", "connect", "two", "web")
        assert addresses(web, "eth1") == ["10.98.0.2"]
        mydocker("network", "disconnect", "two", "web")
        names = {each["ifname"] for each in json.loads(web.run("ip", "-j", "link").out)}
        assert names == {"lo", "eth0"}
    remove(mydocker)
    mydocker("network", "rm", "two")


@pytest.mark.parametrize("driver", ["macvlan", "ipvlan"])
def test_one_after_the_other(mydocker: Runner, image: str, other: Host, driver: str) -> None:
    """Each gets the address of the one before, whose link the kernel has for a while; or somebody else."""
    assert other
    if not has("link", "cable", "type", driver):
        pytest.skip(f"the kernel has no {driver}")
    above(mydocker, driver)
    for _ in range(4):
        shown = mydocker("run", "--rm", "--network", "above", image, "ip", "address", "show", "eth0").out
        assert "10.99.0.128" in shown
    container, _ = start(mydocker, image, "--network", "above", "--name", "owner")
    for _ in range(3):
        mydocker("restart", "--timeout", "0", container)
    _, guest = start(mydocker, image, "--network", "container:owner", "--name", "guest")
    _, further = start(mydocker, image, "--network", "container:guest")
    if driver == "macvlan":
        mydocker("stop", "--timeout", "0", "guest")
    mydocker("stop", "--timeout", "0", container)
    here = further if driver == "macvlan" else guest
    assert {each["ifname"] for each in json.loads(here.run("ip", "-j", "link").out)} == {"lo"}
    _, last = start(mydocker, image, "--network", "above")
    assert addresses(last) == ["10.99.0.128"]
    remove(mydocker)


def test_what_goes_together_above_one_link(mydocker: Runner, other: Host) -> None:
    assert other
    option = ("-o", "parent=cable", "--subnet", "10.98.0.0/24")
    above(mydocker, "macvlan")
    refused = mydocker("network", "create", "-d", "ipvlan", *option, "second", check=1).err
    assert "network above is above cable by macvlan, so none can be by ipvlan (l2, bridge)" in refused
    mydocker("network", "create", "-d", "macvlan", "-o", "macvlan_mode=private", *option, "second")
    mydocker("network", "rm", "above", "second")


KILLED_AT_ONCE = """
import os, signal
from mydocker.linux.links import Netlink
from mydocker.network import above
from mydocker.network.document import Network
Netlink.delete_link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
network = Network(name="n", id="1" * 64, created="", driver="macvlan", options={"parent": "cable"})
with Netlink() as kernel:
    above.probe(kernel, network)
"""


def test_who_tries_a_driver_is_killed(other: Host) -> None:
    assert other
    assert command.run([sys.executable, "-c", KILLED_AT_ONCE], check=False).code == -signal.SIGKILL
    assert not [name for name in links() if name.startswith("mdv")]


@pytest.mark.parametrize("mode", ["l2", "l3", "l3s"])
def test_ipvlan(mydocker: Runner, image: str, other: Host, mode: str) -> None:
    if not has("link", "cable", "type", "ipvlan"):
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


# -- parents that are made with the network


def links() -> dict[str, dict[str, object]]:
    """Of the host, by name."""
    return {each["ifname"]: each for each in json.loads(command.run(["ip", "-j", "-d", "link"]).out)}


def create(mydocker: Runner, name: str, *options: str, check: int = 0) -> str:
    subnet = "10.97.0.0/24" if name == "above" else "10.96.0.0/24"
    return mydocker("network", "create", "-d", "macvlan", "--subnet", subnet, *options, name, check=check).err


def test_a_vlan(mydocker: Runner, image: str, other: Host) -> None:
    if not has("link", "cable", "type", "vlan", "id", "5"):
        refused = create(mydocker, "above", "-o", "parent=cable.100", check=1)
        assert "failed to create cable.100 vlan link: this kernel has no VLANs (CONFIG_VLAN_8021Q)" in refused
        assert mydocker("network", "ls", "-q", "-f", "name=above").out == ""
        return
    other.run("ip", "link", "add", "link", "eth0", "name", "tagged", "type", "vlan", "id", "100")
    other.run("ip", "address", "add", "10.97.0.200/24", "dev", "tagged")
    other.run("ip", "link", "set", "tagged", "up")
    create(mydocker, "above", "-o", "parent=cable.100")
    made = links()["cable.100"]
    assert made["linkinfo"]["info_data"]["id"] == 100  # type: ignore[index]
    assert (made["link"], "UP" in made["flags"]) == ("cable", True)  # type: ignore[operator]
    assert "MadeParent" not in mydocker("network", "inspect", "above").json()[0]
    container, first = start(mydocker, image, "--network", "above")
    with first.echo("tcp", 7):
        assert other.ask("tcp", addresses(first)[0], 7) == "hello from 10.97.0.200"

    create(mydocker, "below", "-o", "parent=cable.100", "-o", "macvlan_mode=private")
    mydocker("stop", "--timeout", "0", container)
    command.run(["ip", "link", "delete", "cable.100"])  # as by a reboot
    mydocker("start", container)
    assert "cable.100" in links()
    mydocker.remove_all()
    mydocker("network", "rm", "above")
    assert "cable.100" in links(), "the other network is above it too"
    mydocker("network", "rm", "below")
    assert "cable.100" not in links()


def test_a_vlan_that_was_there(mydocker: Runner, other: Host) -> None:
    assert other
    if not has("link", "cable", "type", "vlan", "id", "5"):
        pytest.skip("the kernel has no VLANs")
    command.run(["ip", "link", "add", "link", "cable", "name", "cable.7", "type", "vlan", "id", "7"])
    create(mydocker, "above", "-o", "parent=cable.7")
    mydocker("network", "rm", "above")
    assert "cable.7" in links(), "it is not ours to remove"


@pytest.mark.parametrize("options", [(), ("--internal", "-o", "parent=cable")])
def test_without_a_parent(mydocker: Runner, image: str, other: Host, options: tuple[str, ...]) -> None:
    assert other
    if not has("type", "dummy"):
        refused = create(mydocker, "above", *options, check=1)
        assert "dummy link, which this kernel does not have (CONFIG_DUMMY): use -o parent=LINK" in refused
        assert mydocker("network", "ls", "-q", "-f", "name=above").out == ""
        return
    create(mydocker, "above", *options)
    name = f"md-{mydocker('network', 'inspect', 'above').json()[0]['Id'][:12]}"
    assert links()[name]["linkinfo"]["info_kind"] == "dummy"  # type: ignore[index]
    _, first = start(mydocker, image, "--network", "above")
    _, second = start(mydocker, image, "--network", "above")
    with second.echo("tcp", 8):
        assert first.ask("tcp", addresses(second)[0], 8) == f"hello from {addresses(first)[0]}"
    assert json.loads(first.run("ip", "-j", "route", "show", "default").out) == []
    remove(mydocker)
    assert name not in links()


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
