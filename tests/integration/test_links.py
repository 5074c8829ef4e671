"""``--link``: names and variables of other containers in ``bridge``, names for one alone elsewhere."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Iterator

import pytest

from support import probe
from support.command import Runner
from support.waiting import wait_until

_NEEDED = probe.missing_programs("nft", "ip", "nsenter")
pytestmark = pytest.mark.skipif(bool(_NEEDED), reason=_NEEDED or "")


@pytest.fixture
def net(mydocker: Runner) -> Iterator[str]:
    mydocker("network", "create", "linked")
    yield "linked"
    mydocker.remove_all()
    mydocker("network", "rm", "linked")


def address(mydocker: Runner, container: str, network: str = "bridge") -> str:
    return str(mydocker.inspect(container)["NetworkSettings"]["Networks"][network]["IPAddress"])


def environment(mydocker: Runner, container: str) -> dict[str, str]:
    lines = mydocker("exec", container, "env").out.splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.mark.both_ways
def test_on_the_default_bridge(mydocker: Runner, image: str) -> None:
    """What docker 20.10 makes of the same command line."""
    flags = ["--name", "db-1", "--hostname", "store", "--expose", "5432", "--expose", "90-92/udp"]
    other, _ = mydocker.start(image, *flags, "-e", "SECRET=x=y", "-e", "HOME=/h")
    at = address(mydocker, other)
    flags = ["--name", "web", "--link", "db-1:my-db", "-e", "MY_DB_ENV_SECRET=mine"]
    mydocker.start(image, *flags)
    assert f"{at}\tmy-db store db-1\n" in mydocker("exec", "web", "cat", "/etc/hosts").out
    mydocker("exec", "web", "ping", "-c1", "-W5", "my-db")
    found = {key: value for key, value in environment(mydocker, "web").items() if key.startswith("MY_DB")}
    assert found == {
        "MY_DB_NAME": "/web/my-db",
        "MY_DB_ENV_SECRET": "mine",
        "MY_DB_PORT": f"tcp://{at}:5432",
        "MY_DB_PORT_5432_TCP": f"tcp://{at}:5432",
        "MY_DB_PORT_5432_TCP_ADDR": at,
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        **{
            f"MY_DB_PORT_{number}_UDP{suffix}": value
            for number in (90, 91, 92)
            for suffix, value in (
                ("", f"udp://{at}:{number}"),
                ("_ADDR", at),
                ("_PORT", str(number)),
                ("_PROTO", "udp"),
            )
        },
        "MY_DB_PORT_90_UDP_START": f"udp://{at}:90",
        "MY_DB_PORT_90_UDP_PORT_START": "90",
        "MY_DB_PORT_90_UDP_END": f"udp://{at}:92",
        "MY_DB_PORT_90_UDP_PORT_END": "92",
    }
    assert mydocker.inspect("web")["HostConfig"]["Links"] == ["/db-1:/web/my-db"]
    mydocker("rename", "db-1", "base")
    assert mydocker.inspect("web")["HostConfig"]["Links"] == ["/base:/web/my-db"]


def test_who_is_told_keeps_nobody(mydocker: Runner, image: str, net: str) -> None:
    """A container that cannot tell one that links to it, as somebody holds its record, runs and is served."""
    mydocker.start(image, "--name", "db")
    other, _ = mydocker.start(image, "--name", "web", "--link", "db")
    mydocker("stop", "--timeout", "0", "db")
    record = os.open(f"{mydocker.root}/container/{other}", os.O_RDONLY)
    try:
        fcntl.flock(record, fcntl.LOCK_EX)
        starting = mydocker.popen("start", "db", stdin=subprocess.DEVNULL)
        wait_until(lambda: mydocker.inspect("db")["State"]["Running"])
        mydocker("network", "connect", net, "db", timeout=20)
        mydocker("exec", "db", "true", timeout=20)
    finally:
        os.close(record)
    assert starting.wait(20) == 0
    assert f"{address(mydocker, 'db')}\tdb " in mydocker("exec", "web", "cat", "/etc/hosts").out


def test_another_address(mydocker: Runner, image: str) -> None:
    """One that was started again is found where it is now."""
    mydocker.start(image, "--name", "db")
    mydocker.start(image, "--name", "web", "--link", "db")
    before = address(mydocker, "db")
    mydocker("stop", "--timeout", "0", "db")
    mydocker.start(image, "--name", "thief")
    assert address(mydocker, "thief") == before
    mydocker("start", "db")
    now = address(mydocker, "db")
    assert now != before
    assert re.findall(r"(\S+)\tdb", mydocker("exec", "web", "cat", "/etc/hosts").out) == [now]
    mydocker("restart", "--timeout", "0", "web")
    assert re.findall(r"(\S+)\tdb", mydocker("exec", "web", "cat", "/etc/hosts").out) == [now]


def test_to_one_that_does_not_run(mydocker: Runner, image: str) -> None:
    mydocker("create", "--name", "db", image, "sleep", "1000")
    refused = mydocker("run", "--rm", "--name", "web", "--link", "db:x", image, "true", check=125)
    assert "Cannot link to a non running container: /db AS /web/x" in refused.err
    assert mydocker("ps", "-a", "--format", "{{.Names}}").line == "db"
    mydocker.start(image, "--name", "host", "--network", "host")
    refused = mydocker("run", "--rm", "--link", "host", image, "true", check=125)
    assert "host type networking can't be used with links" in refused.err


def test_remove_a_link(mydocker: Runner, image: str) -> None:
    mydocker.start(image, "--name", "db")
    mydocker.start(image, "--name", "web", "--link", "db:x")
    assert "no link y" in mydocker("rm", "--link", "web/y", check=1).err
    assert "Cannot get parent /absent" in mydocker("rm", "--link", "absent/x", check=1).err
    assert mydocker("rm", "--link", "/web/x").line == "/web/x"
    assert "\tx " not in mydocker("exec", "web", "cat", "/etc/hosts").out
    assert mydocker.inspect("web")["HostConfig"]["Links"] is None
    mydocker("restart", "--timeout", "0", "web")
    assert not any(key.startswith("X_") for key in environment(mydocker, "web"))


def test_in_a_network_of_a_user(mydocker: Runner, image: str, net: str) -> None:
    """A name for the one that has asked for it, and no variables."""
    mydocker.start(image, "--name", "db", "--network", net)
    mydocker.start(image, "--name", "web", "--network", net, "--link", "db:store")
    mydocker.start(image, "--name", "other", "--network", net)
    mydocker("exec", "web", "ping", "-c1", "-W5", "store")
    assert "bad address" in mydocker("exec", "other", "ping", "-c1", "store", check=1).err
    assert not any(key.startswith("STORE") for key in environment(mydocker, "web"))
    assert mydocker.inspect("web")["NetworkSettings"]["Networks"][net]["Links"] == ["db:store"]
    mydocker("stop", "--timeout", "0", "db")
    assert "bad address" in mydocker("exec", "web", "ping", "-c1", "store", check=1).err
    mydocker("start", "db")
    mydocker("exec", "web", "ping", "-c1", "-W5", "store.linked")


def test_connect_with_a_link(mydocker: Runner, image: str, net: str) -> None:
    mydocker.start(image, "--name", "db", "--network", net)
    mydocker.start(image, "--name", "web")
    mydocker("network", "connect", "--link", "db:store", net, "web")
    mydocker("exec", "web", "ping", "-c1", "-W5", "store")
    mydocker("network", "disconnect", "bridge", "web")
    refused = mydocker("network", "connect", "--link", "db", "bridge", "web", check=1)
    assert "are made with the container" in refused.err
