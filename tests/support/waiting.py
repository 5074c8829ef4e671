"""Wait for a condition, never for a fixed time: how long something takes is up to the scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20.0


def wait_until(condition: Callable[[], object], what: str = "", patience: float = PATIENCE) -> None:
    """Ask until it is true; AssertionError, which names ``what``, if that takes ``patience`` seconds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"did not come about in time{what and f': {what}'}"
        time.sleep(0.01)
