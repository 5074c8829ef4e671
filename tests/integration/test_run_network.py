"""Containers on bridges: addresses, published ports, what reaches what, all of it read from the kernel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import command, hosts, probe
from support.command import Runner
from support.hosts import HERE, THERE, Host

pytestmark = pytest.mark.skipif(
    bool(probe.missing_programs("nft", "ip", "nsenter")),
    reason=probe.missing_programs("nft", "ip", "nsenter") or "",
)
SUBNET = "10.77.0.0/24"


@pytest.fixture
def net(mydocker: Runner) -> Iterator[str]:
    mydocker("network", "create", "--subnet", SUBNET, "testnet")
    yield "testnet"
    mydocker.remove_all()
    mydocker("network", "rm", "testnet")


def settings(mydocker: Runner, container: str, network: str = "bridge") -> dict[str, object]:
    found: dict[str, object] = mydocker.inspect(container)["NetworkSettings"]["Networks"][network]
    return found


def address(mydocker: Runner, container: str, network: str = "bridge") -> str:
    return str(settings(mydocker, container, network)["IPAddress"])


def inside(pid: int) -> list[dict[str, object]]:
    """Links and addresses of a container, as the kernel has them."""
    found: list[dict[str, object]] = json.loads(Host(pid).run("ip", "-j", "address").out)
    return found


def start(mydocker: Runner, image: str, *flags: str) -> tuple[str, Host]:
    container, pid = mydocker.start(image, *flags)
    return container, Host(pid)


@pytest.mark.both_ways
def test_an_address_on_the_default_bridge(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image)
    told = settings(mydocker, container)
    link = next(each for each in inside(pid) if each["ifname"] == "eth0")
    v4 = [each for each in link["addr_info"] if each["family"] == "inet"]  # type: ignore[attr-defined]
    assert [(each["local"], each["prefixlen"]) for each in v4] == [(told["IPAddress"], told["IPPrefixLen"])]
    assert link["address"] == told["MacAddress"]
    assert "UP" in link["flags"]  # type: ignore[operator]
    route = json.loads(Host(pid).run("ip", "-j", "route", "show", "default").out)
    assert [(each["gateway"], each["dev"]) for each in route] == [(told["Gateway"], "eth0")]
    hosts_file = mydocker("exec", container, "cat", "/etc/hosts").out
    assert hosts_file.splitlines()[-1] == f"{told['IPAddress']}\t{container[:12]}"
    mydocker("exec", container, "ping", "-c1", "-W5", str(told["Gateway"]))


def test_two_containers_reach_one_another(mydocker: Runner, image: str) -> None:
    one, first = start(mydocker, image)
    _, second = start(mydocker, image)
    with first.echo("tcp", 7):
        assert second.ask("tcp", address(mydocker, one), 7).startswith("hello from 172.")


def test_wanted_addresses(mydocker: Runner, image: str, net: str) -> None:
    container, pid = mydocker.start(
        image, "--network", net, "--ip", "10.77.0.77", "--mac-address", "02:00:00:00:00:07"
    )
    link = next(each for each in inside(pid) if each["ifname"] == "eth0")
    assert link["address"] == "02:00:00:00:00:07"
    assert {"10.77.0.77"} <= {each["local"] for each in link["addr_info"]}  # type: ignore[attr-defined]
    assert settings(mydocker, container, net)["IPAMConfig"] == {"IPv4Address": "10.77.0.77"}
    taken = mydocker("run", "--network", net, "--ip", "10.77.0.77", image, "true", check=125)
    assert "Address already in use" in taken.err


def test_long_form_and_two_networks(mydocker: Runner, image: str, net: str) -> None:
    mydocker("network", "create", "--subnet", "10.78.0.0/24", "second")
    container, pid = mydocker.start(
        image, "--network", f"name={net},ip=10.77.0.9", "--network", "name=second,ip=10.78.0.9,alias=x"
    )
    found = {each["ifname"]: [a["local"] for a in each["addr_info"]] for each in inside(pid)}  # type: ignore[attr-defined]
    assert found["eth0"][0] == "10.77.0.9"
    assert found["eth1"][0] == "10.78.0.9"
    route = json.loads(Host(pid).run("ip", "-j", "route", "show", "default").out)
    assert [each["gateway"] for each in route] == ["10.77.0.1"]
    mydocker("rm", "-f", container)
    mydocker("network", "rm", "second")


def test_ipv6(mydocker: Runner, image: str) -> None:
    mydocker("network", "create", "--ipv6", "--subnet", "fd77::/64", "six")
    one, first = start(mydocker, image, "--network", "six", "--ip6", "fd77::77")
    _, second = start(mydocker, image, "--network", "six")
    assert settings(mydocker, one, "six")["GlobalIPv6Address"] == "fd77::77"
    with first.echo("tcp", 7, "::"):
        assert second.ask("tcp", "fd77::77", 7) == "hello from fd77::2"
    mydocker.remove_all()
    mydocker("network", "rm", "six")


# -- published ports


@pytest.mark.both_ways
def test_a_published_port(mydocker: Runner, image: str) -> None:
    """From here, from here by loopback, from another machine, from a container, and from the container."""
    port = hosts.free_port()
    container, server = start(mydocker, image, "-p", f"{port}:80")
    with hosts.outside() as other, server.echo("tcp", 80):
        assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello from 172.")
        assert hosts.session().ask("tcp", HERE, port).startswith("hello from ")
        assert other.ask("tcp", HERE, port) == f"hello from {THERE}"
        _, neighbour = start(mydocker, image)
        assert neighbour.ask("tcp", HERE, port).startswith("hello from ")
        assert server.ask("tcp", HERE, port).startswith("hello from ")
        assert mydocker("port", container).out == f"80/tcp -> 0.0.0.0:{port}\n80/tcp -> [::]:{port}\n"
        shown = mydocker("ps", "--filter", f"id={container}", "--format", "{{.Ports}}").line
        assert shown == f"0.0.0.0:{port}->80/tcp, [::]:{port}->80/tcp"
        mydocker("rm", "--force", container)
        assert hosts.session().ask("tcp", "127.0.0.1", port) == "ConnectionRefusedError"


def test_a_server_in_a_container(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    script = "mkdir /www; echo served > /www/index.html; exec httpd -f -p 80 -h /www"
    mydocker("run", "-d", "-p", f"127.0.0.1:{port}:80", image, "sh", "-c", script)
    assert fetched(f"http://127.0.0.1:{port}/") == "served"


def fetched(url: str) -> str:
    """What is served there, once it is."""
    end = time.monotonic() + 20
    while True:
        done = command.run(["busybox", "wget", "-qO-", url], check=False)
        if done.code == 0:
            return done.line
        assert time.monotonic() < end, done
        time.sleep(0.05)


def test_udp(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    container, server = start(mydocker, image, "-p", f"{port}:5000/udp")
    with hosts.outside() as other, server.echo("udp", 5000):
        assert other.ask("udp", HERE, port) == f"hello from {THERE}"
        assert hosts.session().ask("udp", "127.0.0.1", port).startswith("hello from ")
    assert mydocker("port", container, "5000/udp").out == f"0.0.0.0:{port}\n[::]:{port}\n"


def elements(kind: str) -> list[str]:
    """The elements of our maps of this name, as nft tells them."""
    listed = json.loads(command.run(["nft", "-j", "list", "maps"]).out)["nftables"]
    maps = [entry["map"] for entry in listed if entry.get("map", {}).get("name") == kind]
    return [json.dumps(element) for each in maps for element in each.get("elem", ())]


def test_sctp_is_passed_on(mydocker: Runner, image: str) -> None:
    mydocker.start(image, "-p", "9999:99/sctp")
    assert any("sctp" in each and "9999" in each for each in elements("any4"))


def test_an_address_of_the_host(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    with hosts.outside() as other:
        _, server = start(mydocker, image, "-p", f"127.0.0.1:{port}:80")
        with server.echo("tcp", 80):
            assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello")
            assert other.ask("tcp", HERE, port, patience=1) == "ConnectionRefusedError"


def test_ranges_and_any_port(mydocker: Runner, image: str) -> None:
    low = 23450
    container, _ = mydocker.start(
        image, "-p", f"{low}-{low + 2}:90-92", "-p", "1234", "--publish", "7001/udp", "--expose", "555"
    )
    ports = mydocker.inspect(container)["NetworkSettings"]["Ports"]
    assert [ports[f"{90 + n}/tcp"][0]["HostPort"] for n in range(3)] == [str(low + n) for n in range(3)]
    assert int(ports["1234/tcp"][0]["HostPort"]) > 1024
    assert int(ports["7001/udp"][0]["HostPort"]) > 1024
    assert ports["555/tcp"] is None
    other, _ = mydocker.start(image, "-p", f"{low}-{low + 5}:90")
    taken = mydocker.inspect(other)["NetworkSettings"]["Ports"]["90/tcp"][0]["HostPort"]
    assert taken == str(low + 3)


def test_every_exposed_port(mydocker: Runner, image: str) -> None:
    container, server = start(mydocker, image, "--publish-all", "--expose", "80-81", "--expose", "53/udp")
    ports = mydocker.inspect(container)["NetworkSettings"]["Ports"]
    assert sorted(ports) == ["53/udp", "80/tcp", "81/tcp"]
    with server.echo("tcp", 81):
        port = int(ports["81/tcp"][0]["HostPort"])
        assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello")


def test_a_port_that_is_taken(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    mydocker("run", "-d", "-p", f"{port}:80", image, "sleep", "1000")
    refused = mydocker("run", "--rm", "--name", "late", "-p", f"{port}:80", image, "true", check=125)
    assert f"Bind for 0.0.0.0:{port} failed: port is already allocated" in refused.err
    other = hosts.free_port()
    with hosts.session().echo("tcp", other):
        refused = mydocker("run", "--rm", "-p", f"{other}:80", image, "true", check=125)
        assert "address already in use" in refused.err
    refused = mydocker("run", "--rm", "-p", f"203.0.113.7:{other}:80", image, "true", check=125)
    assert "cannot assign requested address" in refused.err


def test_a_restart_publishes_again(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    container, _ = mydocker.start(image, "-p", f"{port}:80")
    for _ in range(3):
        mydocker("stop", "--timeout", "0", container)
        mydocker("start", container)
        with Host(mydocker.inspect(container)["State"]["Pid"]).echo("tcp", 80):
            assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello")


def test_a_policy_that_restarts_publishes_again(mydocker: Runner, image: str) -> None:
    """By the same monitor, which gives the address and the port back in between."""
    port = hosts.free_port()
    script = "mkdir -p /www; echo again > /www/index.html; [ -e /mark ] || { touch /mark; exit 1; }"
    flags = ["--restart", "on-failure:3", "-p", f"{port}:80"]
    container = mydocker(
        "run", "-d", *flags, image, "sh", "-c", f"{script}; exec httpd -f -p 80 -h /www"
    ).line
    assert fetched(f"http://127.0.0.1:{port}/") == "again"
    state = mydocker.inspect(container)
    assert state["RestartCount"] == 1
    assert state["NetworkSettings"]["Ports"]["80/tcp"] == [
        {"HostIp": host, "HostPort": str(port)} for host in ("0.0.0.0", "::")
    ]
    assert len([each for each in elements("any4") if str(port) in each]) == 1


def test_a_flushed_filter_is_made_again(mydocker: Runner, image: str) -> None:
    mydocker("run", "--rm", image, "true")
    command.run(["nft", "flush", "ruleset"])
    port = hosts.free_port()
    _, server = start(mydocker, image, "-p", f"{port}:80")
    with server.echo("tcp", 80):
        assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello")


# -- what reaches what


def test_the_outside(mydocker: Runner, image: str) -> None:
    """Out under the host's address; in only by published ports, and not to the host's loopback."""
    with hosts.outside() as other:
        container, guest = start(mydocker, image)
        with other.echo("tcp", 7):
            assert guest.ask("tcp", THERE, 7) == f"hello from {HERE}"
        with guest.echo("tcp", 8):
            assert other.ask("tcp", address(mydocker, container), 8, patience=1) == "TimeoutError"


def test_loopback_of_the_host_is_closed(mydocker: Runner, image: str) -> None:
    """A published port has the bridge route 127.0.0.0/8: for answers alone (CVE-2020-8558)."""
    container, guest = start(mydocker, image, "-p", f"{hosts.free_port()}:80", "--cap-add", "NET_ADMIN")
    gateway = str(settings(mydocker, container)["Gateway"])
    guest.run("ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    guest.run("ip", "route", "add", "127.0.0.1/32", "via", gateway)
    guest.run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    with hosts.session().echo("tcp", 7777, "127.0.0.1"):
        assert hosts.session().ask("tcp", "127.0.0.1", 7777) == "hello from 127.0.0.1"
        assert guest.ask("tcp", "127.0.0.1", 7777, patience=1) == "TimeoutError"


def test_networks_are_apart(mydocker: Runner, image: str, net: str) -> None:
    one, first = start(mydocker, image, "--network", net)
    two, second = start(mydocker, image)
    with first.echo("tcp", 7), second.echo("tcp", 7):
        assert second.ask("tcp", address(mydocker, one, net), 7, patience=1) == "TimeoutError"
        assert first.ask("tcp", address(mydocker, two), 7, patience=1) == "TimeoutError"


def test_an_internal_network(mydocker: Runner, image: str) -> None:
    mydocker("network", "create", "--internal", "within")
    with hosts.outside() as other:
        one, first = start(mydocker, image, "--network", "within")
        _, second = start(mydocker, image, "--network", "within")
        assert Host(first.pid).run("ip", "route", "show", "default").out == ""
        gateway = mydocker("network", "inspect", "within").json()[0]["IPAM"]["Config"][0]["Gateway"]
        first.run("ip", "route", "add", "default", "via", gateway)
        with other.echo("tcp", 7):
            assert first.ask("tcp", THERE, 7, patience=1) == "TimeoutError"
        with first.echo("tcp", 7):
            assert second.ask("tcp", address(mydocker, one, "within"), 7).startswith("hello")
    mydocker.remove_all()
    mydocker("network", "rm", "within")


def test_icc_off(mydocker: Runner, image: str) -> None:
    option = "com.docker.network.bridge.enable_icc=false"
    mydocker("network", "create", "--opt", option, "--subnet", "10.79.0.0/24", "shy")
    one, first = start(mydocker, image, "--network", "shy")
    _, second = start(mydocker, image, "--network", "shy")
    with first.echo("tcp", 7):
        answer = second.ask("tcp", address(mydocker, one, "shy"), 7, patience=1)
        assert answer in ("TimeoutError", "OSError")
        assert hosts.session().ask("tcp", address(mydocker, one, "shy"), 7).startswith("hello")
    mydocker.remove_all()
    mydocker("network", "rm", "shy")


def test_no_masquerade(mydocker: Runner, image: str) -> None:
    option = "com.docker.network.bridge.enable_ip_masquerade=false"
    mydocker("network", "create", "-o", option, "--subnet", "10.79.0.0/24", "plain")
    with hosts.outside() as other:
        container, guest = start(mydocker, image, "--network", "plain")
        with other.echo("tcp", 7):
            assert guest.ask("tcp", THERE, 7) == f"hello from {address(mydocker, container, 'plain')}"
    mydocker.remove_all()
    mydocker("network", "rm", "plain")


def test_ports_of_the_host_network(mydocker: Runner, image: str) -> None:
    done = mydocker("run", "--rm", "--network", "host", "-p", "80", image, "true")
    assert done.err == "WARNING: Published ports are discarded when using host network mode\n"


# -- files


@pytest.mark.parametrize(
    ("flags", "file", "pattern"),
    [
        ("--dns 10.9.9.9 --dns 10.9.9.8", "resolv.conf",
         r"nameserver 10\.9\.9\.9\nnameserver 10\.9\.9\.8\n.*"),
        ("--dns 10.9.9.9 --dns-search a.example --dns-search b.example", "resolv.conf",
         r".*search a\.example b\.example\n.*"),
        ("--dns 10.9.9.9 --dns-search .", "resolv.conf", r"nameserver 10\.9\.9\.9\n(options.*)?"),
        ("--dns 10.9.9.9 --dns-option ndots:3", "resolv.conf", r".*options ndots:3\n"),
        ("--dns 10.9.9.9 --dns-opt timeout:1", "resolv.conf", r".*options timeout:1\n"),
        ("--add-host gate:host-gateway", "hosts", r".*172\.\d+\.\d+\.1\tgate\n.*"),
        ("--network host --add-host gate:host-gateway", "hosts",
         r"127\.0\.0\.1\tlocalhost\n.*127\.0\.0\.1\tgate\n"),
        ("--hostname box --domainname example.org", "hosts", r".*172\S+\tbox\.example\.org box\n"),
        ("--hostname box.example.org", "hosts", r".*172\S+\tbox\.example\.org box\n"),
        ("--hostname a.b --domainname c", "hosts", r".*172\S+\ta\.b\.c a\n"),
        ("--egress 10.0.0.1:80 --dns-opt timeout:1", "resolv.conf",
         r"nameserver 127\.0\.0\.11\n.*options timeout:1 ndots:0\n"),
        ("--egress 10.0.0.1:80 --dns-opt ndots:2", "resolv.conf", r".*options ndots:2\n"),
    ],
)  # fmt: skip
def test_files(mydocker: Runner, image: str, flags: str, file: str, pattern: str) -> None:
    found = mydocker("run", "--rm", *flags.split(), image, "cat", f"/etc/{file}").out
    assert re.fullmatch(pattern, found, re.DOTALL), found


def test_name_servers_that_only_the_host_reaches(mydocker: Runner, image: str, tmp_path: Path) -> None:
    """Those of IPv6 are of no use to a container without; in networks of users the host itself asks them."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver fd00::53\nnameserver 127.0.0.1\nnameserver 10.9.9.9\noptions timeout:3\n")
    place = os.path.realpath("/etc/resolv.conf")
    command.run(["mount", "--bind", str(conf), place])
    try:
        on_the_bridge = mydocker("run", "--rm", image, "cat", "/etc/resolv.conf").out
        with mydocker.network("six", "--ipv6") as six:
            elsewhere = mydocker("run", "--rm", "--network", six, image, "cat", "/etc/resolv.conf").out
        conf.write_text("nameserver fd00::53\n")
        alone = mydocker("run", "--rm", image, "cat", "/etc/resolv.conf").out
    finally:
        command.run(["umount", place])
    assert on_the_bridge == "nameserver 10.9.9.9\noptions timeout:3\n"
    assert elsewhere == "nameserver 127.0.0.11\noptions timeout:3 ndots:0\n"
    assert alone.startswith("nameserver ")
    assert ":" not in alone


def test_where_the_host_is(mydocker: Runner, image: str) -> None:
    """In a network that leads nowhere too: it ends at the host's bridge."""
    with mydocker.network("within", "--internal") as within:
        gateway = json.loads(mydocker("network", "inspect", within).out)[0]["IPAM"]["Config"][0]["Gateway"]
        flags = ("--network", within, "--add-host", "gate:host-gateway")
        said = mydocker(
            "run", "--rm", *flags, image, "sh", "-c", "grep gate /etc/hosts; ping -c1 -W5 gate"
        ).out
    assert said.startswith(f"{gateway}\tgate\n")


def test_the_files_of_a_read_only_container(mydocker: Runner, image: str) -> None:
    for name in ("hosts", "hostname", "resolv.conf"):
        add = f"echo x >> /etc/{name}"
        assert "Read-only" in mydocker("run", "--rm", "--read-only", image, "sh", "-c", add, check=1).err
        mydocker("run", "--rm", image, "sh", "-c", add)


# -- the network of another container


def test_the_network_of_one_that_has_anothers(mydocker: Runner, image: str) -> None:
    """And the image may say that it has ports: only who asks for some is refused."""
    mydocker.start(image, "--name", "first", "--hostname", "first")
    mydocker("commit", "--change", "EXPOSE 80", "first", "exposes:1")
    mydocker.start("exposes:1", "--name", "second", "--network", "container:first")
    said = mydocker("run", "--rm", "--network", "container:second", "exposes:1", "cat", "/etc/hostname").line
    assert said == "first"
    refused = mydocker("run", "--network", "container:first", "--expose", "80", image, check=125)
    assert "conflicting options: port exposing and the container type network mode" in refused.err
    mydocker.remove_all()
    mydocker("rmi", "exposes:1")


# -- what is refused


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--network absent", "network absent not found"),
        ("--ip 10.1.1.1", "user specified IP address is supported on user defined networks only"),
        ("--network-alias x", "network-scoped aliases are only supported for user-defined networks"),
        ("--net-alias x", "network-scoped aliases are only supported for user-defined networks"),
        ("--network testnet --ip 10.1.1.1", "does not belong to any of this network's subnets"),
        ("--network testnet --ip 10.77.0.1", "Address already in use"),
        ("--network testnet --ip6 fd77::1", "does not belong to any of this network's subnets"),
        ("--network testnet --ip x", "invalid IPv4 address: x"),
        ("--network testnet --ip fd00::1", "invalid IPv4 address: fd00::1"),
        ("--network testnet --ip6 10.1.2.3", "invalid IPv6 address: 10.1.2.3"),
        ("--mac-address x", "x is not a valid mac address"),
        ("--network host --ip 10.1.1.1", "supported on user defined networks only"),
        ("--network none --network testnet", "conflicting options"),
        ("--network container:absent --expose 80", "port exposing and the container type network mode"),
        ("--network testnet --network testnet", "specified multiple times"),
        ("-p 70000", "invalid containerPort: 70000"),
        ("-p 80/icmp", "invalid proto: icmp"),
        ("-p 1-3:80-81", "invalid ranges specified for container and host Ports"),
        ("-p x.y:80:80", "invalid IP address: x.y"),
        ("--dns x", "IP address is not correctly formatted: x"),
        ("--link absent", "could not get container for absent: No such container: absent"),
        ("--link a:b:c", "bad format for links: a:b:c"),
        ("--network host --link a", "host type networking can't be used with links"),
    ],
)  # fmt: skip
def test_refused(mydocker: Runner, image: str, net: str, flags: str, message: str) -> None:
    assert net == "testnet"
    done = mydocker("run", "--rm", *flags.split(), image, "true", check=125)
    assert message in done.err


def test_a_failed_start_leaves_nothing(mydocker: Runner, image: str, net: str) -> None:
    """What is left is looked for after each test; here the address is had again at once."""
    for _ in range(2):
        done = mydocker("run", "--network", net, "--ip", "10.77.0.5", "-p", "80", image, "/absent", check=127)
        assert "/absent" in done.err
    mydocker("run", "--rm", "--network", net, "--ip", "10.77.0.5", image, "true")


def test_addresses_run_out(mydocker: Runner, image: str) -> None:
    mydocker("network", "create", "--subnet", "10.80.0.0/29", "small")
    for _ in range(5):
        mydocker.start(image, "--network", "small")
    refused = mydocker("run", "--rm", "--network", "small", image, "true", check=125)
    assert "no available IPv4 addresses on this network's address pools: small" in refused.err
    mydocker.remove_all()
    mydocker("run", "--rm", "--network", "small", image, "true")
    mydocker("network", "rm", "small")


def test_bridge_by_hand(mydocker: Runner, image: str, net: str) -> None:
    """A bridge that somebody has removed is made again."""
    bridge = f"md-{mydocker('network', 'inspect', net).json()[0]['Id'][:12]}"
    command.run(["ip", "link", "delete", bridge])
    _, pid = mydocker.start(image, "--network", net)
    assert "eth0" in {each["ifname"] for each in inside(pid)}
    assert subprocess.run(["ip", "link", "show", bridge], check=False, capture_output=True).returncode == 0
