"""Log drivers and their options on real containers."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.command import Runner

MANY = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done"
SLOWLY = MANY.replace("echo", "[ $((i % 200)) = 0 ] && usleep 50000; echo")


def log_files(mydocker: Runner, container: str) -> dict[str, int]:
    directory = f"{mydocker.root}/container/{container}"
    found = [name for name in os.listdir(directory) if name.startswith("log")]
    return {name: os.stat(f"{directory}/{name}").st_size for name in found}


@pytest.mark.both_ways
@pytest.mark.parametrize("compress", ["false", "true"])
def test_rotation(mydocker: Runner, image: str, compress: str) -> None:
    options = ("--log-opt", "max-size=20k", "--log-opt", "max-file=3", "--log-opt", f"compress={compress}")
    container = mydocker("run", "-d", *options, image, "sh", "-c", SLOWLY + "; sleep 1000").line
    mydocker.wait_for_log(container, "line 1999\n")
    found = mydocker("logs", container).out.splitlines()
    assert found == [f"line {number}" for number in range(2000 - len(found), 2000)]
    assert 300 < len(found) < 2000
    assert mydocker("logs", "-n", "450", container).out.splitlines() == found[-450:]
    assert {"log", "log.1"} <= {name.removesuffix(".gz") for name in log_files(mydocker, container)}
    shown = mydocker.inspect(container)["HostConfig"]["LogConfig"]
    assert shown == {
        "Type": "json-file",
        "Config": {"max-size": "20k", "max-file": "3", "compress": compress},
    }
    mydocker("rm", "-f", container)
    assert mydocker.containers() == []


def test_a_follower_over_rotations(mydocker: Runner, image: str) -> None:
    """In parts, each of them more than one file and less than all: a follower that is late misses nothing."""
    script = """
        for part in 0 1 2 3 4 5; do
            tries=0
            until [ -e /go-$part ] || [ $tries = 1000 ]; do usleep 20000; tries=$((tries+1)); done
            i=0
            while [ $i -lt 60 ]; do echo line $part $i; i=$((i+1)); done
        done
    """
    options = ("--log-opt", "max-size=4k", "--log-opt", "max-file=5")
    container = mydocker("run", "-d", *options, image, "sh", "-c", script).line
    with mydocker.popen("logs", "-f", container, stdin=subprocess.DEVNULL) as follower:
        assert follower.stdout is not None
        for part in range(6):
            mydocker("exec", container, "touch", f"/go-{part}")
            for number in range(60):
                assert follower.stdout.readline() == b"line %d %d\n" % (part, number)
        assert follower.stdout.read() == b""
    assert len(log_files(mydocker, container)) == 5


def test_clear(mydocker: Runner, image: str) -> None:
    identifier = mydocker("run", "-d", "--log-opt", "max-size=4k", image, "sh", "-c", MANY).line
    mydocker.wait_for_exit(identifier)
    assert mydocker("logs", identifier).out.endswith("line 1999\n")
    mydocker("logs", "--clear", identifier)
    assert mydocker("logs", identifier).out == ""
    assert set(log_files(mydocker, identifier)) == {"log"}
    script = "echo before; while [ ! -e /go ]; do sleep 0.05; done; echo after; sleep 1000"
    running = mydocker("run", "-d", image, "sh", "-c", script).line
    mydocker.wait_for_log(running, "before\n")
    mydocker("logs", "--clear", running)
    mydocker("exec", running, "touch", "/go")
    mydocker.wait_for_log(running, "after\n")
    assert mydocker("logs", running).out == "after\n"


def test_details(mydocker: Runner, image: str) -> None:
    flags = ("--label", "team=a b", "-e", "MODE=fast", "--name", "told")
    options = ("--log-opt", "labels=team", "--log-opt", "env=MODE", "--log-opt", "tag={{.Name}}")
    mydocker("run", *flags, *options, image, "echo", "hello")
    assert mydocker("logs", "--details", "told").out == "MODE=fast,tag=told,team=a+b hello\n"
    assert mydocker("logs", "told").out == "hello\n"


def test_none_and_local(mydocker: Runner, image: str) -> None:
    silent = mydocker("run", "--log-driver", "none", "--name", "silent", image, "echo", "x")
    assert silent.out == "x\n"
    refused = mydocker("logs", "silent", check=1).err
    assert "configured logging driver does not support reading" in refused
    mydocker("run", "--log-driver", "local", "--name", "here", image, "echo", "x")
    assert mydocker("logs", "here").out == "x\n"
    assert mydocker.inspect("here")["LogPath"] == ""


@pytest.fixture
def datagrams(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "log"))
        server.settimeout(10)
        yield server


def test_syslog_to_a_socket(mydocker: Runner, image: str, datagrams: socket.socket) -> None:
    options = ("--log-opt", f"syslog-address=unixgram://{datagrams.getsockname()}", "--log-opt", "tag=web")
    said = mydocker(
        "run", "--name", "sends", "--log-driver", "syslog", *options, "--log-opt", "syslog-facility=local1",
        image, "sh", "-c", "echo one; echo two >&2",
    )  # fmt: skip
    assert (said.out, said.err) == ("one\n", "two\n")
    found = sorted(datagrams.recv(4096).decode() for _ in range(2))
    assert [each.partition(">")[0] for each in found] == ["<139", "<142"]
    assert [each.rpartition("]: ")[2] for each in found] == ["two\n", "one\n"]
    assert all(" web[" in each for each in found)
    assert mydocker("logs", "sends").out == "one\n"


def test_syslog_by_udp(mydocker: Runner, image: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        address = f"syslog-address=udp://127.0.0.1:{server.getsockname()[1]}"
        mydocker("run", "--rm", "--log-driver", "syslog", "--log-opt", address, image, "echo", "hello")
        assert server.recv(4096).endswith(b"]: hello\n")


def test_nobody_listens(mydocker: Runner, image: str, tmp_path: Path) -> None:
    address = f"syslog-address=unix://{tmp_path}/none"
    refused = mydocker(
        "run", "--rm", "--log-driver", "syslog", "--log-opt", address, image, "true", check=False
    )
    assert "failed to initialize logging driver" in refused.err
    assert mydocker.containers() == []


def test_one_that_listens_and_does_not_take_it(mydocker: Runner, image: str, tmp_path: Path) -> None:
    """The container is not held up, and neither is anybody who stops it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "log"))
        server.listen()
        options = ("--log-opt", f"syslog-address=unix://{tmp_path}/log", "--log-opt", "mode=non-blocking")
        container = mydocker(
            "run", "-d", "--log-driver", "syslog", *options, "--log-opt", "max-buffer-size=64k",
            image, "sh", "-c", "yes | head -c 5000000; touch /done; sleep 1000",
        ).line  # fmt: skip
        end = time.monotonic() + 20
        while mydocker("exec", container, "test", "-e", "/done", check=False).code:
            assert time.monotonic() < end, "the container waits for its log"
            time.sleep(0.05)
        mydocker("rm", "-f", container)


@pytest.fixture
def journal() -> Iterator[socket.socket]:
    """A journal of the test's own, in place of the machine's: the session has mounts of its own."""
    made = not os.path.isdir("/run/systemd")
    if made:
        os.mkdir("/run/systemd")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run/systemd"], check=True)
    os.mkdir("/run/systemd/journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("/run/systemd/journal/socket")
        server.settimeout(10)
        yield server
    subprocess.run(["umount", "/run/systemd"], check=True)
    if made:
        os.rmdir("/run/systemd")


def test_journald(mydocker: Runner, image: str, journal: socket.socket) -> None:
    flags = ("--name", "journaled", "--label", "com.team=x", "--log-opt", "labels=com.team")
    mydocker("run", "--log-driver", "journald", *flags, image, "sh", "-c", "printf 'one\\ntwo'")
    first, second = (journal.recv(65536).decode() for _ in range(2))
    fields = dict(line.split("=", 1) for line in first.splitlines())
    identifier = mydocker.inspect("journaled")["Id"]
    assert fields == {
        "MESSAGE": "one",
        "PRIORITY": "6",
        "CONTAINER_ID": identifier[:12],
        "CONTAINER_ID_FULL": identifier,
        "CONTAINER_NAME": "journaled",
        "CONTAINER_TAG": identifier[:12],
        "IMAGE_NAME": image,
        "SYSLOG_IDENTIFIER": identifier[:12],
        "COM_TEAM": "x",
    }
    assert "CONTAINER_PARTIAL_MESSAGE=true\n" in second
    assert mydocker("logs", "journaled").out == "one\ntwo"


def test_a_log_that_cannot_be_written_kills_nobody(mydocker: Runner, image: str) -> None:
    script = "until [ -e /go ]; do sleep 0.05; done; echo lost; sleep 0.3; echo more; exit 6"
    container = mydocker("run", "-d", image, "sh", "-c", script).line
    log = f"{mydocker.root}/container/{container}/log"
    os.mkdir(log)
    mydocker("exec", container, "touch", "/go")
    assert mydocker("wait", container).line == "6"
    os.rmdir(log)
    assert mydocker("start", "-a", container, check=6).out == "lost\nmore\n"
    assert mydocker("logs", container).out == "lost\nmore\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--log-driver", "nope"), 'error looking up logging plugin nope: plugin "nope" not found'),
        (("--log-opt", "nope=1"), "unknown log opt 'nope' for json-file log driver"),
        (("--log-opt", "nope"), "unknown log opt 'nope' for json-file log driver"),
    ],
)
def test_refusals(mydocker: Runner, image: str, flags: tuple[str, ...], message: str) -> None:
    assert message in mydocker("run", *flags, image, "true", check=125).err
    assert mydocker.containers() == []
