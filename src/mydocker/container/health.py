"""Health checks: what to run, how often, and what a result means (moby, ``daemon/health.go``).

    starting ──success──► healthy ◄──success── unhealthy
        └──── retries failures in a row ──────────►┘

Failures do not count in the start period, until the first success. The last five results are kept. When a
container is found unhealthy, ``--health-on-failure`` may act, which is not docker's: ``kill`` and ``restart``
it, or ``stop`` it as by hand.

``<state>/container/<id>/health.json`` has that of one that runs (``Store.write_health``): it changes
often, and needs to survive nothing. Out of scope: running the command and the timers (``monitor/health.py``).
"""

from __future__ import annotations

import msgspec

from ..errors import InvalidArgument
from ..image.documents import Healthcheck
from ..monitor.plan import HealthSchedule
from ..monitor.timestamp import parse_rfc3339
from .config import Config, HostConfig
from .state import Health, HealthResult, State

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"
ON_FAILURE = ("none", "kill", "restart", "stop")

_SECOND = 1_000_000_000
_INTERVAL = _TIMEOUT = 30 * _SECOND
_START_INTERVAL = 5 * _SECOND
_RETRIES = 3
_KEPT = 5
_LEAST = 1_000_000
"""nanoseconds; Docker's ``MinimumDuration``"""


def command(config: Config) -> list[str]:
    """What to run in the container; empty if there is no check."""
    test = config.healthcheck.test if config.healthcheck is not None else None
    if not test:
        return []
    kind, *words = test
    if kind == "CMD":
        return words
    return ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else []


def schedule(config: Config) -> HealthSchedule | None:
    """When to run it, in seconds; None if there is no check."""
    if not command(config):
        return None
    asked = config.healthcheck or Healthcheck()
    return HealthSchedule(
        interval=(asked.interval or _INTERVAL) / _SECOND,
        timeout=(asked.timeout or _TIMEOUT) / _SECOND,
        start_period=asked.start_period / _SECOND,
        start_interval=(asked.start_interval or _START_INTERVAL) / _SECOND,
    )


def begun(config: Config, before: Health | None) -> Health | None:
    """The health of a container that has just been started."""
    if not command(config):
        return None
    return Health(status=STARTING, log=before.log if before is not None else [])


def judged(config: Config, state: State, result: HealthResult) -> Health:
    """The health after one more result."""
    health = state.health or Health(status=STARTING)
    asked = config.healthcheck or Healthcheck()
    log = [*health.log[1 - _KEPT :], result]
    if result.exit_code == 0:
        return Health(status=HEALTHY, log=log)
    status, streak = health.status, health.failing_streak
    running = parse_rfc3339(result.start) - parse_rfc3339(state.started_at)
    if status != STARTING or running >= asked.start_period:
        streak += 1
        if streak >= (asked.retries or _RETRIES):
            status = UNHEALTHY
    return Health(status=status, failing_streak=streak, log=log)


def ended(health: Health | None) -> Health | None:
    """Nobody looks any more, which Docker shows as unhealthy."""
    return msgspec.structs.replace(health, status=UNHEALTHY) if health is not None else None


def shown(health: Health) -> str:
    """In brackets after ``Up 5 minutes``."""
    return "health: starting" if health.status == STARTING else health.status


def merged(own: Healthcheck | None, image: Healthcheck | None) -> Healthcheck | None:
    """The user's, and what that leaves out the image's."""
    if own is None or image is None:
        return own or image
    return Healthcheck(
        test=own.test or image.test,
        interval=own.interval or image.interval,
        timeout=own.timeout or image.timeout,
        start_period=own.start_period or image.start_period,
        start_interval=own.start_interval or image.start_interval,
        retries=own.retries or image.retries,
    )


def check(asked: Healthcheck) -> None:
    """``InvalidArgument`` in Docker's words."""
    for name, value in (
        ("Interval", asked.interval),
        ("Timeout", asked.timeout),
        ("StartPeriod", asked.start_period),
        ("StartInterval", asked.start_interval),
    ):
        if value != 0 and value < _LEAST:
            raise InvalidArgument(f"{name} in Healthcheck cannot be less than 1ms")
    if asked.retries < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")


def check_action(config: Config, host: HostConfig) -> None:
    """Of the merged configuration: an action needs something to act on."""
    action = host.health_on_failure
    if action not in ("", *ON_FAILURE):
        raise InvalidArgument(f"invalid action on health failure: {action} (use {', '.join(ON_FAILURE)})")
    if action not in ("", "none") and not command(config):
        raise InvalidArgument(f"cannot set on-failure action to {action} without a health check")
