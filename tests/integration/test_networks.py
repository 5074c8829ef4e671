"""``network`` and its commands."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from support import command, killing, probe
from support.command import Runner
from support.hosts import Host

pytestmark = pytest.mark.skipif(
    bool(probe.missing_programs("nft", "ip", "nsenter")),
    reason=probe.missing_programs("nft", "ip", "nsenter") or "",
)
T = TypeVar("T")
R = TypeVar("R")
CROWD = int(os.environ.get("MYDOCKER_CROWD", "30"))
SEED = int(os.environ.get("MYDOCKER_SEED", random.SystemRandom().randrange(10**6)))


def links(pid: int) -> dict[str, list[str]]:
    """Names and IPv4 addresses of a container's links, as the kernel has them."""
    found = json.loads(Host(pid).run("ip", "-j", "-4", "address").out)
    return {each["ifname"]: [a["local"] for a in each["addr_info"]] for each in found if each}


def test_kernel_parameters_of_a_link(mydocker: Runner, image: str) -> None:
    """They are set when the link is there, as under Docker, and before anything is executed."""
    mydocker("network", "create", "one")
    file = "/proc/sys/net/ipv4/conf/eth0/log_martians"
    flags = ("--network", "one", "--sysctl", "net.ipv4.conf.eth0.log_martians=1")
    assert mydocker("run", "--rm", *flags, image, "cat", file).line == "1"
    assert mydocker("run", "--rm", "--network", "one", image, "cat", file).line == "0"
    refused = mydocker(
        "run",
        "--rm",
        "--network",
        "one",
        "--sysctl",
        "net.ipv4.conf.eth1.log_martians=1",
        image,
        "true",
        check=125,
    )
    assert "/proc/sys/net/ipv4/conf/eth1/log_martians: no such file or directory" in refused.err
    mydocker("network", "rm", "one")
    mydocker("network", "prune", "--force")


@pytest.mark.skipif(not os.path.exists("/proc/sys/net/ipv6"), reason="this kernel has no IPv6")
def test_ipv6_of_a_link(mydocker: Runner, image: str) -> None:
    """It is off, also of links that the container makes, unless the network or somebody has it."""
    names = [f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6" for name in ("eth0", "default", "lo")]

    def seen(*flags: str) -> list[str]:
        return mydocker("run", "--rm", *flags, image, "cat", *names).out.split()

    with mydocker.network("four") as four, mydocker.network("six", "--ipv6") as six:
        assert seen("--network", four) == ["1", "1", "0"]
        assert seen("--network", six) == ["0", "1", "0"]
        assert seen("--network", four, "--sysctl", "net.ipv6.conf.all.disable_ipv6=0") == ["0", "0", "0"]
        container, _ = mydocker.start(image, "--network", four)
        mydocker("network", "connect", six, container)
        assert mydocker("exec", container, "cat", names[0].replace("eth0", "eth1")).line == "0"


def test_life_of_a_network(mydocker: Runner, image: str) -> None:
    made = mydocker(
        "network", "create", "--subnet", "10.60.0.0/16", "--ip-range", "10.60.5.0/24",
        "--gateway", "10.60.0.254", "--aux-address", "a=10.60.5.1", "--label", "x=y",
        "--opt", "com.docker.network.driver.mtu=1400", "one",
    ).line  # fmt: skip
    document = mydocker("network", "inspect", "one").json()[0]
    assert document["Id"] == made
    assert document["IPAM"]["Config"] == [
        {
            "Subnet": "10.60.0.0/16",
            "IPRange": "10.60.5.0/24",
            "Gateway": "10.60.0.254",
            "AuxiliaryAddresses": {"a": "10.60.5.1"},
        }
    ]
    assert (document["Driver"], document["Scope"], document["Labels"]) == ("bridge", "local", {"x": "y"})
    assert mydocker("network", "inspect", "--verbose", "one").json() == [document]
    mydocker("run", "--rm", "--network", "one", "--ip", "10.60.5.0", image, "true")
    taken = mydocker("run", "--rm", "--network", "one", "--ip", "10.60.5.1", image, "true", check=125)
    assert "Address already in use" in taken.err, "an auxiliary address is somebody else's"
    other, _ = mydocker.start(image, "--network", "one")
    container, pid = mydocker.start(image, "--network", "one")
    assert links(pid)["eth0"] == ["10.60.5.2"]
    link = json.loads(Host(pid).run("ip", "-j", "address", "show", "eth0").out)[0]
    assert link["mtu"] == 1400
    assert [each.get("broadcast") for each in link["addr_info"]] == ["10.60.255.255"]
    listed = mydocker("network", "inspect", made[:12]).json()[0]["Containers"]
    assert listed[container]["IPv4Address"] == "10.60.5.2/16"
    busy = mydocker("network", "rm", "one", check=1)
    assert f"network one id {made} has active endpoints" in busy.err
    mydocker("rm", "-f", container, other)
    assert mydocker("network", "rm", "one").line == "one"
    missing = mydocker("network", "inspect", "one", check=1)
    assert "network one not found" in missing.err


def test_who_has_left_all_networks_is_in_none(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image)
    mydocker("network", "disconnect", "bridge", container)
    assert mydocker.inspect(container)["NetworkSettings"]["Networks"] == {}
    assert mydocker("ps", "--format", "{{.Networks}}").line == ""


@pytest.mark.parametrize("name", ["host", "none"])
def test_who_is_in_a_network_without_addresses(mydocker: Runner, image: str, name: str) -> None:
    """Whoever runs in it, with an endpoint that is nothing but its identifier."""
    mydocker("create", "--network", name, image, "true")
    mydocker("run", "--network", name, image, "true")
    mydocker.start(image, "--network", "none" if name == "host" else "host")
    container, _ = mydocker.start(image, "--network", name, "--name", "member")
    endpoint = mydocker.inspect(container)["NetworkSettings"]["Networks"][name]["EndpointID"]
    assert mydocker("network", "inspect", name).json()[0]["Containers"] == {
        container: {
            "Name": "member",
            "EndpointID": endpoint,
            "MacAddress": "",
            "IPv4Address": "",
            "IPv6Address": "",
        }
    }


def test_prune_takes_the_unused_bridge_down(fresh: Runner, busybox_tar: str) -> None:
    fresh("import", busybox_tar, "box:1")
    bridge = fresh("network", "inspect", "bridge").json()[0]["Options"]["com.docker.network.bridge.name"]
    container, _ = fresh.start("box:1")
    fresh("network", "prune", "--force")
    assert bridge in all_links(), "a container is in it"
    assert f'"{bridge}"' in command.run(["nft", "list", "ruleset"]).out
    fresh("rm", "--force", container)
    fresh("network", "prune", "--force")
    assert bridge not in all_links()
    assert bridge.removeprefix("md-") not in command.run(["nft", "list", "ruleset"]).out
    shown = fresh("run", "--rm", "box:1", "ip", "-4", "address", "show", "eth0").out
    assert "inet 172." in shown or "inet 192.168." in shown
    assert bridge in all_links()


def all_links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def test_listing(mydocker: Runner) -> None:
    made = mydocker("network", "create", "--label", "k=v", "listed").line
    rows = mydocker("network", "ls").out.splitlines()
    assert rows[0].split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert {tuple(row.split()[1:]) for row in rows[1:]} >= {
        ("bridge", "bridge", "local"),
        ("host", "host", "local"),
        ("none", "null", "local"),
        ("listed", "bridge", "local"),
    }
    for one in ("label=k", "label=k=v", "name=list", "name=^l.*d$", f"id={made[:10]}", f"id={made[9:30]}",
                "type=custom", "dangling=true"):  # fmt: skip
        assert mydocker("network", "ls", "-q", "--no-trunc", "--filter", one).out.split() == [made], one
    assert mydocker("network", "ls", "--format", "{{.Name}}", "-f", "driver=null").line == "none"
    assert mydocker("network", "ls", "-q", "-f", "name=^ist").out == ""
    for one in ("x=y", "name=("):
        assert "invalid filter" in mydocker("network", "ls", "-f", one, check=1).err
    assert mydocker("network", "prune", "--force").line.split() == ["Deleted", "Networks:", "listed"]
    assert mydocker("network", "ls", "-q", "-f", "type=custom").out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["taken"], "network with name taken already exists"),
        (["bridge"], "operation is not permitted on predefined bridge network"),
        (["a b"], "includes invalid characters for a network name"),
        (["--subnet", "10.61.0.0/16", "x"], "Pool overlaps with other one on this address space"),
        (["--subnet", "10.61.1.0", "x"], "invalid CIDR address"),
        (["--subnet", "10.62.1.5/24", "x"], "it should be 10.62.1.0/24"),
        (["--subnet", "nonsense", "x"], "invalid CIDR address"),
        (["--subnet", "10.62.0.0/24", "--gateway", "10.63.0.1", "x"], "no matching subnet for gateway"),
        (["--subnet", "10.62.0.0/24", "--ip-range", "10.63.0.0/25", "x"], "no matching subnet for range"),
        (["--subnet", "10.62.0.0/24", "--aux-address", "a=10.62.0.1", "x"], "Address already in use"),
        (["--subnet", "10.62.0.0/32", "x"], "no room for a gateway"),
        (["--gateway", "10.62.0.1", "x"], "every ip-range or gateway must have a corresponding subnet"),
        (["--subnet", "10.62.0.0/24", "--gateway", "x", "x"], "no matching subnet for gateway x"),
        (
            ["--subnet", "10.62.0.0/16", "--subnet", "10.62.1.0/24", "x"],
            "multiple overlapping subnet configuration is not supported",
        ),
        (["--driver", "host", "x"], 'only one instance of "host" network is allowed'),
        (["--driver", "absent", "x"], "could not find plugin absent"),
        (["--driver", "macvlan", "-o", "parent=absent", "x"], "invalid subinterface vlan name absent"),
        (["--driver", "macvlan", "-o", "parent=absent.1", "x"], "failed to find master interface absent"),
        (["--driver", "ipvlan", "-o", "parent=lo.x", "x"], "unable to parse a valid vlan id from: x"),
        (["--driver", "macvlan", "-o", "parent=lo.0", "x"], "vlan id must be between 1-4094, received: 0"),
        (["--driver", "macvlan", "-o", "parent=lo.4095", "x"], "vlan id must be between 1-4094"),
        (["--driver", "macvlan", "-o", "parent=lo", "-o", "macvlan_mode=x", "x"], "unknown macvlan_mode x"),
        (["--driver", "macvlan", "-o", "parent=lo", "x"], "cannot make a macvlan link above lo"),
        (["--driver", "ipvlan", "-o", "parent=lo", "-o", "ipvlan_flag=x", "x"], "unknown ipvlan_flag x"),
        (["--driver", "macvlan", "-o", "parent=lo", "-o", "a=b", "x"], "network option a is not supported"),
        (["--ipv4=false", "x"], "IPv4 or IPv6 must be enabled"),
        (["--ipv4=false", "--ipv6", "--subnet", "10.62.0.0/24", "x"], "an IPv4 subnet needs --ipv4"),
        (["--config-only", "x"], "--config-only is not built yet"),
        (["--config-from", "y", "x"], "--config-from is not built yet"),
        (["--scope", "swarm", "x"], "--scope is not built yet"),
        (["--ingress", "x"], "--ingress is not built yet"),
        (["--opt", "a=b", "x"], "network option a is not supported"),
        (["--opt", "com.docker.network.driver.mtu=x", "x"], "invalid value"),
        (["--opt", "com.docker.network.bridge.name=lo", "x"], "there is a link lo already"),
    ],
)
def test_what_is_refused(mydocker: Runner, arguments: list[str], message: str) -> None:
    mydocker("network", "create", "--subnet", "10.61.0.0/16", "taken")
    try:
        assert message in mydocker("network", "create", *arguments, check=1).err
    finally:
        mydocker("network", "rm", "taken")


def test_predefined_networks_stay(mydocker: Runner) -> None:
    for name in ("bridge", "host", "none"):
        assert "is a pre-defined network" in mydocker("network", "rm", name, check=1).err
    assert mydocker("network", "rm", "-f", "absent").out == ""
    assert "network absent not found" in mydocker("network", "rm", "absent", check=1).err


def test_pools_avoid_the_routes_of_the_host(mydocker: Runner) -> None:
    command.run(["ip", "address", "add", "172.18.5.5/16", "dev", "lo"])
    try:
        mydocker("network", "create", "second")
        subnet = mydocker("network", "inspect", "second").json()[0]["IPAM"]["Config"][0]["Subnet"]
        assert subnet.startswith(("172.", "192.168."))
        assert not subnet.startswith("172.18.")
        mydocker("network", "rm", "second")
    finally:
        command.run(["ip", "address", "del", "172.18.5.5/16", "dev", "lo"])


def test_connect_and_disconnect(mydocker: Runner, image: str) -> None:
    mydocker("network", "create", "--subnet", "10.64.0.0/24", "more")
    container, pid = mydocker.start(image, "--name", "roamer")
    mydocker("network", "connect", "--ip", "10.64.0.9", "more", "roamer")
    assert links(pid)["eth1"] == ["10.64.0.9"]
    assert set(mydocker.inspect("roamer")["NetworkSettings"]["Networks"]) == {"bridge", "more"}
    twice = mydocker("network", "connect", "more", "roamer", check=1)
    assert "endpoint with name roamer already exists in network more" in twice.err
    mydocker("network", "disconnect", "bridge", "roamer")
    assert set(links(pid)) == {"lo", "eth1"}
    route = json.loads(Host(pid).run("ip", "-j", "route", "show", "default").out)
    assert [each["gateway"] for each in route] == ["10.64.0.1"]
    mydocker("stop", "--timeout", "0", container)
    mydocker("network", "connect", "bridge", "roamer")
    mydocker("start", container)
    pid = mydocker.inspect(container)["State"]["Pid"]
    assert len(links(pid)) == 3
    mydocker("network", "disconnect", "more", "roamer")
    not_there = mydocker("network", "disconnect", "more", "roamer", check=1)
    assert "is not connected to network more" in not_there.err
    mydocker("network", "rm", "more")


def test_events(mydocker: Runner, image: str) -> None:
    began = str(time.time())
    made = mydocker("network", "create", "told").line
    container, _ = mydocker.start(image, "--network", "told")
    mydocker("rm", "-f", container)
    assert mydocker("system", "prune", "--force").out.startswith("Deleted Networks:\ntold\n")
    arguments = ["--since", began, "--until", str(time.time()), "--filter", "type=network"]
    lines = mydocker("events", *arguments, "--format", "json").out.splitlines()
    told = [(each["Action"], each["Actor"]) for each in map(json.loads, lines)]
    network = {"name": "told", "type": "bridge"}
    assert told == [
        ("create", {"ID": made, "Attributes": network}),
        ("connect", {"ID": made, "Attributes": {**network, "container": container}}),
        ("disconnect", {"ID": made, "Attributes": {**network, "container": container}}),
        ("destroy", {"ID": made, "Attributes": network}),
        ("prune", {"ID": "", "Attributes": {"reclaimed": "0"}}),
    ]


@pytest.mark.parametrize("mode", ["host", "none"])
def test_connect_what_has_no_network(mydocker: Runner, image: str, mode: str) -> None:
    mydocker.start(image, "--name", "alone", "--network", mode)
    refused = mydocker("network", "connect", "bridge", "alone", check=1)
    assert "cannot be connected to any other network" in refused.err


@pytest.mark.slow
@pytest.mark.timeout(120 + 6 * CROWD)
def test_a_crowd_some_killed(mydocker: Runner, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    """All started and removed at once, one in ten killed with its monitor: nothing of them is left anywhere.

    Each has a port, every third one by the proxy too, every fifth a list of places outside and a rate.
    ``MYDOCKER_CROWD=100`` sets their number.
    """
    with capsys.disabled():
        print(f"\n{CROWD} containers, seed {SEED}")
    mydocker("network", "create", "--ipv6", "--subnet", "10.65.0.0/24", "crowd")

    def one(number: int) -> str:
        flags = ["-p", f"{24000 + number}:80"]
        flags += ["-p", f"[::1]:{24000 + number}:81/udp"] if number % 3 == 0 else []
        flags += ["--egress", "10.0.0.0/8", "--network-opt", "rate-in=1gbit"] if number % 5 == 0 else []
        return mydocker.start(image, "--network", "crowd", *flags)[0]

    def all_at_once(work: Callable[[T], R], things: Iterable[T]) -> list[R]:
        with ThreadPoolExecutor(CROWD) as pool:
            return list(pool.map(work, things))

    started = all_at_once(one, range(CROWD))
    taken = [mydocker.inspect(each)["NetworkSettings"]["Networks"]["crowd"]["IPAddress"] for each in started]
    assert len(set(taken)) == CROWD
    everything = killing.processes()
    ours = [each for each in everything if each.name == killing.MONITOR and each.levels == 1]
    monitors = [each for each in ours if each.parent not in {other.pid for other in ours}]
    assert len(monitors) == CROWD
    for victim in random.Random(SEED).sample(monitors, CROWD // 10):
        for each in everything:
            if victim.pid in (each.pid, each.parent):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)
    all_at_once(lambda each: mydocker("rm", "--force", each, timeout=300), started)
    shown = command.run(["nft", "list", "ruleset"]).out
    assert not [each for each in started if each[:8] in shown]
    end = time.monotonic() + 20
    while left := [each for each in all_links() if each.startswith("mdv")]:  # they go with their namespaces
        assert time.monotonic() < end, left
        time.sleep(0.1)
    mydocker("network", "rm", "crowd")
    for _ in range(2):
        mydocker("run", "--rm", "-p", f"24000-{23999 + CROWD}:80-{79 + CROWD}", image, "true")
