"""SIGKILL of launcher, worker, forkserver, monitor or init at random instants; see ``support.killing``.

``MYDOCKER_KILLS=200`` sets the number of kills, ``MYDOCKER_SEED`` repeats a run.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest

from support import killing
from support.command import Runner

KILLS = int(os.environ.get("MYDOCKER_KILLS", "25"))
SEED = int(os.environ.get("MYDOCKER_SEED", random.SystemRandom().randrange(10**6)))


@pytest.mark.slow
@pytest.mark.timeout(60 + 3 * KILLS)
def test_an_interrupted_import(fresh: Runner, busybox_tar: str) -> None:
    """Killed while it unpacks: the next import works, and removing the image removes everything."""
    chance = random.Random(SEED)
    before = stored(fresh)
    for _ in range(KILLS // 5):
        client = fresh.popen("import", busybox_tar, "killed:1")
        time.sleep(chance.random() * 0.1)
        for pid in [*killing.find("worker", client), client.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        client.communicate(timeout=20)
    fresh("import", busybox_tar, "whole:1")
    assert fresh("run", "--rm", "whole:1", "echo", "whole").line == "whole"
    for reference in fresh("images", "--quiet", "--no-trunc").out.split():
        fresh("rmi", "--force", reference)
    assert stored(fresh) == before, f"seed {SEED}"


def stored(runner: Runner) -> list[str]:
    """What is in the image store and the layers, apart from the few fixed names of an image layout."""
    fixed = {
        "oci-layout", "index.json", "sha256", "blobs", "ingest", "download", "reserved", "lock", "use.lock",
    }  # fmt: skip
    return [
        os.path.join(place, name)
        for top in ("image", "layer")
        for place, directories, files in os.walk(os.path.join(runner.root, top))
        for name in [*directories, *files]
        if name not in fixed
    ]


@pytest.mark.slow
@pytest.mark.timeout(60 + 5 * KILLS)
def test_killed_at_any_instant(fresh: Runner, busybox_tar: str, capsys: pytest.CaptureFixture[str]) -> None:
    fresh("import", busybox_tar, "busybox:test")
    with capsys.disabled():
        print(f"\nSIGKILL: {KILLS} kills, seed {SEED}")
    assert len(killing.storm(fresh, "busybox:test", KILLS, SEED)) == KILLS
