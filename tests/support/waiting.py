"""Wait for a condition, never for a fixed time: how long something takes is up to the scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE = 20.0
T = TypeVar("T")


def wait_until(condition: Callable[[], T], what: str = "", patience: float = PATIENCE) -> T:
    """Ask until the answer is true, and return it; AssertionError, which names ``what``, if that takes
    ``patience`` seconds."""
    end = time.monotonic() + patience
    while not (answer := condition()):
        assert time.monotonic() < end, f"did not come about in time{what and f': {what}'}"
        time.sleep(0.01)
    return answer
