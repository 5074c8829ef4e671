"""How a container is held still while it is committed, and let go whatever happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mydocker import errors
from mydocker.archive import diff
from mydocker.container import commit as committing
from support import cgroups, leaks
from support.command import Runner
from support.waiting import wait_until

if TYPE_CHECKING:
    from mydocker.engine import Engine

needs_freezer = pytest.mark.skipif(not cgroups.can_freeze(), reason="needs a freezer")


def upper(runner: Runner, container: str) -> Path:
    return Path(runner.root, "container", container, "rw/diff")


COUNT = "while true; do echo >> /counter; done"


@contextmanager
def while_packing(act: Callable[[], None]) -> Iterator[None]:
    """Do something at the moment at which the layer is about to be read."""

    def pack(*arguments: Any, **options: Any) -> int:
        act()
        return diff.pack(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(committing, "pack", pack)
        yield


@needs_freezer
@pytest.mark.parametrize("pause", [True, False])
def test_a_running_container_is_frozen(mydocker: Runner, engine: Engine, image: str, pause: bool) -> None:
    container, pid = mydocker.start(image, command=("sh", "-c", COUNT))
    is_frozen = cgroups.freezer(pid)
    counter = upper(mydocker, container) / "counter"
    wait_until(counter.exists)
    seen: list[object] = []

    def look() -> None:
        seen.append(is_frozen())
        first = counter.stat().st_size
        if pause:
            time.sleep(0.2)
        else:
            wait_until(lambda: counter.stat().st_size > first)
        seen.append(counter.stat().st_size == first)

    with while_packing(look):
        identifier = engine.containers.get(container).commit(pause=pause)
    assert seen == [pause, pause]
    assert not is_frozen()
    now = counter.stat().st_size
    wait_until(lambda: counter.stat().st_size > now)
    mydocker("rm", "-f", container)
    engine.images.remove(identifier)


@needs_freezer
def test_it_is_thawed_after_an_error(mydocker: Runner, engine: Engine, image: str) -> None:
    container, pid = mydocker.start(image)

    def fail() -> None:
        raise errors.Unavailable("made up")

    with while_packing(fail), pytest.raises(errors.Unavailable, match="made up"):
        engine.containers.get(container).commit()
    assert not cgroups.freezer(pid)()
    assert not os.path.exists(f"{mydocker.state}/container/{container}/pause.lock")


def commit_that_hangs(engine: Engine, container: str) -> int:
    """A process that never gets further than to have the container frozen."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)

            def hang() -> None:
                os.write(writer, b".")
                time.sleep(1000)

            with while_packing(hang):
                engine.containers.get(container).commit()
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"."
    os.close(reader)
    return child


@needs_freezer
def test_it_is_thawed_when_the_committer_is_killed(mydocker: Runner, engine: Engine, image: str) -> None:
    """At once, by the guard."""
    container, pid = mydocker.start(image)
    is_frozen = cgroups.freezer(pid)
    child = commit_that_hangs(engine, container)
    assert is_frozen()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    wait_until(lambda: not is_frozen())
    lock = f"{mydocker.state}/container/{container}/pause.lock"
    wait_until(lambda: not os.path.exists(lock))
    assert mydocker("exec", container, "echo", "works").line == "works"
    mydocker("rm", "-f", container)
    mydocker("import", "-", "collects:1", stdin=bytes(1024))
    mydocker("rmi", "collects:1")
    assert os.listdir(f"{mydocker.root}/image/ingest") == []


@needs_freezer
def test_it_is_thawed_when_the_guard_is_killed_too(mydocker: Runner, engine: Engine, image: str) -> None:
    """By the next command, whatever it is."""
    container, pid = mydocker.start(image)
    is_frozen = cgroups.freezer(pid)
    lock = f"{mydocker.state}/container/{container}/pause.lock"
    child = commit_that_hangs(engine, container)
    guards = [other for other in leaks.pids() if other != child and lock in leaks.descriptors(other)]
    assert len(guards) == 1
    os.kill(guards[0], signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(0.1)
    assert is_frozen()
    mydocker("ps")
    assert not is_frozen()
    assert not os.path.exists(lock)


@needs_freezer
def test_removed_while_it_is_committed(mydocker: Runner, engine: Engine, image: str) -> None:
    """A frozen container can be removed; what is left of its files makes no image."""
    container, _ = mydocker.start(image)
    before = mydocker("images", "-qa").out

    def remove() -> None:
        mydocker("rm", "-f", container)

    with (
        while_packing(remove),
        pytest.raises(errors.NotFound, match="No such container"),
    ):
        engine.containers.get(container).commit()
    assert mydocker("images", "-qa").out == before


@needs_freezer
def test_three_commits_at_once(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image, command=("sh", "-c", COUNT))
    both = [
        mydocker.popen("commit", pause, container, f"both:{number}")
        for number, pause in enumerate(("--pause", "-p", "--pause=false"), 1)
    ]
    for each in both:
        out, err = each.communicate(timeout=60)
        assert (each.returncode, err) == (0, b""), out
    assert not cgroups.freezer(pid)()
    mydocker("rm", "-f", container)
    mydocker("rmi", "both:1", "both:2", "both:3")
