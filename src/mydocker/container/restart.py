"""Restart policies: whether a container that has ended is started again, and when.

The names and rules are Docker's (moby, ``restartmanager``): ``no``, ``always``, ``unless-stopped``, and
``on-failure`` with an optional limit. Who stops or kills a container by hand has the last word. A container
that ends at once waits longer each time; the wait is reset when it has run for a while.

Out of scope: waiting, which is the monitor's (``monitor/monitor.py``).
"""

from __future__ import annotations

from ..errors import InvalidArgument
from ..monitor.timestamp import NEVER
from .config import RestartPolicy
from .record import Record
from .state import State, Status

FIRST_DELAY = 0.1
LONGEST_DELAY = 60.0
STEADY = 10.0
"""seconds after which a run counts as one that went well, whatever its exit code"""

POLICIES = ("no", "always", "on-failure", "unless-stopped")
AT_BOOT = frozenset({"always", "unless-stopped"})
"""``system start`` starts what has one of these"""


def check(policy: RestartPolicy) -> None:
    """``InvalidArgument`` in Docker's words for a policy that does not exist, or has a limit in vain."""
    if policy.name not in ("", *POLICIES):
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of '{POLICIES[0]}', "
            f"'{POLICIES[1]}', '{POLICIES[2]}', or '{POLICIES[3]}'"
        )
    if policy.maximum_retry_count and policy.name != "on-failure":
        extra = " and cannot be negative" if policy.maximum_retry_count < 0 else ""
        raise InvalidArgument(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'" + extra
        )
    if policy.maximum_retry_count < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")


def wanted(policy: RestartPolicy, exit_code: int, count: int) -> bool:
    """Whether one that ended by itself, after ``count`` restarts, is started again."""
    if policy.name in AT_BOOT:
        return True
    if policy.name != "on-failure" or exit_code == 0:
        return False
    return not policy.maximum_retry_count or count < policy.maximum_retry_count


def delay(previous: float, lasted: float) -> float:
    """Seconds to wait, after a run of ``lasted`` seconds that came after a wait of ``previous`` ones."""
    if lasted >= STEADY or not previous:
        return FIRST_DELAY
    return min(previous * 2, LONGEST_DELAY)


def starts_at_boot(record: Record, state: State) -> bool:
    """Whether ``system start`` is to start it. A policy begins to count with the first start."""
    name = record.host_config.restart_policy.name
    if name not in AT_BOOT or state.status is not Status.EXITED or state.started_at == NEVER:
        return False
    return name == "always" or not state.stopped_by_hand
