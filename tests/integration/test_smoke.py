"""One way through everything, through the forkserver and without it."""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support import leaks
from support.command import Runner

pytestmark = pytest.mark.both_ways


def test_run(mydocker: Runner, image: str) -> None:
    result = mydocker("run", "--rm", image, "sh", "-c", "echo out; echo error >&2; exit 42", check=42)
    assert (result.stdout, result.stderr) == (b"out\n", b"error\n")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 125", 125), ("kill -9 $$", 137)])
def test_exit_status(mydocker: Runner, image: str, script: str, code: int) -> None:
    mydocker("run", "--rm", "--init", image, "sh", "-c", script, check=code)


def test_a_life(mydocker: Runner, image: str) -> None:
    script = "trap 'echo bye; exit 5' TERM; echo hello; while :; do sleep 0.05; done"
    container, pid = mydocker.start(image, "--name", "smoke-life", command=("sh", "-c", script))
    mydocker.wait_for_log("smoke-life", "hello")
    assert Path(f"/proc/{pid}").exists()
    assert mydocker("ps", "-q", "--no-trunc").out.split() == [container]
    row = mydocker("ps", "--filter", "name=smoke-life", "--format", "{{.ID}} {{.Image}} {{.Names}}").line
    assert row == f"{container[:12]} {image} smoke-life"
    assert mydocker("exec", "smoke-life", "cat", "/proc/1/comm").line == "sh"
    mydocker("exec", "smoke-life", "sh", "-c", "exit 9", check=9)
    assert mydocker("exec", "-i", "smoke-life", "cat", stdin=b"given").stdout == b"given"
    mydocker("stop", "smoke-life")
    state = mydocker.inspect("smoke-life")["State"]
    assert (state["Status"], state["ExitCode"], state["Pid"]) == ("exited", 5, 0)
    assert mydocker("logs", "smoke-life").out == "hello\nbye\n"
    assert mydocker("ps", "-q").out == ""
    assert re.search(r"Exited \(5\)", mydocker("ps", "-a").out)
    mydocker("start", "smoke-life")
    assert mydocker.inspect("smoke-life")["State"]["Running"]
    mydocker("kill", "smoke-life")
    assert mydocker.wait_for_exit("smoke-life") == 137
    assert mydocker("rm", "smoke-life").line == "smoke-life"
    assert mydocker.containers() == []


def test_write_layer_survives_a_restart(mydocker: Runner, image: str) -> None:
    script = "cat /kept 2>/dev/null || echo first > /kept"
    mydocker("run", "--name", "smoke-kept", image, "sh", "-c", script)
    assert mydocker("start", "-a", "smoke-kept").line == "first"


def test_large_output_is_whole(mydocker: Runner, image: str) -> None:
    result = mydocker("run", "--rm", image, "sh", "-c", "dd if=/dev/zero bs=64k count=256 2>/dev/null")
    assert result.stdout == bytes(16 << 20)


def test_large_input_is_whole(mydocker: Runner, image: str) -> None:
    data = os.urandom(4 << 20)
    assert mydocker("run", "-i", "--rm", image, "cat", stdin=data).stdout == data


def test_output_ends_when_the_reader_leaves(mydocker: Runner, image: str) -> None:
    """``mydocker run … | head -1``: nobody hangs, and the container is gone."""
    with mydocker.popen("run", "--rm", image, "sh", "-c", "while echo y; do :; done") as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"y\n"
        client.stdout.close()
        assert client.wait(20) != 0
    mydocker.remove_all()


def test_a_pipe_behind_a_detached_run_ends(mydocker: Runner, image: str) -> None:
    """The monitor must not keep the caller's standard output open."""
    done = subprocess.run(
        mydocker.argv("run", "-d", image, "sleep", "1000"),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env=mydocker.env(),
        timeout=20,
        check=True,
    )
    assert done.stderr == b""


def test_many_at_once(mydocker: Runner, image: str) -> None:
    def one(number: int) -> str:
        return mydocker("run", "--rm", image, "echo", str(number)).line

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(40))) == [str(number) for number in range(40)]


def test_one_name_many_claims(mydocker: Runner, image: str) -> None:
    def one(_: int) -> int:
        return mydocker("run", "-d", "--name", "smoke-claim", image, "sleep", "1000", check=False).code

    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(one, range(6)))
    assert sorted(codes) == [0, 125, 125, 125, 125, 125]
    assert len(mydocker.containers()) == 1


def test_no_descriptor_of_ours_inside(mydocker: Runner, image: str) -> None:
    assert mydocker("run", "--rm", image, "ls", "/proc/self/fd").out.split() == ["0", "1", "2", "3"]
    container, pid = mydocker.start(image)
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    assert mydocker("exec", container, "ls", "/proc/self/fd").out.split() == ["0", "1", "2", "3"]


def test_forkserver_is_used_or_not(mydocker: Runner, image: str, forkserver: str) -> None:
    mydocker("run", "--rm", image, "true")
    if forkserver == "1":
        leaks.wait_for_forkserver()
