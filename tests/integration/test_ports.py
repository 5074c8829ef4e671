"""Ports of containers that run, and ports where the packet filter cannot help."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import command, hosts, killing, probe
from support.command import Runner
from support.hosts import HERE, THERE, Host
from support.waiting import wait_until

_NEEDED = probe.missing_programs("nft", "ip", "nsenter")
pytestmark = pytest.mark.skipif(bool(_NEEDED), reason=_NEEDED or "")
HERE_TOO = "127.0.0.1"
NFT = probe.program("nft") or ""


def start(mydocker: Runner, image: str, *flags: str) -> tuple[str, Host]:
    container, pid = mydocker.start(image, *flags)
    return container, Host(pid)


def elements(port: int) -> list[str]:
    """The elements of our maps that lead from this port."""
    listed = json.loads(command.run(["nft", "-j", "list", "maps"]).out)["nftables"]
    maps = [entry["map"] for entry in listed if "map" in entry]
    found = [json.dumps(element) for each in maps for element in each.get("elem", ())]
    return [each for each in found if f" {port}]" in each]


def listens(port: int) -> bool:
    with socket.socket() as other:
        return other.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.both_ways
def test_one_more_and_one_less(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    container, server = start(mydocker, image)
    with server.echo("tcp", 80), hosts.outside() as other:
        shown = f"80/tcp -> 0.0.0.0:{port}\n80/tcp -> [::]:{port}\n"
        assert mydocker("port", "add", container, f"{port}:80").out == shown
        assert len(elements(port)) == 1
        assert mydocker("port", container).out == shown
        assert other.ask("tcp", HERE, port) == f"hello from {THERE}"
        assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello")
        taken = mydocker("run", "--rm", "-p", f"{port}:80", image, "true", check=125)
        assert "port is already allocated" in taken.err
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("", port))
        mydocker("port", "rm", container, f"{port}:80")
        assert elements(port) == []
        assert not listens(port)
        assert mydocker("port", container).out == ""
    mydocker("port", "add", container, f"{port}:81/udp")
    assert mydocker("port", container, "81/udp").out == f"0.0.0.0:{port}\n[::]:{port}\n"


def test_a_restart_has_them(mydocker: Runner, image: str) -> None:
    one, two = hosts.free_port(), hosts.free_port()
    container, _ = start(mydocker, image, "-p", f"{one}:80")
    mydocker("port", "add", container, f"{two}:80", "5000/udp")
    bindings = mydocker.inspect(container)["HostConfig"]["PortBindings"]
    assert [each["HostPort"] for each in bindings["80/tcp"]] == [str(one), str(two)]
    mydocker("port", "rm", container, f"{one}:80")
    mydocker("restart", "--timeout", "0", container)
    with Host(mydocker.inspect(container)["State"]["Pid"]).echo("tcp", 80):
        assert hosts.session().ask("tcp", "127.0.0.1", two).startswith("hello")
    assert not listens(one)
    assert "5000/udp -> 0.0.0.0:" in mydocker("port", container).out
    mydocker("stop", "--timeout", "0", container)
    mydocker("port", "rm", container, "80")
    mydocker("start", container)
    assert "80/tcp" not in mydocker("port", container).out
    assert mydocker("port", "rm", container, "80", check=1).err.startswith(
        "mydocker: No public port '80/tcp'"
    )


def test_another_spelling_of_an_address(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    container, _ = start(mydocker, image, "-p", f"[0:0::1]:{port}:80")
    assert mydocker("port", container).out == f"80/tcp -> [::1]:{port}\n"
    mydocker("port", "rm", container, f"[0::0:1]:{port}:80")
    assert mydocker("port", container).out == ""
    assert not mydocker.inspect(container)["HostConfig"]["PortBindings"]


def test_a_port_that_is_taken_in_a_network_with_names(mydocker: Runner, image: str) -> None:
    """What was begun, a resolver's sockets among it, is not in the way of the second try."""
    port = hosts.free_port()
    with mydocker.network("named") as net:
        start(mydocker, image, "-p", f"{port}:80")
        refused = mydocker("run", "--rm", "--network", net, "-p", f"{port}:80", image, "true", check=125)
        assert f"Bind for 0.0.0.0:{port} failed: port is already allocated" in refused.err


def test_of_every_exposed_port_one_less(mydocker: Runner, image: str) -> None:
    container, _ = start(mydocker, image, "-P", "--expose", "80-81")
    mydocker("port", "rm", container, "80")
    assert mydocker("port", container).out.startswith("81/tcp -> ")
    mydocker("restart", "--timeout", "0", container)
    assert mydocker("port", container).out.startswith("81/tcp -> ")


def test_what_cannot_be_added(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    container, _ = start(mydocker, image, "--name", "add")
    assert "No public port '80'" in mydocker("port", "add", "80", check=1).err
    with hosts.session().echo("tcp", port):
        refused = mydocker("port", "add", container, f"{port}:80", check=1)
        assert "address already in use" in refused.err
        assert elements(port) == []
        assert not mydocker.inspect(container)["HostConfig"]["PortBindings"]
    mydocker("port", "add", "add", f"{port}:80")
    assert "already" in mydocker("port", "add", "add", f"{port}:80", check=1).err
    assert "invalid containerPort: x" in mydocker("port", "add", "add", "x", check=1).err
    assert "use add or rm" in mydocker("port", "more", "add", "80", check=1).err
    mydocker.start(image, "--name", "alone", "--network", "none")
    assert "the network mode" in mydocker("port", "add", "alone", "80:80", check=1).err


def test_a_stopped_one(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    container = mydocker("create", image, "sleep", "1000").line
    assert mydocker("port", "add", container, f"{port}:80").out == ""
    mydocker("start", container)
    shown = f"80/tcp -> 0.0.0.0:{port}\n80/tcp -> [::]:{port}\n"
    assert mydocker("port", container).out == shown


# -- from one network to another


def claimed(mydocker: Runner) -> list[str]:
    return sorted(os.listdir(f"{mydocker.state}/port"))


def test_ports_follow_the_network(mydocker: Runner, image: str) -> None:
    """Published by the first that leads outside, as under Docker; by none of them, the port is free."""
    port = hosts.free_port()
    shown = "".join(
        f"{inner} -> {host}:{port}\n" for inner in ("80/tcp", "81/udp") for host in ("0.0.0.0", "[::]")
    )
    within = ("network", "create", "--internal", "within")
    for network in (within, ("network", "create", "--subnet", "10.77.0.0/24", "other")):
        mydocker(*network)
    _, server = start(mydocker, image, "--name", "web", "-p", f"{port}:80", "-p", f"{port}:81/udp")
    for name in ("within", "other"):
        mydocker("network", "connect", name, "web")
    client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    client.settimeout(10)
    with client, server.echo("tcp", 80), server.echo("udp", 81):
        for leaves, address in (("", "172."), ("bridge", "10.77.0.2")):
            if leaves:
                mydocker("network", "disconnect", leaves, "web")
            assert [f'"{address}' in each for each in elements(port)] == [True, True]
            assert mydocker("port", "web").out == shown
            for host in ("127.0.0.1", "::1"):
                assert hosts.session().ask("tcp", host, port).startswith("hello from ")
            client.sendto(b"hello", ("::1", port))
            assert client.recv(100).startswith(b"hello from ")
        mydocker("network", "disconnect", "other", "web")
        assert (elements(port), mydocker("port", "web").out, claimed(mydocker)) == ([], "", [])
        assert hosts.session().ask("tcp", "127.0.0.1", port) == "ConnectionRefusedError"
        mydocker.start(image, "--name", "thief", "-p", f"{port}:81")
        refused = mydocker("network", "connect", "other", "web", check=1)
        assert f"Bind for 0.0.0.0:{port} failed: port is already allocated" in refused.err
        assert set(mydocker.inspect("web")["NetworkSettings"]["Networks"]) == {"within"}
        assert [each["ifname"] for each in json.loads(server.run("ip", "-j", "link").out)] == ["lo", "eth1"]
        mydocker("rm", "-f", "thief")
        mydocker("network", "connect", "other", "web")
        assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello from ")
        assert mydocker("port", "web").out == shown
    mydocker.remove_all()
    assert (elements(port), claimed(mydocker)) == ([], [])
    mydocker("network", "rm", "within", "other")


def test_a_claim_of_somebody_who_was_killed(mydocker: Runner, image: str) -> None:
    """Before it said in network.json that it has the port: it has not, and the next one takes it."""
    port = hosts.free_port()
    container, _ = start(mydocker, image)
    os.makedirs(f"{mydocker.state}/port", exist_ok=True)
    for owner, address in ((container, "127.0.0.1"), ("0" * 64, "127.0.0.2")):
        os.symlink(owner, f"{mydocker.state}/port/tcp-{port}-{address}")
    other, _ = start(mydocker, image, "-p", f"{port}:80")
    assert claimed(mydocker) == [f"tcp-{port}-0.0.0.0", f"tcp-{port}-::"]
    os.symlink("0" * 64, f"{mydocker.state}/port/tcp-{port + 1}-127.0.0.1")
    mydocker("rm", "-f", other)
    mydocker("system", "prune", "--force")
    assert claimed(mydocker) == []


# -- the proxy


def test_loopback_of_ipv6(mydocker: Runner, image: str) -> None:
    """The kernel sends nothing from ::1 over a bridge, whatever the packet filter says."""
    port = hosts.free_port()
    container, server = start(mydocker, image, "-p", f"[::1]:{port}:80", "-p", f"[::1]:{port}:81/udp")
    with server.echo("tcp", 80), server.echo("udp", 81):
        for protocol in ("tcp", "udp"):
            assert hosts.session().ask(protocol, "::1", port).startswith("hello from 172.")
        assert hosts.session().ask("tcp", "127.0.0.1", port) == "ConnectionRefusedError"
    assert elements(port) == []
    assert mydocker("port", container, "80").line == f"[::1]:{port}"
    mydocker("port", "rm", container, f"[::1]:{port}:80")
    assert hosts.session().ask("tcp", "::1", port) == "ConnectionRefusedError"


def test_ipv6_of_a_host_leads_to_a_container_without(mydocker: Runner, image: str) -> None:
    """As under Docker: by the proxy."""
    port = hosts.free_port()
    container, server = start(mydocker, image, "-p", f"{port}:80", "-p", f"{port}:81/udp")
    published = {
        key: [(each["HostIp"], each["HostPort"]) for each in found]
        for key, found in mydocker.inspect(container)["NetworkSettings"]["Ports"].items()
    }
    both = [("0.0.0.0", str(port)), ("::", str(port))]
    assert published == {"80/tcp": both, "81/udp": both}
    with server.echo("tcp", 80), server.echo("udp", 81):
        for protocol in ("tcp", "udp"):
            for address in ("127.0.0.1", "::1"):
                assert hosts.session().ask(protocol, address, port).startswith("hello from 172."), address
    any_one, _ = start(mydocker, image, "-p", "80")
    first, second = mydocker.inspect(any_one)["NetworkSettings"]["Ports"]["80/tcp"]
    assert first["HostPort"] == second["HostPort"] != "0"


def test_every_address_of_ipv6(mydocker: Runner, image: str) -> None:
    mydocker("network", "create", "--ipv6", "six")
    port = hosts.free_port()
    _, server = start(mydocker, image, "--network", "six", "-p", f"{port}:80")
    with server.echo("tcp", 80, "::"):
        for address in ("::1", "127.0.0.1"):
            assert hosts.session().ask("tcp", address, port).startswith("hello from "), address
    mydocker.remove_all()
    mydocker("network", "rm", "six")


BULK = """
import socket, sys, threading
data = bytes(range(256)) * 40000
client = socket.create_connection(("::1", int(sys.argv[1])), timeout=20)
def send():
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
got = b""
while part := client.recv(1 << 20):
    got += part
print(got == data)
"""


def test_much_both_ways_and_half_closed(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    mydocker("run", "-d", "--name", "cat", image, "nc", "-ll", "-p", "80", "-e", "cat")
    mydocker("port", "add", "cat", f"[::1]:{port}:80")
    end = time.monotonic() + 20
    while hosts.session().ask("tcp", "::1", port) != "hello":
        assert time.monotonic() < end
    assert command.run(["python3", "-c", BULK, str(port)]).line == "True"


def proxies() -> list[int]:
    ours = [each for each in killing.processes() if each.name == killing.MONITOR and each.levels == 1]
    monitors = {each.pid for each in ours}
    return [each.pid for each in ours if each.parent in monitors]


def test_a_proxy_that_is_killed_comes_back(mydocker: Runner, image: str) -> None:
    port = hosts.free_port()
    container, server = start(mydocker, image, "-p", f"[::1]:{port}:80")
    with server.echo("tcp", 80):
        wait_until(lambda: killing.children(killing.parent(server.pid)) == [server.pid], "the builder's end")
        assert proxies() == [], "nothing has arrived yet"
        assert hosts.session().ask("tcp", "::1", port).startswith("hello")
        (proxy,) = proxies()
        os.kill(proxy, signal.SIGKILL)
        end = time.monotonic() + 20
        while not hosts.session().ask("tcp", "::1", port, patience=2).startswith("hello"):
            assert time.monotonic() < end
    mydocker("rm", "-f", container)


@pytest.fixture(params=["missing", "refused"])
def without_nft(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """No program nft, or one that says what it says where the kernel has no nf_tables."""
    script = tmp_path / "nft"
    script.write_text("#!/bin/sh\necho 'netlink: Error: cache initialization failed' >&2\nexit 1\n")
    script.chmod(0o755 if request.param == "refused" else 0o644)
    command.run(["mount", "--bind", str(script), os.path.realpath(NFT)])
    yield request.param
    command.run(["umount", os.path.realpath(NFT)])


def test_without_a_packet_filter(fresh: Runner, busybox_tar: str, without_nft: str) -> None:
    fresh("import", busybox_tar, "box:1")
    fresh("network", "create", "plain")
    port = hosts.free_port()
    flags = ["--name", "web", "--network", "plain", "-p", f"{port}:80", "-p", f"{port}:53/udp"]
    told = fresh("run", "-d", *flags, "box:1", "sleep", "1000").err
    reason = "nft is missing" if without_nft == "missing" else "cache initialization failed"
    assert reason in told
    assert "nothing beyond" in told
    server = Host(fresh.inspect("web")["State"]["Pid"])
    with hosts.outside() as other, server.echo("tcp", 80), server.echo("udp", 53):
        for protocol in ("tcp", "udp"):
            assert other.ask(protocol, HERE, port).startswith("hello from ")
            assert hosts.session().ask(protocol, "127.0.0.1", port).startswith("hello from ")
    refused = fresh("run", "--rm", "--network", "plain", "-p", "99:99/sctp", "box:1", "true", check=125)
    assert "sctp ports cannot be published" in refused.err or reason in refused.err
    within = fresh("network", "create", "--internal", "within", check=1)
    assert "an internal network needs the packet filter" in within.err
    fresh("rm", "-f", "web")
    assert hosts.session().ask("tcp", "127.0.0.1", port) == "ConnectionRefusedError"
    fresh("network", "rm", "plain")


# -- flows that go on


# Each line is the seconds that an answer may take. It repeats the number of the question; others are ignored.
ASK_AGAIN = """
import socket, sys, time
client = socket.socket(type=socket.SOCK_DGRAM)
client.bind(("", 0))
for number, line in enumerate(sys.stdin):
    answer, end = "nobody", time.monotonic() + float(line)
    try:
        client.sendto(b"%d" % number, (sys.argv[1], int(sys.argv[2])))
        while answer == "nobody":
            client.settimeout(max(end - time.monotonic(), 0.001))
            question, _, address = client.recv(100).decode().partition(" from ")
            if question == str(number):
                answer = address
    except OSError:
        pass
    print(answer, flush=True)
"""


def test_a_flow_of_udp_follows_the_port(mydocker: Runner, image: str) -> None:
    """One client, one socket: before there is a server, with it, after a restart, and with another one."""
    port = hosts.free_port()
    with hosts.outside() as other:
        argv = other.argv("python3", "-c", ASK_AGAIN, HERE, str(port))
        client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def expect(answer: str) -> None:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(b"0.3\n" if answer == "nobody" else b"10\n")
            client.stdin.flush()
            assert client.stdout.readline().decode().strip() == answer

        try:
            expect("nobody")
            container, guest = start(mydocker, image, "-p", f"{port}:5000/udp")
            with guest.echo("udp", 5000):
                expect(THERE)
            mydocker("stop", "--timeout", "0", container)
            expect("nobody")
            _, thief = start(mydocker, image)  # it gets the address
            with thief.echo("udp", 5000):
                expect("nobody")
            mydocker("start", container)
            with Host(mydocker.inspect(container)["State"]["Pid"]).echo("udp", 5000):
                expect(THERE)
                mydocker("port", "rm", container, f"{port}:5000/udp")
                expect("nobody")
                mydocker("port", "add", container, f"{port}:5000/udp")
                expect(THERE)
        finally:
            client.kill()
            client.wait()


@pytest.mark.parametrize("host", [HERE_TOO, "::1"])
def test_a_port_that_is_removed_ends_its_connections(mydocker: Runner, image: str, host: str) -> None:
    """Led by the packet filter, and passed on by the proxy."""
    port = hosts.free_port()
    mydocker("run", "-d", "--name", "cat", "-p", f"{port}:80", image, "nc", "-ll", "-p", "80", "-e", "cat")
    end = time.monotonic() + 20
    while hosts.session().ask("tcp", host, port) != "hello":
        assert time.monotonic() < end
    with socket.create_connection((host, port), timeout=10) as client:
        client.sendall(b"first")
        assert client.recv(100) == b"first"
        mydocker("port", "rm", "cat", f"{port}:80")
        # the proxy's is told at once, the other when it sends something
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            wait_until(lambda: client.sendall(b"x"))


def test_a_client_that_waits_for_the_next_start(mydocker: Runner, image: str) -> None:
    """It has begun when nobody answered; its next try comes to whoever has the port by then."""
    port = hosts.free_port()
    with hosts.outside() as other, ThreadPoolExecutor(1) as pool:
        # A try in between, when nobody has the port, is refused by the host itself: not forwarded, TTL 64.
        deaf = "type filter hook input priority 0; ip ttl 64 tcp flags rst drop;"
        other.run("nft", f"table inet deaf {{ chain in {{ {deaf} }}; }}")
        container, guest = start(mydocker, image, "-p", f"{port}:80")
        guest.run("ip", "link", "set", "eth0", "down")
        answer = pool.submit(other.ask, "tcp", HERE, port, 60)
        while " 02 " not in other.run("cat", "/proc/net/tcp").out:  # TCP_SYN_SENT
            time.sleep(0.01)
        mydocker("stop", "--timeout", "0", container)
        start(mydocker, image)  # it gets the address
        mydocker("start", container)
        with Host(mydocker.inspect(container)["State"]["Pid"]).echo("tcp", 80):
            assert answer.result() == f"hello from {THERE}"
