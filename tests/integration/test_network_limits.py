"""Limits on a container's networks that docker lacks, read back from the kernel and felt in real traffic."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import command, hosts, probe
from support.command import Runner
from support.hosts import HERE, THERE, Host

_NEEDED = probe.missing_programs("nft", "ip", "tc", "nsenter")
pytestmark = pytest.mark.skipif(bool(_NEEDED), reason=_NEEDED or "")
REFUSED = "ConnectionRefusedError"
PROHIBITED = ("OSError", "TimeoutError")
"""what ICMP's "administratively prohibited" is to a client of UDP: EHOSTUNREACH, when the kernel tells it"""


def start(mydocker: Runner, image: str, *flags: str) -> tuple[str, Host]:
    container, pid = mydocker.start(image, *flags)
    return container, Host(pid)


@pytest.fixture
def net(mydocker: Runner) -> Iterator[str]:
    with mydocker.network("limited", "--subnet", "10.91.0.0/24") as name:
        yield name


# -- rates


def rates(host: Host) -> dict[str, list[int]]:
    """Of each link the rates of its token buckets, in bytes per second."""
    found: dict[str, list[int]] = {}
    for each in json.loads(host.run("tc", "-j", "qdisc", "show").out):
        if each["kind"] == "tbf":
            found.setdefault(each["dev"], []).append(each["options"]["rate"])
    return found


@pytest.mark.both_ways
def test_rates(mydocker: Runner, image: str) -> None:
    before = rates(hosts.session())
    container, guest = start(mydocker, image, "--network-opt", "rate-in=10mbit,rate-out=2.5mbit")
    outer = {link: rate for link, rate in rates(hosts.session()).items() if link not in before}
    assert list(outer.values()) == [[1_250_000]]
    assert next(iter(outer)).startswith(f"mdv{container[:8]}")
    assert rates(guest) == {"eth0": [312_500]}
    told = mydocker.inspect(container)["NetworkSettings"]["Networks"]["bridge"]["DriverOpts"]
    assert told == {"rate-in": "10mbit", "rate-out": "2.5mbit"}
    mydocker("restart", "--timeout", "0", container)
    assert rates(Host(mydocker.inspect(container)["State"]["Pid"])) == {"eth0": [312_500]}


def test_a_rate_holds(mydocker: Runner, image: str) -> None:
    """A megabyte at 2 Mbit/s takes 4 seconds less what passes at once; the kernel counts what had to wait."""
    container, guest = start(mydocker, image, "--network-opt", "rate-out=2mbit")
    gateway = mydocker.inspect(container)["NetworkSettings"]["Gateway"]
    script = (
        "import socket; s = socket.create_server(('', 7777)); print('ready', flush=True); "
        "c = s.accept()[0]; n = 0\nwhile d := c.recv(1 << 20): n += len(d)\nprint(n)"
    )
    server = hosts.session().popen("python3", "-c", script)
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    began = time.monotonic()
    guest.run("sh", "-c", f"head -c 1000000 /dev/zero | busybox nc {gateway} 7777")
    assert server.communicate(timeout=30)[0] == b"1000000\n"
    assert time.monotonic() - began > 2
    (shown,) = [
        each for each in json.loads(guest.run("tc", "-j", "-s", "qdisc", "show").out) if each["kind"] == "tbf"
    ]
    assert shown["overlimits"] > 0


def test_rates_of_one_more_network(mydocker: Runner, image: str, net: str) -> None:
    _, guest = start(mydocker, image, "--name", "web", "--network", f"name={net},driver-opt=rate-out=1mbit")
    mydocker("network", "connect", "--network-opt", "rate-in=8mbit,rate-out=4mbit", "bridge", "web")
    assert rates(guest) == {"eth0": [125_000], "eth1": [500_000]}
    mydocker("network", "disconnect", "bridge", "web")
    mydocker("network", "connect", "--driver-opt", "rate-out=6mbit", "bridge", "web")
    assert rates(guest) == {"eth0": [125_000], "eth1": [750_000]}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--network-opt rate-in=fast", "invalid rate 'fast'"),
        ("--network-opt rate-in=1bit", "invalid rate '1bit'"),
        ("--network-opt rate-up=1mbit", "network option rate-up is not supported"),
        ("--network-opt rate-in", "invalid key value pair format"),
        ("--network none --network-opt rate-in=1mbit", "network-opt and the network mode"),
        ("--network none --egress none", "egress and the network mode"),
        ("--egress example.org", "invalid egress 'example.org'"),
        ("--egress none,10.0.0.1", "none goes with nothing else"),
        ("--egress 10.0.0.1/8", "it should be 10.0.0.0/8"),
        ("--egress a:99999", "invalid egress 'a:99999'"),
        ("--egress 10.0.0.1,", "an empty place"),
    ],
)
def test_what_is_refused(mydocker: Runner, image: str, flags: str, message: str) -> None:
    assert message in mydocker("run", "--rm", *flags.split(), image, "true", check=125).err


# -- the list of places


def listed(container: str) -> dict[str, list[object]]:
    """The elements of the container's sets in the packet filter, by the set's name without whose it is."""
    found: dict[str, list[object]] = {}
    for entry in json.loads(command.run(["nft", "-j", "list", "sets"]).out)["nftables"]:
        each = entry.get("set", {})
        name, _, whose = each.get("name", "").partition("_")
        if whose == container[:12]:
            found[name] = each.get("elem", [])
    return found


@pytest.mark.both_ways
def test_nothing_outside(mydocker: Runner, image: str) -> None:
    """But neighbours, and who begins to talk to it."""
    port = hosts.free_port()
    with hosts.outside() as other, other.echo("tcp", 7), hosts.session().echo("tcp", 7777):
        container, guest = start(mydocker, image, "--egress", "none", "-p", f"{port}:80")
        assert guest.ask("tcp", THERE, 7) == REFUSED
        assert guest.ask("udp", THERE, 7, patience=1) in PROHIBITED
        gateway = mydocker.inspect(container)["NetworkSettings"]["Gateway"]
        assert guest.ask("tcp", gateway, 7777) == REFUSED
        assert guest.ask("tcp", HERE, 7777) == REFUSED
        neighbour, near = start(mydocker, image)
        with near.echo("tcp", 9):
            at = mydocker.inspect(neighbour)["NetworkSettings"]["IPAddress"]
            assert guest.ask("tcp", at, 9).startswith("hello")
        assert near.ask("tcp", THERE, 7).startswith("hello")
        with guest.echo("tcp", 80):
            assert other.ask("tcp", HERE, port) == f"hello from {THERE}"
            assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello")
        assert listed(container)["egress4"] == []
        assert mydocker.inspect(container)["HostConfig"]["Egress"] == ["none"]
        mydocker("restart", "--timeout", "0", container)
        assert Host(mydocker.inspect(container)["State"]["Pid"]).ask("tcp", THERE, 7) == REFUSED
        mydocker("rm", "-f", container)
        assert listed(container) == {}
        assert f"egress_{container[:12]}" not in command.run(["nft", "list", "ruleset"]).out


def test_undone_twice(mydocker: Runner, image: str, net: str) -> None:
    """After somebody was killed in the middle: who has the address by then keeps his limits."""
    flags = ("--network", net, "--egress", "none")
    first, _ = start(mydocker, image, *flags)
    told = Path(mydocker.state, "container", first, "network.json")
    content = told.read_text()
    mydocker("stop", "--timeout", "0", first)
    with hosts.outside() as other, other.echo("tcp", 7):
        _, guest = start(mydocker, image, *flags)
        told.parent.mkdir()
        told.write_text(content)
        mydocker("ps")
        assert not told.exists()
        assert guest.ask("tcp", THERE, 7) == REFUSED


def test_addresses_and_subnets(mydocker: Runner, image: str) -> None:
    with hosts.outside() as other, other.echo("tcp", 7), other.echo("tcp", 8), other.echo("udp", 7):
        _, guest = start(mydocker, image, "--egress", f"{THERE}:7/tcp")
        assert guest.ask("tcp", THERE, 7).startswith("hello")
        assert guest.ask("tcp", THERE, 8) == REFUSED
        assert guest.ask("udp", THERE, 7, patience=1) in PROHIBITED
        container, guest = start(
            mydocker, image, "--egress", f"10.0.0.0/8,10.99.0.0/16,{THERE}:9", "--egress", "fd00::/8"
        )
        assert guest.ask("tcp", THERE, 8).startswith("hello")
        assert guest.ask("udp", THERE, 7).startswith("hello")
        found = listed(container)
        assert found["egressnet4"] == [{"prefix": {"addr": "10.0.0.0", "len": 8}}]
        assert {"concat": [THERE, "udp", 9]} in found["egress4"]


def test_names(mydocker: Runner, image: str, net: str, tmp_path: Path) -> None:
    """What the resolver is told is allowed from then on, and nobody is asked about other names."""
    if probe.program("dnsmasq") is None:
        pytest.skip("needs dnsmasq (see tests/apt-packages.txt)")
    for network in ("bridge", net):
        with hosts.name_server(tmp_path, good=THERE, bad=THERE), hosts.outside() as other:
            container, guest = start(mydocker, image, "--network", network, "--egress", "good.example:7")
            with other.echo("tcp", 7), other.echo("tcp", 8):
                assert guest.ask("tcp", THERE, 7) == REFUSED
                assert "NXDOMAIN" in mydocker("exec", container, "nslookup", "bad.example", check=1).out
                assert listed(container)["egress4"] == []
                _wait_for(mydocker, container, "good.example", THERE)
                (tcp, udp) = listed(container)["egress4"]
                assert tcp["elem"]["val"] == {"concat": [THERE, "tcp", 7]}  # type: ignore[index]
                assert tcp["elem"]["timeout"] >= 3600  # type: ignore[index]
                assert udp["elem"]["val"] == {"concat": [THERE, "udp", 7]}  # type: ignore[index]
                assert guest.ask("tcp", THERE, 7).startswith("hello")
                assert guest.ask("tcp", THERE, 8) == REFUSED
            mydocker("rm", "-f", container)


def _wait_for(mydocker: Runner, container: str, name: str, address: str) -> None:
    end = time.monotonic() + 10
    while f"Address: {address}" not in mydocker("exec", container, "nslookup", name, check=False).out:
        assert time.monotonic() < end
        time.sleep(0.1)


ASK_ONCE = """
import socket, sys
socket.socket(type=socket.SOCK_DGRAM).sendto(b"hello", (sys.argv[1], 7))
"""
SPOOF = """
import socket, struct, sys
source, target = sys.argv[1:]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
udp = struct.pack("!HHHH", 999, 7, 8 + 5, 0) + b"false"
ends = socket.inet_aton(source) + socket.inet_aton(target)
head = struct.pack("!BBHHHBBH", 0x45, 0, 0, 7, 0, 64, 17, 0)
raw.sendto(head + ends + udp, (target, 0))
"""
HEAR = """
import socket
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(("", 7))
while True:
    print("ready", flush=True)
    print(server.recvfrom(99)[0].decode(), flush=True)
"""


def test_another_address_does_not_help(mydocker: Runner, image: str) -> None:
    """Docker's capabilities allow to send from any address (CAP_NET_RAW): such packets go nowhere."""
    with hosts.outside() as other:
        heard = other.popen("python3", "-c", HEAR)
        assert heard.stdout is not None
        assert heard.stdout.readline() == b"ready\n"
        try:
            _, guest = start(mydocker, image, "--egress", f"{THERE}:9")
            guest.run("python3", "-c", SPOOF, "172.17.0.200", THERE)
            _, free = start(mydocker, image)
            assert free.run("python3", "-c", ASK_ONCE, THERE).out == ""
            assert heard.stdout.readline() == b"hello\n", "that of the first has come before"
            free.run("python3", "-c", SPOOF, "172.17.0.200", THERE)
            assert heard.stdout.readline() == b"ready\n"
            assert heard.stdout.readline() == b"false\n", "so the way itself is open"
        finally:
            heard.kill()
            heard.wait()


def test_one_more_network(mydocker: Runner, image: str, net: str) -> None:
    with hosts.outside() as other, other.echo("tcp", 7), other.echo("tcp", 8):
        container, guest = start(mydocker, image, "--name", "web", "--egress", f"{THERE}:7")
        mydocker("network", "connect", net, "web")
        mydocker("network", "disconnect", "bridge", "web")
        assert guest.ask("tcp", THERE, 7).startswith("hello")
        assert guest.ask("tcp", THERE, 8) == REFUSED
        _, heir = start(mydocker, image)
        assert heir.ask("tcp", THERE, 8).startswith("hello"), "it has the address that the other had"
        del container


def test_one_that_starts_without_networks(mydocker: Runner, image: str) -> None:
    """It is limited from its first network on, by names too; and the next who has its address is not."""
    container = mydocker("create", "--egress", f"{THERE}:7", image, "sleep", "1000").line
    mydocker("network", "disconnect", "bridge", container)
    mydocker("start", container)
    mydocker("network", "connect", "bridge", container)
    guest = Host(mydocker.inspect(container)["State"]["Pid"])
    with hosts.outside() as other, other.echo("tcp", 7), other.echo("tcp", 8):
        assert guest.ask("tcp", THERE, 7).startswith("hello")
        assert guest.ask("tcp", THERE, 8) == REFUSED
        assert "NXDOMAIN" in mydocker("exec", container, "nslookup", "bad.example", check=1).out
        mydocker("network", "disconnect", "bridge", container)
        assert listed(container) == {}
        mydocker("network", "connect", "bridge", container)
        mydocker("rm", "-f", container)
        assert listed(container) == {}
        _, heir = start(mydocker, image)
        assert heir.ask("tcp", THERE, 8).startswith("hello")


def test_a_published_port_is_where_it_is_published(mydocker: Runner, image: str, net: str) -> None:
    """Whoever it leads to: the list names the host's address."""
    port = hosts.free_port()
    _, server = start(mydocker, image, "--network", net, "-p", f"{port}:80", "-p", f"{port}:80/udp")
    with hosts.outside(), server.echo("tcp", 80), server.echo("udp", 80):
        _, guest = start(mydocker, image, "--egress", f"{HERE}:{port}")
        assert guest.ask("tcp", HERE, port).startswith("hello")
        assert guest.ask("udp", HERE, port).startswith("hello")
        _, other = start(mydocker, image, "--egress", f"{HERE}:80,10.91.0.0/24")
        assert other.ask("tcp", HERE, port, patience=1) in (REFUSED, *PROHIBITED)


ASK_FROM = """
import socket, sys
client = socket.socket(type=socket.SOCK_DGRAM)
client.settimeout(float(sys.argv[2]))
client.bind(("", 999))
try:
    client.sendto(b"hello", (sys.argv[1], 7))
    print(client.recv(100).decode())
except OSError as error:
    print(type(error).__name__)
"""


def test_what_another_has_begun(mydocker: Runner, image: str, net: str) -> None:
    """A connection of whoever had the address before does not go on."""
    with hosts.outside() as other, other.echo("udp", 7):
        before, guest = start(mydocker, image, "--network", net, "--ip", "10.91.0.9")
        assert guest.run("python3", "-c", ASK_FROM, THERE, "5").line.startswith("hello")
        mydocker("rm", "-f", before)
        _, guest = start(mydocker, image, "--network", net, "--ip", "10.91.0.9", "--egress", "none")
        assert guest.run("python3", "-c", ASK_FROM, THERE, "1").line in PROHIBITED


def test_names_of_the_host(mydocker: Runner, image: str, tmp_path: Path) -> None:
    """Whoever owns a name cannot open with it what the host serves to itself."""
    if probe.program("dnsmasq") is None:
        pytest.skip("needs dnsmasq (see tests/apt-packages.txt)")
    names = {"host": HERE, "self": "127.0.0.1", "cloud": "169.254.169.254", "good": THERE}
    with hosts.name_server(tmp_path, **names), hosts.outside():
        flags = [word for name in names for word in ("--egress", f"{name}.example:7/tcp")]
        container, _ = start(mydocker, image, *flags)
        for name, at in names.items():
            _wait_for(mydocker, container, f"{name}.example", at)
        (only,) = listed(container)["egress4"]
        assert only["elem"]["val"] == {"concat": [THERE, "tcp", 7]}  # type: ignore[index]


SIX_THERE = "fd99::2"
NEIGHBOURS = """
import socket, struct, sys
source, target, name = sys.argv[1:]
ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
for kind in (133, 135, 136):
    body = struct.pack("!BBHI", kind, 0, 0, 0) + name.encode().ljust(16)
    total = sum(struct.unpack("!%dH" % ((len(ends) + len(body)) // 2), ends + body)) + len(body) + 58
    total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + body[4:]
    raw.sendto(struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + ends + body, (target, 0))
"""
HEAR_NEIGHBOURS = """
import socket
raw = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
print("ready", flush=True)
while True:
    data = raw.recv(99)
    if data[8:] and b":" not in data[8:] and data[8:24].strip().isalpha():
        print(data[0], data[8:24].decode().strip(), flush=True)
"""


def test_ipv6(mydocker: Runner, image: str) -> None:
    mydocker("network", "create", "--ipv6", "--subnet", "fd91::/64", "six")
    with hosts.session().echo("tcp", 7, "::"), hosts.session().echo("tcp", 8, "::"):
        _, guest = start(mydocker, image, "--network", "six", "--egress", "[fd91::1]:7")
        _, near = start(mydocker, image, "--network", "six")
        assert guest.ask("tcp", "fd91::1", 7).startswith("hello")
        assert guest.ask("tcp", "fd91::1", 8) == REFUSED
        with near.echo("tcp", 9, "::"), guest.echo("tcp", 9, "::"):
            assert guest.ask("tcp", "fd91::3", 9).startswith("hello")
            assert near.ask("tcp", "fd91::2", 9).startswith("hello")
            assert hosts.session().ask("tcp", "fd91::2", 9).startswith("hello")
    mydocker.remove_all()
    mydocker("network", "rm", "six")


def test_who_looks_for_neighbours_finds_none_outside(mydocker: Runner, image: str) -> None:
    """Whatever it says that it is, by a message of neighbour discovery nothing is sent beyond the bridge."""
    with mydocker.network("six", "--ipv6", "--subnet", "fd91::/64") as six, hosts.outside() as other:
        command.run(["ip", "address", "add", "fd99::1/64", "dev", "cable", "nodad"])
        other.run("ip", "address", "add", f"{SIX_THERE}/64", "dev", "eth0", "nodad")
        other.run("ip", "route", "add", "default", "via", "fd99::1")
        heard = other.popen("python3", "-c", HEAR_NEIGHBOURS)
        assert heard.stdout is not None
        assert heard.stdout.readline() == b"ready\n"
        try:
            _, guest = start(mydocker, image, "--network", six, "--egress", "none")
            _, free = start(mydocker, image, "--network", six)
            for source in ("fd91::2", "fd91::99", "fd77::1"):
                guest.run("python3", "-c", NEIGHBOURS, source, SIX_THERE, "limited")
            free.run("python3", "-c", NEIGHBOURS, "fd91::3", SIX_THERE, "free")
            assert [heard.stdout.readline() for _ in range(3)] == [
                b"133 free\n",
                b"135 free\n",
                b"136 free\n",
            ]
        finally:
            heard.kill()
            heard.wait()
