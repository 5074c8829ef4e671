"""Other machines: network namespaces of the session's own, joined to it by a veth, and servers in them.

    with hosts.outside() as other:           # 10.99.0.2, the session is 10.99.0.1
        other.run("busybox", "wget", "-qO-", "http://10.99.0.1:8080/")

Nothing of it reaches beyond the session's network namespace.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mydocker.linux import namespace
from support import command, probe

HERE, THERE, PREFIX = "10.99.0.1", "10.99.0.2", 24
PATIENCE = 10.0

ECHO = """
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
server = socket.socket(family, kind)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[2], int(sys.argv[3])))
if kind == socket.SOCK_STREAM:
    server.listen()
print("ready", flush=True)
while True:
    if kind == socket.SOCK_STREAM:
        peer, address = server.accept()
        peer.sendall(peer.recv(100) + b" from " + address[0].encode())
        peer.close()
    else:
        data, address = server.recvfrom(100)
        server.sendto(data + b" from " + address[0].encode(), address)
"""
ASK = """
import socket, sys
kind = socket.SOCK_STREAM if sys.argv[1] == "tcp" else socket.SOCK_DGRAM
family = socket.AF_INET6 if ":" in sys.argv[2] else socket.AF_INET
client = socket.socket(family, kind)
client.settimeout(float(sys.argv[4]))
try:
    client.connect((sys.argv[2], int(sys.argv[3])))
    client.send(b"hello")
    print(client.recv(100).decode())
except OSError as error:
    print(type(error).__name__)
"""


@dataclass(frozen=True)
class Host:
    """A process and its network namespace, a container's too: what runs in it sees the session's files."""

    pid: int

    def argv(self, *arguments: str) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", "--", *arguments]

    def run(self, *arguments: str, check: bool = True) -> command.Result:
        return command.run(self.argv(*arguments), check=check)

    def popen(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.argv(*arguments), stdout=subprocess.PIPE)

    @contextlib.contextmanager
    def echo(self, protocol: str, port: int, address: str = "0.0.0.0") -> Iterator[None]:
        """A server that answers ``hello from <client's address>``."""
        arguments = [sys.executable, "-c", ECHO, protocol, address, str(port)]
        with subprocess.Popen(self.argv(*arguments), stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                assert server.stdout.readline() == b"ready\n"
                yield
            finally:
                server.kill()

    def ask(self, protocol: str, address: str, port: int, patience: float = 5) -> str:
        """What the server there says, or the name of the error."""
        return self.run(sys.executable, "-c", ASK, protocol, address, str(port), str(patience)).line


def session() -> Host:
    return Host(1)


@contextlib.contextmanager
def outside() -> Iterator[Host]:
    """A machine on the other end of a cable, with a route to every container by way of this one."""
    with subprocess.Popen(["unshare", "--net", "sleep", "1000"]) as process:
        try:
            there = Host(process.pid)
            _wait_for_namespace(there)
            command.run(
                ["ip", "link", "add", "cable", "type", "veth", "peer", "eth0", "netns", str(process.pid)]
            )
            command.run(["ip", "address", "add", f"{HERE}/{PREFIX}", "dev", "cable"])
            command.run(["ip", "link", "set", "cable", "up"])
            there.run("ip", "link", "set", "lo", "up")
            there.run("ip", "address", "add", f"{THERE}/{PREFIX}", "dev", "eth0")
            there.run("ip", "link", "set", "eth0", "up")
            there.run("ip", "route", "add", "default", "via", HERE)
            yield there
        finally:
            process.kill()
            subprocess.run(["ip", "link", "delete", "cable"], check=False, capture_output=True)


def _wait_for_namespace(there: Host) -> None:
    end = time.monotonic() + PATIENCE
    own = there.run("readlink", "/proc/self/ns/net").line
    while own == command.run(["readlink", "/proc/self/ns/net"]).line:
        if time.monotonic() > end:
            raise AssertionError("unshare never made a network namespace")
        time.sleep(0.01)
        own = there.run("readlink", "/proc/self/ns/net").line


@contextlib.contextmanager
def name_server(directory: Path, **names: str) -> Iterator[None]:
    """One on the host's loopback, which knows these names of ``.example``; resolv.conf, in there, says so."""
    conf = directory / "resolv.conf"
    conf.write_text("nameserver 127.0.0.1\nsearch inner.example\n")
    place = os.path.realpath("/etc/resolv.conf")
    command.run(["mount", "--bind", str(conf), place])
    try:
        with names_at("127.0.0.1", names):
            yield
    finally:
        command.run(["umount", place])


@contextlib.contextmanager
def names_at(address: str, names: Mapping[str, str], host: Host | None = None) -> Iterator[None]:
    """dnsmasq at an address, which knows these names of ``.example`` and refuses others.

    ``FileNotFoundError`` if there is none (see tests/apt-packages.txt).
    """
    program = probe.program("dnsmasq")
    if program is None:
        raise FileNotFoundError("dnsmasq")
    arguments = [
        program, "--keep-in-foreground", "--no-hosts", "--no-resolv", "--conf-file=/dev/null",
        "--bind-interfaces", f"--listen-address={address}", "--pid-file=", "--user=root",
        *(f"--address=/{name}.example/{at}" for name, at in names.items()),
    ]  # fmt: skip
    with subprocess.Popen(host.argv(*arguments) if host else arguments) as server:
        try:
            _wait_for_udp(address, 53, host)
            yield
        finally:
            server.terminate()


def _wait_for_udp(address: str, port: int, host: Host | None) -> None:
    """Until somebody has bound the port."""
    wanted = f" {socket.inet_aton(address)[::-1].hex().upper()}:{port:04X} "
    end = time.monotonic() + PATIENCE
    while wanted not in Path(f"/proc/{host.pid if host else 'self'}/net/udp").read_text():
        if time.monotonic() > end:
            raise AssertionError(f"nobody is at {address}:{port} by UDP")
        time.sleep(0.01)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def apart(work: Callable[[], None]) -> None:
    """Do ``work`` in a child in a network namespace of its own; what it raises is printed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            namespace.unshare(namespace.CLONE_NEWNET)
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
