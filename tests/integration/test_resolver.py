"""Names in networks of users, and name servers beyond them; dnsmasq is the host's own."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import hosts, probe
from support.command import Runner

_NEEDED = probe.missing_programs("nft", "ip", "nsenter")
pytestmark = pytest.mark.skipif(bool(_NEEDED), reason=_NEEDED or "")


@pytest.fixture
def net(mydocker: Runner) -> Iterator[str]:
    with mydocker.network("named", "--subnet", "10.90.0.0/24") as name:
        yield name


@pytest.fixture
def outer(tmp_path: Path) -> Iterator[None]:
    """A name server on the host's loopback, and the host's resolv.conf that says so."""
    if probe.program("dnsmasq") is None:
        pytest.skip("needs dnsmasq (see tests/apt-packages.txt)")
    with hosts.name_server(tmp_path, outer="192.0.2.7"):
        yield


def lookup(mydocker: Runner, container: str, name: str) -> list[str]:
    """The addresses that a name has in there; a name for an address."""
    said = mydocker("exec", container, "nslookup", name, check=False).out
    answers = said.partition("\n\n")[2]
    return re.findall(r"(?:Address: |name = )(\S+)", answers)


def address(mydocker: Runner, container: str) -> str:
    return str(mydocker.inspect(container)["NetworkSettings"]["Networks"]["named"]["IPAddress"])


@pytest.mark.both_ways
def test_names(mydocker: Runner, image: str, net: str) -> None:
    web, _ = mydocker.start(image, "--name", "web", "--network", net, "--network-alias", "www", "-h", "box")
    mydocker.start(image, "--name", "client", "--network", net)
    at = address(mydocker, web)
    for name in ("web", "WEB", "www", "web.named", web[:12], "box"):
        assert lookup(mydocker, "client", name) == [at], name
    assert lookup(mydocker, "client", at) == ["web.named"]
    mydocker("exec", "client", "ping", "-c1", "-W5", "web")
    shown = mydocker("exec", "client", "cat", "/etc/resolv.conf").out
    assert "nameserver 127.0.0.11\n" in shown
    assert "options ndots:0\n" in shown


def test_names_follow(mydocker: Runner, image: str, net: str) -> None:
    """Containers that come, are renamed, restart and go."""
    mydocker.start(image, "--name", "client", "--network", net)
    assert lookup(mydocker, "client", "later") == []
    later, _ = mydocker.start(image, "--name", "later", "--network", net)
    assert lookup(mydocker, "client", "later") == [address(mydocker, later)]
    mydocker("rename", "later", "other")
    assert lookup(mydocker, "client", "later") == []
    assert lookup(mydocker, "client", "other") == [address(mydocker, later)]
    mydocker("stop", "--timeout", "0", "other")
    assert lookup(mydocker, "client", "other") == []
    mydocker("start", "other")
    assert lookup(mydocker, "client", "other") == [address(mydocker, later)]


def test_an_alias_of_three(mydocker: Runner, image: str, net: str) -> None:
    """All are told, each of them first at some time."""
    made = [mydocker.start(image, "--network", net, "--network-alias", "many")[0] for _ in range(3)]
    mydocker.start(image, "--name", "client", "--network", net)
    every = sorted(address(mydocker, each) for each in made)
    told = [lookup(mydocker, "client", "many") for _ in range(6)]
    assert all(sorted(each) == every for each in told), told
    assert sorted({each[0] for each in told}) == every


def test_capitals(mydocker: Runner, image: str, net: str) -> None:
    """DNS knows no difference (RFC 4343), and many clients ask in small letters."""
    web, _ = mydocker.start(image, "--name", "MyWeb", "--network", net)
    mydocker.start(image, "--name", "client", "--network", net)
    for name in ("MyWeb", "myweb", "MYWEB", "myweb.named"):
        assert lookup(mydocker, "client", name) == [address(mydocker, web)], name
    mydocker("rename", web, "other")
    assert lookup(mydocker, "client", "myweb") == []


def test_the_name_of_one_and_the_alias_of_another(mydocker: Runner, image: str, net: str) -> None:
    one, _ = mydocker.start(image, "--name", "api", "--network", net)
    two, _ = mydocker.start(image, "--network", net, "--network-alias", "api")
    mydocker.start(image, "--name", "client", "--network", net)
    assert set(lookup(mydocker, "client", "api")) == {address(mydocker, one), address(mydocker, two)}


def test_names_stay_in_their_network(mydocker: Runner, image: str, net: str) -> None:
    mydocker.start(image, "--name", "web", "--network", net)
    mydocker("network", "create", "elsewhere")
    mydocker.start(image, "--name", "client", "--network", "elsewhere")
    assert lookup(mydocker, "client", "web") == []
    mydocker("network", "connect", net, "client")
    assert lookup(mydocker, "client", "web") == [address(mydocker, "web")]
    mydocker("network", "disconnect", net, "client")
    assert lookup(mydocker, "client", "web") == []
    mydocker("rm", "-f", "client")
    mydocker("network", "rm", "elsewhere")


def test_a_container_of_the_default_bridge_that_is_connected(mydocker: Runner, image: str, net: str) -> None:
    mydocker.start(image, "--name", "web", "--network", net)
    mydocker.start(image, "--name", "client")
    mydocker("network", "connect", "--alias", "mine", net, "client")
    assert lookup(mydocker, "client", "web") == [address(mydocker, "web")]
    assert lookup(mydocker, "web", "mine") == [address(mydocker, "client")]


def test_the_hosts_name_server(mydocker: Runner, image: str, net: str, outer: None) -> None:
    """Which is on the host's loopback, where the container itself cannot reach it."""
    del outer
    mydocker.start(image, "--name", "client", "--network", net)
    end = time.monotonic() + 10
    while lookup(mydocker, "client", "outer.example") != ["192.0.2.7"]:
        assert time.monotonic() < end, mydocker("exec", "client", "nslookup", "outer.example", check=False)
        time.sleep(0.1)
    assert "search inner.example\n" in mydocker("exec", "client", "cat", "/etc/resolv.conf").out


QUERY = """
import socket, sys
message = bytes.fromhex("abcd01000001000000000000") + b"\\x05outer\\x07example\\x00\\x00\\x01\\x00\\x01"
client = socket.create_connection(("127.0.0.11", 53), timeout=10)
client.sendall(len(message).to_bytes(2, "big") + message[:5])
client.sendall(message[5:])
size = int.from_bytes(client.recv(2), "big")
answer = b""
while len(answer) < size:
    answer += client.recv(size - len(answer))
print(answer[:2].hex(), ".".join(str(byte) for byte in answer[-4:]))
"""


def test_by_tcp(mydocker: Runner, image: str, net: str, outer: None) -> None:
    del outer
    _, pid = mydocker.start(image, "--network", net)
    found = hosts.Host(pid).run("python3", "-c", QUERY).line
    assert found == "abcd 192.0.2.7"


def test_nobody_to_ask(mydocker: Runner, image: str) -> None:
    """In a network that leads nowhere, what is not known there is asked nobody."""
    mydocker("network", "create", "--internal", "within")
    mydocker.start(image, "--name", "client", "--network", "within")
    said = mydocker("exec", "client", "nslookup", "outer.example", check=False)
    assert "SERVFAIL" in said.out + said.err
    mydocker("rm", "-f", "client")
    mydocker("network", "rm", "within")


def test_a_name_server_that_does_not_answer(mydocker: Runner, image: str, net: str) -> None:
    """Names of ours are answered meanwhile, and the container goes on."""
    mydocker.start(image, "--name", "client", "--network", net, "--dns", "127.0.0.1")
    said = mydocker("exec", "client", "nslookup", "outer.example", check=False)
    assert "SERVFAIL" in said.out + said.err
    assert lookup(mydocker, "client", "client") == [address(mydocker, "client")]


@pytest.mark.parametrize("by_tcp", [False, True])
def test_the_next_name_server(
    mydocker: Runner, image: str, net: str, tmp_path: Path, outer: None, by_tcp: bool
) -> None:
    """The first one answers that it will not (REFUSED), as one does that is for some names only."""
    del outer
    with hosts.names_at("127.0.0.2", {}):
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.2\nnameserver 127.0.0.1\n")
        _, pid = mydocker.start(image, "--name", "client", "--network", net)
        if by_tcp:
            assert hosts.Host(pid).run("python3", "-c", QUERY).line == "abcd 192.0.2.7"
        else:
            assert lookup(mydocker, "client", "outer.example") == ["192.0.2.7"]
        (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.2\n")
        said = mydocker("exec", "client", "nslookup", "outer.example", check=False)
        assert "REFUSED" in said.out + said.err


def test_a_name_server_in_a_container(mydocker: Runner, image: str) -> None:
    """``--dns`` is asked from where the container is: here, in a network that leads nowhere."""
    if probe.program("dnsmasq") is None:
        pytest.skip("needs dnsmasq (see tests/apt-packages.txt)")
    with mydocker.network("within", "--internal", "--subnet", "10.91.0.0/24") as within:
        _, pid = mydocker.start(image, "--name", "names", "--network", within, "--ip", "10.91.0.53")
        with hosts.names_at("10.91.0.53", {"outer": "192.0.2.7"}, hosts.Host(pid)):
            mydocker.start(image, "--name", "client", "--network", within, "--dns", "10.91.0.53")
            assert lookup(mydocker, "client", "outer.example") == ["192.0.2.7"]
            assert lookup(mydocker, "client", "names") == ["10.91.0.53"]


def backwards(label: bytes) -> bytes:
    """A question for the name of an address (PTR) that is one label below in-addr.arpa."""
    return (
        bytes.fromhex("abcd01000001000000000000")
        + bytes((len(label),))
        + label
        + b"\7in-addr\4arpa\0\0\x0c\0\1"
    )


@pytest.mark.parametrize("message", [
    b"", b"x", bytes(12), b"\xff" * 600, bytes(11) + b"\x01" + b"\xc0" * 9,
    backwards(b"::1%\0"), backwards(b"::1%" + b"\xe9" * 59), backwards(b"../../x"),
])  # fmt: skip
def test_what_is_no_question(mydocker: Runner, image: str, net: str, message: bytes) -> None:
    _, pid = mydocker.start(image, "--name", "client", "--network", net)
    script = "import socket, sys; s = socket.socket(type=socket.SOCK_DGRAM); "
    script += f"s.sendto({message!r}, ('127.0.0.11', 53))"
    hosts.Host(pid).run("python3", "-c", script)
    assert lookup(mydocker, "client", "client") == [address(mydocker, "client")]
