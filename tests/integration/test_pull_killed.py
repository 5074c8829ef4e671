"""SIGKILL of a pull at random instants: what has come is not fetched again, and the store is whole.

``MYDOCKER_KILLS=50`` sets the number of kills, ``MYDOCKER_SEED`` repeats a run.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from pathlib import Path

import pytest

from support import archives
from support.archives import Member
from support.command import Runner
from support.fake_registry import FakeRegistry
from support.served_image import ServedImage

KILLS = int(os.environ.get("MYDOCKER_KILLS", "10"))
SEED = int(os.environ.get("MYDOCKER_SEED", random.SystemRandom().randrange(10**6)))
LONGEST = 0.6
"""seconds; a pull of the image below takes about as long"""
COLD = {"MYDOCKER_FORKSERVER": "0"}


def on_disk(runner: Runner) -> dict[str, int]:
    """Bytes of each download so far, by digest, when nobody is at it any more."""
    directory = Path(runner.root, "image/download")
    found = {}
    for path in directory.iterdir() if directory.exists() else ():
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            found[f"sha256:{path.name}"] = path.stat().st_size
    return found


def asked_from(fake: FakeRegistry, digests: list[str]) -> dict[str, int]:
    """From which byte each blob was asked for; -1 for more than once."""
    found: dict[str, int] = {}
    for asked in fake.asked("GET", "/blobs/"):
        digest = asked.path.rpartition("/")[2]
        begin = int(asked.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if digest in digests:
            found[digest] = -1 if digest in found else begin
    return found


@pytest.mark.slow
@pytest.mark.timeout(60 + 5 * KILLS)
def test_a_pull_that_is_killed(fresh: Runner) -> None:
    chance = random.Random(SEED)
    with FakeRegistry() as fake:
        layers = [
            archives.layer(
                [Member(f"noise{number}", chance.randbytes(3 << 20)), Member("shared", b"x" * number)]
            )
            for number in range(5)
        ]
        image = ServedImage(fake, layers)
        image.put("1")
        name = f"{fake.address}/a/b:1"
        sizes = {entry["digest"]: entry["size"] for entry in image.descriptors}
        rounds = 0
        for kill in range(KILLS):
            before = on_disk(fresh)
            fake.requests.clear()
            client = fresh.popen("pull", name, env=COLD)
            time.sleep(chance.random() * LONGEST)
            client.kill()
            client.communicate(timeout=20)
            told = f"kill {kill}, seed {SEED}"
            after = on_disk(fresh)
            for digest, begin in asked_from(fake, list(sizes)).items():
                assert begin == before.get(digest, 0) < sizes[digest], told
            if fresh("images", "--quiet", env=COLD).out:  # it was faster: begin anew
                rounds += 1
                fresh("rmi", name, env=COLD)
            else:
                assert all(after.get(digest, size) >= size for digest, size in before.items()), told
        before = on_disk(fresh)
        fake.requests.clear()
        fresh("pull", name, env=COLD)
        begun = asked_from(fake, list(sizes))
        fetched = {digest: size for digest, size in sizes.items() if before.get(digest, 0) < size}
        assert begun == {digest: before.get(digest, 0) for digest in fetched}, f"seed {SEED}"
        assert "no faults" in fresh("system", "check", env=COLD).out
        assert os.listdir(Path(fresh.root, "image/download")) == []
        fresh("rmi", name, env=COLD)
        left = [
            path
            for top in ("image/blobs/sha256", "image/ingest", "layer")
            for path in Path(fresh.root, top).iterdir()
        ]
        assert left == [], f"seed {SEED}"
        assert rounds < KILLS, "no pull was killed in the middle"
