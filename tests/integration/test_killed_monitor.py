"""A container whose monitor was killed: who comes upon it puts it right, whoever else has looked just now."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from mydocker.container.store import Store
from support import probe
from support.command import Runner
from support.killing import parent
from support.waiting import wait_until

needs_bridge = pytest.mark.skipif(
    bool(probe.missing_programs("nft")), reason=probe.missing_programs("nft") or ""
)
PORT = "18963"


def orphan(mydocker: Runner, image: str, *flags: str) -> tuple[str, int]:
    """A container that runs on without its monitor, and its init; the look around has just been."""
    container, init = mydocker.start(image, *flags)
    os.kill(parent(init), signal.SIGKILL)
    store = Store(mydocker.root, mydocker.state)
    wait_until(lambda: not store.held(container))
    os.utime(f"{mydocker.state}/looked")
    return container, init


@pytest.fixture
def narrow(mydocker: Runner) -> Iterator[str]:
    """A network with room for one container."""
    with mydocker.network("narrow", "--subnet", "10.99.7.0/30") as name:
        yield name


def test_its_name(mydocker: Runner, image: str) -> None:
    dead, _ = orphan(mydocker, image, "--rm", "--name", "orphan")
    assert mydocker("run", "--rm", "--name", "orphan", image, "echo", "again").line == "again"
    assert dead not in mydocker.containers()


def test_its_name_stays_its_own(mydocker: Runner, image: str) -> None:
    dead, init = orphan(mydocker, image, "--name", "orphan")
    refused = mydocker("run", "--rm", "--name", "orphan", image, "true", check=125)
    assert f'The container name "/orphan" is already in use by container "{dead}"' in refused.err
    wait_until(lambda: not os.path.exists(f"/proc/{init}"), "its end, for it has been looked at")
    assert mydocker.inspect("orphan")["State"]["ExitCode"] == 137


@needs_bridge
@pytest.mark.parametrize("flags", [(), ("--ip", "10.99.7.2")])
def test_its_address(mydocker: Runner, image: str, narrow: str, flags: tuple[str, ...]) -> None:
    orphan(mydocker, image, "--network", narrow, *flags)
    assert mydocker("run", "--rm", "--network", narrow, *flags, image, "echo", "here").line == "here"


@needs_bridge
def test_an_address_of_one_that_lives(mydocker: Runner, image: str, narrow: str) -> None:
    mydocker.start(image, "--network", narrow)
    refused = mydocker("run", "--rm", "--network", narrow, image, "true", check=125)
    assert "no available IPv4 addresses on this network's address pools: narrow" in refused.err


@needs_bridge
def test_its_port(mydocker: Runner, image: str) -> None:
    orphan(mydocker, image, "-p", f"{PORT}:80")
    assert mydocker("run", "--rm", "-p", f"{PORT}:80", image, "echo", "here").line == "here"


@needs_bridge
def test_a_link_to_it(mydocker: Runner, image: str) -> None:
    orphan(mydocker, image, "--name", "orphan")
    refused = mydocker("run", "--rm", "--name", "other", "--link", "orphan", image, "true", check=125)
    assert "Cannot link to a non running container: /orphan AS /other/orphan" in refused.err


@pytest.mark.parametrize("command", [("run", "--rm"), ("create",)])
def test_nobody_comes_upon_it(mydocker: Runner, image: str, command: tuple[str, ...]) -> None:
    """Then whoever makes another one later on does."""
    dead, init = orphan(mydocker, image)
    os.utime(f"{mydocker.state}/looked", (0, 0))
    mydocker(*command, image, "true")
    wait_until(lambda: not os.path.exists(f"/proc/{init}"))
    assert Store(mydocker.root, mydocker.state).read_state(dead).exit_code == 137
