"""The bridge of a network and its place in the packet filter: both are there, or neither."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from support import command, hosts, probe
from support.command import Runner
from support.hosts import Host
from support.leaks import filtered

_NEEDED = probe.missing_programs("nft", "ip", "nsenter")
pytestmark = pytest.mark.skipif(bool(_NEEDED), reason=_NEEDED or "")
NFT = os.path.realpath(probe.program("nft") or "")
BRIDGE = "com.docker.network.bridge"


def links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def bridge_of(mydocker: Runner, network: str) -> str:
    document = mydocker("network", "inspect", network).json()[0]
    return str(document["Options"].get(f"{BRIDGE}.name") or f"md-{document['Id'][:12]}")


def address(mydocker: Runner, container: str, network: str) -> str:
    return str(mydocker.inspect(container)["NetworkSettings"]["Networks"][network]["IPAddress"])


@contextmanager
def nft_that(script: str, directory: Path) -> Iterator[None]:
    """In place of the program nft, which the script has as ``$nft``."""
    real, other = directory / "nft-real", directory / "nft-other"
    shutil.copy(NFT, real)
    other.write_text(f"#!/bin/sh\nnft={real}\n{script}\n")
    other.chmod(0o755)
    command.run(["mount", "--bind", str(other), NFT])
    try:
        yield
    finally:
        command.run(["umount", NFT])


@pytest.mark.parametrize("verb", ["rm", "prune"])
def test_killed_with_the_filter_changed(mydocker: Runner, image: str, tmp_path: Path, verb: str) -> None:
    mydocker("network", "create", "--subnet", "10.81.0.0/24", "cut")
    bridge = bridge_of(mydocker, "cut")
    assert bridge in links() & filtered()
    with nft_that('$nft "$@"; kill -KILL $PPID', tmp_path):
        arguments = ["rm", "cut"] if verb == "rm" else ["prune", "--force"]
        mydocker("network", *arguments, check=-9, env={"MYDOCKER_FORKSERVER": "0"})
    assert bridge not in filtered()
    assert bridge not in links(), "it is there, so nobody makes its place in the filter again"
    mydocker("run", "--rm", "--network", "cut", image, "true")
    assert bridge in links() & filtered()
    mydocker("network", "rm", "cut")
    assert bridge not in links() | filtered()


def test_a_filter_that_refuses(mydocker: Runner, tmp_path: Path) -> None:
    """Nothing is forgotten before it is done."""
    mydocker("network", "create", "--subnet", "10.81.0.0/24", "held")
    bridge = bridge_of(mydocker, "held")
    message = "Error: Could not process rule: Device or resource busy"
    with nft_that(f"echo '{message}' >&2; exit 1", tmp_path):
        refused = mydocker("network", "rm", "held", check=1)
    assert f"the packet filter refuses ({message})" in refused.err
    assert bridge in filtered()
    mydocker("network", "rm", "held")
    assert bridge not in filtered()


def test_a_filter_that_is_killed(mydocker: Runner, tmp_path: Path) -> None:
    """Which is no refusal: nothing goes on without it."""
    with nft_that("kill -KILL $$", tmp_path):
        refused = mydocker("network", "create", "--subnet", "10.81.0.0/24", "x", check=1)
    assert "the program nft was killed by signal 9 (try again)" in refused.err
    mydocker("network", "rm", "x")
    with mydocker.network("x", "--subnet", "10.81.0.0/24"):
        assert bridge_of(mydocker, "x") in links() & filtered()


def test_a_filter_that_was_flushed(mydocker: Runner) -> None:
    mydocker("network", "create", "--subnet", "10.81.0.0/24", "flushed")
    command.run(["nft", "flush", "ruleset"])
    mydocker("network", "rm", "flushed")


def test_a_bridge_that_is_down(mydocker: Runner, image: str) -> None:
    """It is set up again, with the containers that are on it."""
    with mydocker.network("low", "--subnet", "10.81.0.0/24", "--ipv6") as network:
        bridge = bridge_of(mydocker, network)
        mydocker.start(image, "--name", "before", "--network", network)
        index = socket.if_nametoindex(bridge)
        command.run(["ip", "link", "set", bridge, "down"])
        mydocker("run", "--rm", "--network", network, image, "ping", "-c1", "-W5", "before")
        mydocker("exec", "before", "ping", "-c1", "-W5", "10.81.0.1")
        assert socket.if_nametoindex(bridge) == index


def test_another_root_directory(mydocker: Runner, image: str, tmp_path: Path) -> None:
    """It shares the state directory, and so the links and the leases."""
    other = replace(mydocker, root=str(tmp_path / "root"))
    container, _ = mydocker.start(image)
    assert "bridge" in other("network", "ls", "--format", "{{.Name}}").out.split()
    pool = other("network", "inspect", "bridge").json()[0]["IPAM"]["Config"]
    assert pool == mydocker("network", "inspect", "bridge").json()[0]["IPAM"]["Config"]
    other("network", "prune", "--force")
    mydocker("exec", container, "ping", "-c1", "-W5", pool[0]["Gateway"])
    assert bridge_of(mydocker, "bridge") in links() & filtered()
    with mydocker.network("kept", "--subnet", "10.81.0.0/24"):
        mydocker.remove_all()
        other("network", "prune", "--force")
        assert bridge_of(mydocker, "bridge") not in links() | filtered()
        assert bridge_of(mydocker, "kept") in links() & filtered()


def test_names_of_bridges(mydocker: Runner) -> None:
    """Two networks never have one, whether it is there at the moment or not."""
    default = bridge_of(mydocker, "bridge")
    mydocker("network", "create", "-o", f"{BRIDGE}.name=mine0", "--subnet", "10.81.0.0/24", "named")
    mydocker("network", "prune", "--force", "--filter", "label=none")  # takes the default one down
    command.run(["ip", "link", "delete", "mine0"])
    assert not {default, "mine0"} & links()
    for name in (default, "mine0"):
        refused = mydocker("network", "create", "-o", f"{BRIDGE}.name={name}", "second", check=1)
        assert f"({name}): networks have same bridge name" in refused.err
    for name in ("a b", "a/b", "sixteen-letters-"):
        refused = mydocker("network", "create", "-o", f"{BRIDGE}.name={name}", "second", check=1)
        assert f"invalid name of a bridge (of 15 characters at most): {name}" in refused.err
    mydocker("network", "rm", "named")


def test_bound_to_an_address_of_the_host(mydocker: Runner, image: str) -> None:
    """Published there and nowhere else."""
    port, binding = hosts.free_port(), f"{BRIDGE}.host_binding_ipv4"
    refused = mydocker("network", "create", "-o", f"{binding}=::1", "bound", check=1)
    assert f"invalid value for {binding}: ::1 (use an IPv4 address)" in refused.err
    flags = ("--ipv6", "--subnet", "10.81.0.0/24", "-o", f"{binding}=127.0.0.1")
    with mydocker.network("bound", *flags) as network:
        container, pid = mydocker.start(image, "--network", network, "-p", f"{port}:80")
        assert mydocker("port", container).out == f"80/tcp -> 127.0.0.1:{port}\n"
        with Host(pid).echo("tcp", 80):
            assert hosts.session().ask("tcp", "127.0.0.1", port).startswith("hello")
            assert hosts.session().ask("tcp", "::1", port) == "ConnectionRefusedError"


@pytest.mark.parametrize("icc", ["true", "false"])
def test_neighbours_by_way_of_the_gateway(mydocker: Runner, image: str, icc: str) -> None:
    """Where they are kept apart, the host does not pass on to them either."""
    flags = ("-o", f"{BRIDGE}.enable_icc={icc}", "--subnet", "10.81.0.0/24")
    with mydocker.network("near", *flags) as network:
        first, pid = mydocker.start(image, "--network", network)
        second, other = mydocker.start(image, "--network", network)
        one, two = Host(pid), Host(other)
        own, theirs = (address(mydocker, each, network) for each in (first, second))
        one.run("ip", "route", "add", theirs, "via", "10.81.0.1")
        two.run("ip", "route", "add", own, "via", "10.81.0.1")
        with two.echo("tcp", 7):
            answer = one.ask("tcp", theirs, 7, patience=1)
            assert answer == ("TimeoutError" if icc == "false" else f"hello from {own}")
