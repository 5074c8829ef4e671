"""Health checks of real containers: what ``inspect``, ``ps`` and ``events`` show, and what is done then."""

from __future__ import annotations

import time
from typing import Any

import pytest

from support.command import Runner
from support.waiting import wait_until

OFTEN = ("--health-interval", "50ms")


def health(mydocker: Runner, container: str) -> dict[str, Any]:
    found: dict[str, Any] = mydocker.inspect(container)["State"]["Health"]
    return found


def becomes(mydocker: Runner, container: str, status: str) -> dict[str, Any]:
    wait_until(lambda: bool(health(mydocker, container)["Status"] == status))
    return health(mydocker, container)


@pytest.mark.both_ways
def test_from_starting_to_unhealthy_and_back(mydocker: Runner, image: str) -> None:
    check = "echo looked; test -e /ok"
    container, _ = mydocker.start(image, *OFTEN, "--health-cmd", check, "--health-retries", "2")
    asked = mydocker.inspect(container)["Config"]["Healthcheck"]
    assert asked == {"Test": ["CMD-SHELL", check], "Interval": 50_000_000, "Retries": 2}
    found = becomes(mydocker, container, "unhealthy")
    assert found["FailingStreak"] >= 2
    assert {(each["ExitCode"], each["Output"]) for each in found["Log"]} == {(1, "looked\n")}
    assert mydocker("ps", "--format", "{{.Status}}").line.endswith(" (unhealthy)")
    mydocker("exec", container, "touch", "/ok")
    found = becomes(mydocker, container, "healthy")
    assert found["FailingStreak"] == 0
    wait_until(lambda: len(health(mydocker, container)["Log"]) == 5)
    assert mydocker("ps", "--format", "{{.Status}}").line.endswith(" (healthy)")
    for value, ids in (("healthy", [container[:12]]), ("unhealthy", []), ("none", [])):
        assert mydocker("ps", "-q", "--filter", f"health={value}").out.split() == ids
    mydocker("stop", "-t", "0", container)
    assert health(mydocker, container)["Status"] == "unhealthy"
    said = mydocker(
        "events", "--since", "1h", "--until", "0s", "--filter", f"container={container}", "--format",
        "{{.Action}}",
    ).out  # fmt: skip
    assert [line for line in said.splitlines() if line.startswith("health_status")] == [
        "health_status: unhealthy",
        "health_status: healthy",
    ]
    assert f"exec_start: /bin/sh -c {check}\n" in said


def test_before_the_first_result(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image, "--health-cmd", "true")
    assert health(mydocker, container) == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert mydocker("ps", "--format", "{{.Status}}").line.endswith(" (health: starting)")
    plain, _ = mydocker.start(image)
    assert "Health" not in mydocker.inspect(plain)["State"]
    assert mydocker("ps", "-q", "--no-trunc", "--filter", "health=none").line == plain


def test_the_image_s_check_and_none(mydocker: Runner, image: str) -> None:
    check = (*OFTEN, "--health-retries", "7", "--health-cmd", "echo from-image")
    source = mydocker("create", *check, image, "true").line
    mydocker("commit", source, "checked:test")
    container, _ = mydocker.start("checked:test", "--health-retries", "2")
    assert becomes(mydocker, container, "healthy")["Log"][0]["Output"] == "from-image\n"
    assert mydocker.inspect(container)["Config"]["Healthcheck"]["Retries"] == 2
    without, _ = mydocker.start("checked:test", "--no-healthcheck")
    assert mydocker.inspect(without)["Config"]["Healthcheck"]["Test"] == ["NONE"]
    assert "Health" not in mydocker.inspect(without)["State"]
    mydocker.remove_all()
    mydocker("rmi", "checked:test")


def test_a_check_that_hangs_or_cannot_start(mydocker: Runner, image: str) -> None:
    hangs, _ = mydocker.start(
        image, *OFTEN, "--health-cmd", "echo so far; sleep 1000", "--health-timeout", "100ms"
    )
    found = becomes(mydocker, hangs, "unhealthy")
    assert found["Log"][0]["ExitCode"] == -1
    # on a busy machine a check may be over before its shell has come to say anything
    wanted = "Health check exceeded timeout (100ms): so far\n"
    wait_until(lambda: wanted in [each["Output"] for each in health(mydocker, hangs)["Log"]])
    gone, _ = mydocker.start(image, *OFTEN, "--health-cmd", "true", command=("sleep", "1000"))
    mydocker("exec", gone, "mv", "/bin/sh", "/bin/away")
    found = becomes(mydocker, gone, "unhealthy")
    assert found["Log"][-1]["ExitCode"] == -1
    assert "/bin/sh" in found["Log"][-1]["Output"]


def test_failures_of_the_start_period_do_not_count(mydocker: Runner, image: str) -> None:
    """The interval is that of the start period: without, the first look would be after an hour."""
    container, _ = mydocker.start(
        image, "--health-cmd", "test -e /ok", "--health-retries", "1", "--health-interval", "1h",
        "--health-start-period", "1h", "--health-start-interval", "20ms",
    )  # fmt: skip
    wait_until(lambda: len(health(mydocker, container)["Log"]) >= 3)
    found = health(mydocker, container)
    assert (found["Status"], found["FailingStreak"]) == ("starting", 0)
    assert {each["ExitCode"] for each in found["Log"]} == {1}
    mydocker("exec", container, "touch", "/ok")
    assert becomes(mydocker, container, "healthy")["Log"][-1]["ExitCode"] == 0


def test_it_does_not_hold_up_the_container(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image, "--health-interval", "10ms", "--health-cmd", "sleep 1000")
    time.sleep(0.2)
    assert mydocker("exec", container, "echo", "free").line == "free"
    mydocker("stop", "-t", "0", container)


@pytest.mark.parametrize(
    ("action", "code", "restarts"), [("kill", 137, False), ("stop", 9, False), ("restart", 9, True)]
)
def test_what_is_done_about_it(mydocker: Runner, image: str, action: str, code: int, restarts: bool) -> None:
    # each start has a /dev/shm of its own
    script = "trap 'exit 9' TERM; touch /dev/shm/set; while :; do sleep 0.05; done"
    check = "test ! -e /dev/shm/set -o -e /ok"
    container, _ = mydocker.start(
        image, *OFTEN, "--health-cmd", check, "--health-retries", "1", "--health-on-failure", action,
        command=("sh", "-c", script),
    )  # fmt: skip
    if not restarts:
        assert mydocker.wait_for_exit(container) == code
        return
    wait_until(lambda: bool(mydocker.inspect(container)["RestartCount"] >= 1))
    wait_until(lambda: mydocker("exec", container, "touch", "/ok", check=False).code == 0)
    becomes(mydocker, container, "healthy")
    mydocker("stop", container)
    said = mydocker(
        "events", "--since", "1h", "--until", "0s", "--filter", f"container={container}",
        "--filter", "event=die", "--format", "{{.Actor.Attributes.exitCode}}",
    ).out  # fmt: skip
    assert int(said.split()[0]) == code


def test_stop_has_the_last_word_over_the_policy_and_kill_has_not(mydocker: Runner, image: str) -> None:
    flags = (*OFTEN, "--health-cmd", "false", "--health-retries", "1", "--restart", "always")
    stopped, _ = mydocker.start(image, *flags, "--stop-timeout", "0", "--health-on-failure", "stop")
    assert mydocker.wait_for_exit(stopped) == 137
    assert mydocker.inspect(stopped)["RestartCount"] == 0
    killed, _ = mydocker.start(image, *flags, "--health-on-failure", "kill")
    wait_until(lambda: bool(mydocker.inspect(killed)["RestartCount"] >= 2))


def test_a_paused_one_is_not_looked_at(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image, *OFTEN, "--health-cmd", "true")
    becomes(mydocker, container, "healthy")
    mydocker("pause", container)
    before = health(mydocker, container)
    time.sleep(0.3)
    assert health(mydocker, container) == before
    mydocker("unpause", container)
    wait_until(lambda: health(mydocker, container) != before)
    assert health(mydocker, container)["Status"] == "healthy"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--no-healthcheck", "--health-cmd", "x"), "--no-healthcheck conflicts with --health-* options"),
        (("--health-interval", "-1s"), "--health-interval cannot be negative"),
        (("--health-cmd", "x", "--health-timeout", "1ns"), "Timeout in Healthcheck cannot be less than 1ms"),
        (("--health-interval", "soon"), 'time: invalid duration "soon"'),
        (("--health-on-failure", "kill"), "cannot set on-failure action to kill without a health check"),
        (("--health-cmd", "x", "--health-on-failure", "cry"), "invalid action on health failure: cry"),
    ],
)
def test_refusals(mydocker: Runner, image: str, flags: tuple[str, ...], message: str) -> None:
    assert message in mydocker("run", *flags, image, "true", check=125).err
    assert mydocker.containers() == []
