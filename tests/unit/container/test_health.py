"""Health checks as rules: what is run, when, what results add up to, and Docker's refusals."""

from __future__ import annotations

import pytest

from mydocker.container import health
from mydocker.container.config import Config, HostConfig
from mydocker.container.state import Health, HealthResult, State, Status
from mydocker.errors import InvalidArgument
from mydocker.image.documents import Healthcheck
from mydocker.monitor.timestamp import rfc3339

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("test", "command"),
    [
        (None, []),
        ([], []),
        (["NONE"], []),
        (["CMD", "curl", "-f", "x"], ["curl", "-f", "x"]),
        (["CMD-SHELL", "curl -f x"], ["/bin/sh", "-c", "curl -f x"]),
        (["UNKNOWN", "x"], []),
    ],
)
def test_what_is_run(test: list[str] | None, command: list[str]) -> None:
    config = Config(healthcheck=Healthcheck(test=test))
    assert health.command(config) == command
    assert (health.schedule(config) is None) == (not command)
    assert (health.begun(config, None) is None) == (not command)


def test_docker_s_defaults_of_time() -> None:
    found = health.schedule(Config(healthcheck=Healthcheck(test=["CMD", "true"])))
    assert found is not None
    assert (found.interval, found.timeout, found.start_period, found.start_interval) == (30, 30, 0, 5)


def follow(asked: Healthcheck, *results: tuple[float, int]) -> list[tuple[str, int]]:
    """Status and streak after each result, given as seconds after the start and exit code."""
    config = Config(healthcheck=asked)
    state = State(status=Status.RUNNING, started_at=rfc3339(SECOND), health=health.begun(config, None))
    found = []
    for at, code in results:
        instant = rfc3339(SECOND + int(at * SECOND))
        result = HealthResult(start=instant, end=instant, exit_code=code, output="")
        after = health.judged(config, state, result)
        state = state.to(Status.PAUSED, health=after).to(Status.RUNNING)
        found.append((after.status, after.failing_streak))
    return found


def test_three_failures_in_a_row_are_too_many() -> None:
    assert follow(Healthcheck(test=["CMD", "x"]), (1, 1), (2, 0), (3, 1), (4, 2), (5, -1), (6, 0)) == [
        ("starting", 1),
        ("healthy", 0),
        ("healthy", 1),
        ("healthy", 2),
        ("unhealthy", 3),
        ("healthy", 0),
    ]


def test_in_the_start_period_failures_do_not_count_before_the_first_success() -> None:
    asked = Healthcheck(test=["CMD", "x"], start_period=10 * SECOND, retries=2)
    assert follow(asked, (1, 1), (9, 1), (10, 1), (11, 1)) == [
        ("starting", 0),
        ("starting", 0),
        ("starting", 1),
        ("unhealthy", 2),
    ]
    assert follow(asked, (1, 0), (2, 1), (3, 1))[-1] == ("unhealthy", 2)


def test_the_last_five_results_are_kept() -> None:
    config = Config(healthcheck=Healthcheck(test=["CMD", "x"]))
    state = State(status=Status.RUNNING, started_at=rfc3339(SECOND))
    for number in range(7):
        result = HealthResult(start=rfc3339(SECOND), end=rfc3339(SECOND), exit_code=number, output="")
        state = State(status=Status.RUNNING, started_at=state.started_at,
                      health=health.judged(config, state, result))  # fmt: skip
    assert state.health is not None
    assert [each.exit_code for each in state.health.log] == [2, 3, 4, 5, 6]


def test_the_users_over_the_image_s() -> None:
    image = Healthcheck(
        test=["CMD", "image"], interval=5, timeout=6, start_period=7, start_interval=8, retries=9
    )
    own = Healthcheck(interval=50, retries=90)
    assert health.merged(own, image) == Healthcheck(
        test=["CMD", "image"], interval=50, timeout=6, start_period=7, start_interval=8, retries=90
    )
    assert health.merged(None, image) == image
    assert health.merged(own, None) == own
    assert health.command(Config(healthcheck=health.merged(Healthcheck(test=["NONE"]), image))) == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Healthcheck(interval=999_999), "Interval in Healthcheck cannot be less than 1ms"),
        (Healthcheck(timeout=1), "Timeout in Healthcheck cannot be less than 1ms"),
        (Healthcheck(start_period=-1), "StartPeriod in Healthcheck cannot be less than 1ms"),
        (Healthcheck(start_interval=1), "StartInterval in Healthcheck cannot be less than 1ms"),
        (Healthcheck(retries=-1), "Retries in Healthcheck cannot be negative"),
    ],
)
def test_refusals(asked: Healthcheck, message: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{message}$"):
        health.check(asked)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("panic", r"^invalid action on health failure: panic \(use none, kill, restart, stop\)$"),
        ("kill", "^cannot set on-failure action to kill without a health check$"),
    ],
)
def test_refused_actions(action: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        health.check_action(Config(), HostConfig(health_on_failure=action))


def test_the_words_of_ps() -> None:
    assert [health.shown(Health(status=each)) for each in ("starting", "healthy", "unhealthy")] == [
        "health: starting",
        "healthy",
        "unhealthy",
    ]
