"""Runs, loads, commits and prunes at once: all that should succeed do, and afterwards nothing is missing."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time

import pytest

from support import archives
from support.archives import Member
from support.command import Runner
from support.fake_registry import FakeRegistry
from support.served_image import ServedImage

SEED = int(os.environ.get("MYDOCKER_SEED", random.SystemRandom().randrange(10**6)))


def archive(path: str, rootfs_tar: str, name: str) -> str:
    """The busybox system and a layer of its own on top, so that images share one."""
    with open(rootfs_tar, "rb") as file:
        system = file.read()
    top = archives.layer([Member("name", name.encode())])
    return archives.docker_archive(path, [system, top], name=name, config={"Cmd": ["cat", "/name"]})


def disturbers(runner: Runner, done: threading.Event, failures: list[str]) -> list[threading.Thread]:
    """Two who prune, one who checks and must never see a fault, and two who list, until ``done``."""

    def repeat(*words: str) -> None:
        while not done.is_set():
            result = runner(*words, check=False)
            if result.code:
                failures.append(str(result))
            time.sleep(0.05)

    prune = ("image", "prune", "--all", "--force")
    every = (prune, prune, ("system", "check"), ("images",), ("system", "df"))
    return [threading.Thread(target=repeat, args=words) for words in every]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_runs_loads_and_prunes_at_once(
    fresh: Runner, busybox_tar: str, tmp_path: os.PathLike[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Each image is loaded, run and committed by one, while others take away whatever they may."""
    with capsys.disabled():
        print(f"\nseed {SEED}")
    names = [f"image:{number}" for number in range(6)]
    paths = [archive(os.path.join(tmp_path, f"{n}.tar"), busybox_tar, name) for n, name in enumerate(names)]
    failures: list[str] = []
    done = threading.Event()

    def use(number: int) -> None:
        """Keep a container of the image, so that it is in use: whatever follows must work."""
        chance = random.Random(SEED + number)
        name, path = names[number], paths[number]
        for turn in range(5):
            time.sleep(chance.random() * 0.05)
            keeper = keep(fresh, name, path)
            said = fresh("run", "--rm", "--pull", "never", name, check=False)
            if said.code or said.out != name:
                failures.append(f"{name}: {said}")
            made = fresh("commit", keeper, f"made-{number}:{turn}", check=False)
            if made.code:
                failures.append(f"{name}: {made}")
            fresh("rm", "--force", keeper)

    users = [threading.Thread(target=use, args=(number,)) for number in range(len(names))]
    others = disturbers(fresh, done, failures)
    for thread in (*users, *others):
        thread.start()
    for thread in users:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    assert not failures, f"seed {SEED}: " + "\n".join(failures)
    fresh("image", "prune", "--all", "--force")
    said = fresh("system", "check", check=False)
    assert said.line == "0 blobs, 0 images, 0 layers, 0 containers, 0 volumes: no faults", f"seed {SEED}"


def keep(runner: Runner, name: str, path: str) -> str:
    """Load the image and make a container from it; a prune may be faster than the second step."""
    for _ in range(100):
        runner("load", "--quiet", "--input", path)
        made = runner("create", "--pull", "never", name, check=False)
        if made.code == 0:
            return made.line
        assert f"no such image: {name}" in made.err, made
    raise AssertionError(f"{name} was always gone before a container could be made")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pulls_runs_and_prunes_at_once(fresh: Runner, busybox_tar: str) -> None:
    """Pulls, runs that pull, and prunes of all that is unused: every pull and every run succeeds."""
    with open(busybox_tar, "rb") as file:
        system = file.read()
    with FakeRegistry() as fake:
        for number in range(4):
            own = archives.layer([Member("name", str(number).encode())])
            ServedImage(fake, [system, own], f"image/{number}", config={"Cmd": ["cat", "/name"]}).put()
        names = [f"{fake.address}/image/{number}:1" for number in range(4)]
        words = [("pull", "--quiet", name) for name in names] + [("run", "--rm", name) for name in names]
        failures: list[str] = []
        done = threading.Event()

        def work(number: int) -> None:
            for turn in range(10):
                command = words[(number * 3 + turn) % len(words)]
                result = fresh(*command, check=False)
                expected = command[-1] if command[0] == "pull" else command[-1][-3]
                if result.code or result.line != expected:
                    failures.append(str(result))

        workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        others = disturbers(fresh, done, failures)
        for thread in (*workers, *others):
            thread.start()
        for thread in workers:
            thread.join()
        done.set()
        for thread in others:
            thread.join()
    assert not failures, "\n".join(failures)
    fresh("image", "prune", "--all", "--force")
    said = fresh("system", "check", check=False)
    assert said.line == "0 blobs, 0 images, 0 layers, 0 containers, 0 volumes: no faults"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_run_or_a_prune_wins(fresh: Runner, busybox_tar: str) -> None:
    """At the same instant: either the image is gone before, or the run works; there is nothing between."""
    chance = random.Random(SEED)
    for _ in range(25):
        fresh("import", "--change", "CMD echo ran", busybox_tar, "busybox:race")
        pruner = fresh.popen("image", "prune", "--all", "--force", stdin=subprocess.DEVNULL)
        time.sleep(chance.random() * 0.03)
        ran = fresh("run", "--rm", "--pull", "never", "busybox:race", check=False)
        assert pruner.wait(20) == 0
        pruner.communicate()
        if ran.code == 0:
            assert ran.line == "ran"
        else:
            assert (ran.code, "no such image: busybox:race" in ran.err) == (125, True), f"{SEED}: {ran}"
