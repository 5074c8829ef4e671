"""When there is no more of something: disk, descriptors, processes; and where an overlay cannot be mounted.

What cannot be done is refused in one line, nothing is left of it, and what was there before is still there.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import leaks, probe
from support.command import Result, Runner
from support.waiting import wait_until


@contextmanager
def mounted(*arguments: str) -> Iterator[str]:
    directory = tempfile.mkdtemp(prefix="mdx-")
    subprocess.run(["mount", *arguments, directory], check=True)
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)
        os.rmdir(directory)


def clean(result: Result) -> None:
    assert "Traceback" not in result.err, str(result)
    assert result.code == 0 or result.err.startswith("mydocker: "), str(result)


@pytest.fixture
def small(mydocker: Runner) -> Iterator[Runner]:
    """The command with a root of 8 MB of its own."""
    with mounted("-t", "tmpfs", "-o", "size=8m", "tmpfs") as root:
        runner = Runner(mydocker.program, root, f"{mydocker.state}-small", mydocker.environment)
        yield runner
        if os.path.exists(f"{root}/filler"):
            os.unlink(f"{root}/filler")
        runner.leave()
        shutil.rmtree(runner.state)


def fill(runner: Runner) -> None:
    with open(f"{runner.root}/filler", "wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


@pytest.mark.both_ways
def test_a_full_disk(small: Runner, busybox_rootfs: str) -> None:
    rootfs = ("--rootfs", busybox_rootfs)
    script = "echo before; while [ ! -e /dev/shm/go ]; do sleep 0.05; done; echo after; exit 7"
    running = small("run", "-d", *rootfs, "sh", "-c", script).line
    idle = small("create", "--name", "idle", *rootfs, "sleep", "1000").line
    small.wait_for_log(running, "before\n")
    before = leaks.Snapshot.take(small.root, small.state)
    fill(small)
    for command in (
        ("create", *rootfs, "true"),
        ("run", "--rm", *rootfs, "true"),
        ("rename", "idle", "busy"),
        ("update", "--pids-limit", "64", "idle"),
    ):
        done = small(*command, check=False)
        assert done.code != 0
        clean(done)
        assert "no space left on device" in done.err.lower()
    filler = f"files: {small.root}/filler"

    def left() -> list[str]:
        found = leaks.left(before, small.root, small.state)
        return [each for each in found if each != filler and not each.startswith("processes")]

    wait_until(lambda: left() == [], "nothing to be left")
    small("exec", running, "touch", "/dev/shm/go")
    assert small("wait", running).line == "7"
    state = small.inspect(running)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 7)
    started = small("start", "idle", check=False)
    clean(started)
    small("rm", "-f", running, idle)
    assert small.containers() == []
    os.unlink(f"{small.root}/filler")
    assert small("system", "check").out.endswith("no faults\n")


@pytest.mark.parametrize("limit", [4, 8, 10, 12, 16, 20, 24, 32, 40])
def test_too_few_descriptors(mydocker: Runner, image: str, limit: int) -> None:
    before = leaks.Snapshot.take(mydocker.root, mydocker.state)
    done = subprocess.run(
        mydocker.argv("run", "--rm", image, "true"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=mydocker.env({"MYDOCKER_FORKSERVER": "0"}),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
        timeout=60,
        check=False,
    )
    # with fewer than Python itself needs, it is Python that says so
    if limit >= 16:
        clean(Result(("run",), done.returncode, done.stdout, done.stderr))
    mydocker("ps", "-a")
    leaks.wait_for_nothing_left(before, mydocker.root, mydocker.state)
    assert mydocker("system", "check").out.endswith("no faults\n")


@pytest.fixture
def crowded() -> Iterator[Path]:
    """A control group that counts processes."""
    place = probe.cgroup_hierarchies().get("pids")
    if place is None:
        pytest.skip("no pids controller")
    group = Path(place) / "mydocker-crowded"
    group.mkdir()
    yield group
    leaks.remove_cgroups("mydocker-crowded")


@pytest.mark.parametrize("limit", range(1, 9))
def test_too_many_processes(mydocker: Runner, image: str, crowded: Path, limit: int) -> None:
    (crowded / "pids.max").write_text(f"{limit}\n")
    before = leaks.Snapshot.take(mydocker.root, mydocker.state)

    def join() -> None:
        (crowded / "cgroup.procs").write_text("0\n")

    for command in (("create", "--name", "crowd", image, "true"), ("run", "--rm", image, "true")):
        done = subprocess.run(
            mydocker.argv(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=mydocker.env({"MYDOCKER_FORKSERVER": "0"}),
            preexec_fn=join,
            timeout=60,
            check=False,
        )
        clean(Result(command, done.returncode, done.stdout, done.stderr))
    mydocker("rm", "-f", "crowd")
    leaks.wait_for_nothing_left(before, mydocker.root, mydocker.state)
    assert mydocker("system", "check").out.endswith("no faults\n")


@pytest.mark.both_ways
def test_an_overlay_that_cannot_be_mounted(mydocker: Runner, busybox_rootfs: str) -> None:
    """An overlay takes no overlay for its writable layer."""
    with mounted("-t", "tmpfs", "tmpfs") as below:
        for name in ("lower", "upper", "work"):
            os.mkdir(f"{below}/{name}")
        options = f"lowerdir={below}/lower,upperdir={below}/upper,workdir={below}/work"
        with mounted("-t", "overlay", "-o", options, "overlay") as root:
            runner = Runner(mydocker.program, root, f"{mydocker.state}-overlay", mydocker.environment)
            before = leaks.Snapshot.take(runner.root, runner.state)
            done = runner("run", "--name", "no", "--rootfs", busybox_rootfs, "true", check=False)
            assert done.code == 125
            clean(done)
            assert "overlay" in done.err
            assert runner.inspect("no")["State"]["Status"] == "created"
            runner("rm", "no")
            again = runner("run", "--rm", "--rootfs", busybox_rootfs, "true", check=False)
            assert again.code == 125
            leaks.wait_for_nothing_left(before, runner.root, runner.state)
            runner.leave()
            shutil.rmtree(runner.state)
