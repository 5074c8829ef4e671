"""The flags of ``mydocker run`` about the process: init, signals, stopping, detaching."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from support.command import Runner


def test_init_reaps_and_forwards(mydocker: Runner, image: str) -> None:
    orphan = "(sleep 0.1 & ) ; sleep 0.5; grep -l 'State:.*Z' /proc/[0-9]*/status | wc -l"
    assert mydocker("run", "--rm", "--init", image, "sh", "-c", orphan).line == "0"
    script = "trap 'echo got; exit 7' USR1; echo ready; while :; do sleep 0.05; done"
    container, _ = mydocker.start(image, "--init", command=("sh", "-c", script))
    mydocker.wait_for_log(container, "ready")
    mydocker("kill", "--signal", "USR1", container)
    mydocker.wait_for_log(container, "got")
    assert mydocker.wait_for_exit(container) == 7


def test_stop_signal(mydocker: Runner, image: str) -> None:
    script = "trap 'echo usr1; exit 3' USR1; echo ready; while :; do sleep 0.05; done"
    container, _ = mydocker.start(image, "--stop-signal", "SIGUSR1", command=("sh", "-c", script))
    mydocker.wait_for_log(container, "ready")
    mydocker("stop", container)
    assert mydocker.wait_for_exit(container) == 3
    assert mydocker("logs", container).out == "ready\nusr1\n"


def test_stop_timeout(mydocker: Runner, image: str) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    container, _ = mydocker.start(image, "--stop-timeout", "1", command=("sh", "-c", script))
    mydocker.wait_for_log(container, "ready")
    began = time.monotonic()
    mydocker("stop", container)
    assert 0.9 < time.monotonic() - began < 4
    assert mydocker.wait_for_exit(container) == 137


def test_cidfile(mydocker: Runner, image: str, tmp_path: Path) -> None:
    file = tmp_path / "cid"
    container = mydocker("run", "-d", "--cidfile", str(file), image, "sleep", "1000").line
    assert file.read_text() == container
    again = mydocker("run", "--rm", "--cidfile", str(file), image, "true", check=125)
    assert str(file) in again.err


@pytest.mark.parametrize(("flag", "code"), [("--sig-proxy=true", 9), ("--sig-proxy=false", None)])
def test_sig_proxy(mydocker: Runner, image: str, flag: str, code: int | None) -> None:
    script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    client = mydocker.popen("run", "--name", "flags-proxy", flag, image, "sh", "-c", script)
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(signal.SIGTERM)
    found = client.wait(20)
    client.communicate()
    if code is None:
        assert mydocker.inspect("flags-proxy")["State"]["Running"]
        assert found in (-signal.SIGTERM, 128 + signal.SIGTERM)
    else:
        assert found == code


def test_detach_keys_are_kept(mydocker: Runner, image: str) -> None:
    """The keys are typed in test_terminal; here a malformed list is refused before anything starts."""
    refused = mydocker("run", "--rm", "--detach-keys", "ctrl-nonsense", image, "true", check=125)
    assert "ctrl-nonsense" in refused.err
