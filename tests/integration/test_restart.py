"""Restart policies, ``system start`` after a boot, and ``--timeout``: what happens to real containers."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from support import leaks
from support.command import Runner
from support.waiting import wait_until


def status(mydocker: Runner, container: str) -> str:
    found: str = mydocker.inspect(container)["State"]["Status"]
    return found


def count(mydocker: Runner, container: str) -> int:
    found: int = mydocker.inspect(container)["RestartCount"]
    return found


@pytest.mark.both_ways
def test_on_failure_as_often_as_it_says(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", "--restart", "on-failure:2", image, "sh", "-c", "echo run; exit 3").line
    assert mydocker("wait", container).line == "3"
    shown = mydocker.inspect(container)
    assert (shown["RestartCount"], shown["State"]["Status"], shown["State"]["ExitCode"]) == (2, "exited", 3)
    assert shown["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert mydocker("logs", container).out == "run\n" * 3
    actions = mydocker(
        "events", "--since", "1h", "--until", "0s", "--filter", f"container={container}", "--format",
        "{{.Action}}",
    ).out.split()  # fmt: skip
    assert actions == ["create", "start", "die", "start", "die", "start", "die"]


def test_success_is_no_failure(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", "--restart", "on-failure", image, "true").line
    assert mydocker("wait", container).line == "0"
    assert count(mydocker, container) == 0


def test_it_keeps_its_files_and_sees_its_input_end(mydocker: Runner, image: str) -> None:
    """The clients stay for all runs."""
    script = "cat; echo x >> /count; test $(wc -l < /count) = 3"
    said = mydocker("run", "-i", "--restart", "on-failure", image, "sh", "-c", script, stdin=b"typed\n")
    assert said.out == "typed\n"
    assert said.code == 0


def test_always_until_it_is_stopped(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", "--restart", "always", image, "sh", "-c", "exit 5").line
    wait_until(lambda: count(mydocker, container) >= 4)
    wait_until(lambda: status(mydocker, container) == "restarting")
    shown = mydocker.inspect(container)["State"]
    if shown["Status"] == "restarting":
        assert (shown["Running"], shown["Restarting"], shown["Pid"], shown["ExitCode"]) == (True, True, 0, 5)
    listed = mydocker("ps", "--format", "{{.Status}}").line
    assert listed.startswith(("Restarting (5) ", "Up "))
    refused = mydocker("rm", container, check=1).err
    assert "stop the container before removing or force remove" in refused
    mydocker("stop", container)
    before = mydocker.inspect(container)
    assert before["State"]["Status"] == "exited"
    time.sleep(0.3)
    assert mydocker.inspect(container)["RestartCount"] == before["RestartCount"]
    assert status(mydocker, container) == "exited"


def test_what_cannot_be_done_while_it_waits(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", "--restart", "always", image, "false").line
    wait_until(lambda: count(mydocker, container) >= 5)
    wait_until(lambda: status(mydocker, container) == "restarting")
    waiting = f"Container {container} is restarting, wait until the container is running"
    asked = (
        ("exec", container, "true"),
        ("pause", container),
        ("top", container),
        ("cp", f"{container}:/etc", "-"),
    )
    for command in asked:
        assert waiting in mydocker(*command, check=1).err
    assert "cannot attach to a restarting container" in mydocker("attach", container, check=1).err
    assert mydocker("stats", "--no-stream", "--format", "{{.PIDs}}", container).line == "0"
    mydocker("rm", "-f", container)
    assert mydocker.containers() == []


@pytest.mark.both_ways
def test_a_running_one_that_is_stopped_stays_so(mydocker: Runner, image: str) -> None:
    for verb in (("stop", "-t", "0"), ("kill",)):
        container, _ = mydocker.start(image, "--restart", "always")
        mydocker(*verb, container)
        assert mydocker.wait_for_exit(container) == 137
        assert count(mydocker, container) == 0


def test_one_that_dies_of_another_signal_is_started_again(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image, "--restart", "unless-stopped")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: count(mydocker, container) == 1)
    wait_until(lambda: status(mydocker, container) == "running")
    assert mydocker.inspect(container)["State"]["Pid"] not in (0, pid)
    assert mydocker("exec", container, "echo", "here").line == "here"
    mydocker("restart", "-t", "0", container)
    assert count(mydocker, container) == 0


def test_a_restart_that_fails_ends_it(mydocker: Runner, image: str) -> None:
    mydocker("run", "-d", "--restart", "always", "--entrypoint", "/go", image, check=127)
    script = "cp /bin/busybox /tool; mv /bin/sh /bin/sh.away; exit 1"
    container = mydocker("run", "-d", "--restart", "always", image, "/bin/sh", "-c", script).line
    assert mydocker("wait", container).line == "127"
    shown = mydocker.inspect(container)["State"]
    assert shown["Status"] == "exited"
    assert "/bin/sh" in shown["Error"]


def test_update_changes_the_policy(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image)
    mydocker("update", "--restart", "on-failure:1", container)
    policy = mydocker.inspect(container)["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 1}
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: count(mydocker, container) == 1)
    mydocker("update", "--restart", "no", container)
    wait_until(lambda: status(mydocker, container) == "running")
    os.kill(mydocker.inspect(container)["State"]["Pid"], signal.SIGKILL)
    assert mydocker.wait_for_exit(container) == 137
    assert count(mydocker, container) == 1
    itself, _ = mydocker.start(image, "--rm")
    refused = mydocker("update", "--restart", "always", itself, check=1).err
    assert "Restart policy cannot be updated because AutoRemove is enabled for the container" in refused


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--rm", "--restart", "always"), "conflicting options: cannot specify both --restart and --rm"),
        (("--restart", "sometimes"), "invalid restart policy: unknown policy 'sometimes'"),
        (("--restart", ":3"), "invalid restart policy format: no policy provided before colon"),
        (("--restart", "on-failure:x"), "maximum retry count must be an integer"),
        (("--restart", "always:3"), "maximum retry count can only be used with 'on-failure'"),
        (("--timeout", "-1"), "invalid timeout: -1"),
    ],
)
def test_refusals(mydocker: Runner, image: str, flags: tuple[str, ...], message: str) -> None:
    assert message in mydocker("run", *flags, image, "true", check=125).err
    assert mydocker.containers() == []


def test_a_timeout_stops_it(mydocker: Runner, image: str) -> None:
    script = "trap 'echo asked; exit 4' TERM; while :; do sleep 0.1; done"
    said = mydocker("run", "--rm", "--timeout", "1", image, "sh", "-c", script, check=4)
    assert said.out == "asked\n"
    deaf = mydocker("run", "--rm", "--timeout", "1", "--stop-timeout", "0", image, "sleep", "1000", check=137)
    assert deaf.out == ""


def test_it_survives_all_of_ours_but_its_monitor(mydocker: Runner, image: str) -> None:
    """Launcher, worker and forkserver are gone; the monitor alone keeps the promise."""
    container, pid = mydocker.start(image, "--restart", "always", "--health-cmd", "true",
                                    "--health-interval", "50ms")  # fmt: skip
    for victim in leaks.forkservers():
        _kill(victim)
    wait_until(lambda: not leaks.forkservers())
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: count(mydocker, container) == 1)
    wait_until(lambda: mydocker.inspect(container)["State"].get("Health", {}).get("Status") == "healthy")
    assert mydocker("exec", container, "echo", "here").line == "here"


@pytest.fixture
def booted(fresh: Runner, busybox_tar: str) -> Iterator[Callable[[], None]]:
    """A reboot: nothing of ours runs any more, and what is under <state> is gone. Called by the test."""
    fresh("import", busybox_tar, "busybox:test")

    def reboot() -> None:
        running = fresh("ps", "-q", "--no-trunc").out.split()
        inits = [fresh.inspect(container)["State"]["Pid"] for container in running]
        monitors = [pid for pid in leaks.pids() if _monitors(pid, fresh.state)]
        for pid in (*monitors, *inits, *leaks.forkservers()):
            _kill(pid)
        wait_until(lambda: not any(_monitors(pid, fresh.state) for pid in leaks.pids()))
        shutil.rmtree(fresh.state)

    yield reboot
    fresh.remove_all()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):  # it dies with one that has just been killed
        os.kill(pid, signal.SIGKILL)


def _monitors(pid: int, state: str) -> bool:
    return any(each.startswith(f"{state}/container/") for each in leaks.descriptors(pid))


def test_what_a_boot_starts(fresh: Runner, booted: Callable[[], None]) -> None:
    def sleeper(name: str, policy: str, *flags: str) -> None:
        fresh("run", "-d", "--name", name, "--restart", policy, *flags, "busybox:test", "sleep", "1000")

    sleeper("first", "always")
    sleeper("joins", "always", "--pid", "container:first")
    sleeper("kept", "unless-stopped")
    sleeper("halted", "unless-stopped")
    sleeper("failing", "on-failure")
    sleeper("plain", "no")
    fresh("create", "--name", "never", "--restart", "always", "busybox:test", "sleep", "1000")
    fresh("stop", "-t", "0", "halted")
    booted()
    assert set(fresh("ps", "--format", "{{.Names}}").out.split()) == set()
    assert fresh("system", "start").out.split() == ["first", "kept", "joins"]
    assert set(fresh("ps", "--format", "{{.Names}}").out.split()) == {"first", "joins", "kept"}
    assert fresh("system", "start").out == ""
    assert fresh("system", "check").out.endswith("no faults\n")
    assert fresh("system", "unit").out.count("ExecStart=/usr/bin/env mydocker system start\n") == 1
