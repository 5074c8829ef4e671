"""A process killed at steps of what happens to a container: a sample, or all with ``make test-faults``.

``MYDOCKER_FAULTS``: the seconds of the sample, ``all``, or names of scenarios (``rename,rm``), of which all.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from support import faults
from support.command import Runner

SECONDS = 45
"""of the sample"""


@pytest.fixture
def prepared(fresh: Runner, busybox_tar: str) -> Iterator[Runner]:
    fresh("import", busybox_tar, "busybox:test")
    yield fresh
    fresh.remove_all()
    fresh("network", "rm", faults.TOWN)


@pytest.mark.slow
@pytest.mark.timeout(6 * 3600)
@pytest.mark.skipif(bool(faults.refusal()), reason=faults.refusal() or "it can run")
def test_nothing_is_lost(prepared: Runner, capsys: pytest.CaptureFixture[str]) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", end="", flush=True)

    injector = faults.Injector(prepared, "busybox:test")
    every = faults.scenarios("busybox:test")
    asked = os.environ.get("MYDOCKER_FAULTS", "")
    if asked and not asked.isdecimal():
        wanted = [scenario for scenario in every if asked == "all" or scenario.name in asked.split(",")]
        outcome = faults.all_points(injector, wanted, say)
    else:
        seed = random.randrange(1_000_000)
        say(f"seed {seed}")
        outcome = faults.sample(injector, every, float(asked or SECONDS), seed, say)
    say(f"faults: {outcome}\n")
    assert outcome.problems == []
    assert outcome.kills > 0
