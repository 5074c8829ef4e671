"""Restart policies as rules: Docker's names, limits, back-off and messages, and what a boot starts."""

from __future__ import annotations

import pytest

from mydocker.container import restart
from mydocker.container.config import Config, HostConfig, RestartPolicy
from mydocker.container.record import Record
from mydocker.container.state import State, Status
from mydocker.errors import InvalidArgument


@pytest.mark.parametrize(
    ("name", "maximum", "code", "count", "wanted"),
    [
        ("", 0, 1, 0, False),
        ("no", 0, 1, 0, False),
        ("always", 0, 0, 99, True),
        ("unless-stopped", 0, 0, 99, True),
        ("on-failure", 0, 0, 0, False),
        ("on-failure", 0, 1, 99, True),
        ("on-failure", 3, 1, 2, True),
        ("on-failure", 3, 1, 3, False),
    ],
)
def test_whether(name: str, maximum: int, code: int, count: int, wanted: bool) -> None:
    assert restart.wanted(RestartPolicy(name=name, maximum_retry_count=maximum), code, count) is wanted


def test_the_wait_doubles_up_to_a_minute() -> None:
    waits = [0.0]
    for _ in range(12):
        waits.append(restart.delay(waits[-1], 0.01))
    assert waits[1:6] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert waits[-2:] == [60.0, 60.0]


def test_a_run_of_ten_seconds_begins_anew() -> None:
    assert restart.delay(60.0, 9.9) == 60.0
    assert restart.delay(60.0, 10.0) == 0.1


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            RestartPolicy(name="sometimes"),
            "invalid restart policy: unknown policy 'sometimes'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'",
        ),
        (
            RestartPolicy(name="always", maximum_retry_count=3),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            RestartPolicy(name="no", maximum_retry_count=-1),
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be "
            "negative",
        ),
        (
            RestartPolicy(name="on-failure", maximum_retry_count=-1),
            "invalid restart policy: maximum retry count cannot be negative",
        ),
    ],
)
def test_refusals(policy: RestartPolicy, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        restart.check(policy)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "state", "starts"),
    [
        ("always", State(status=Status.EXITED, started_at="2024-01-01T00:00:00Z"), True),
        (
            "always",
            State(status=Status.EXITED, started_at="2024-01-01T00:00:00Z", stopped_by_hand=True),
            True,
        ),
        ("always", State(), False),
        ("always", State(status=Status.EXITED), False),
        ("always", State(status=Status.RUNNING, started_at="2024-01-01T00:00:00Z"), False),
        ("unless-stopped", State(status=Status.EXITED, started_at="2024-01-01T00:00:00Z"), True),
        (
            "unless-stopped",
            State(status=Status.EXITED, started_at="2024-01-01T00:00:00Z", stopped_by_hand=True),
            False,
        ),
        ("on-failure", State(status=Status.EXITED, exit_code=1, started_at="2024-01-01T00:00:00Z"), False),
        ("no", State(status=Status.EXITED, started_at="2024-01-01T00:00:00Z"), False),
    ],
)
def test_what_a_boot_starts(name: str, state: State, starts: bool) -> None:
    host = HostConfig(restart_policy=RestartPolicy(name=name))
    record = Record(id="0" * 64, created="", path="", args=[], name="", config=Config(), host_config=host)
    assert restart.starts_at_boot(record, state) is starts
