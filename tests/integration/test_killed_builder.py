"""The builder of an exec is killed when it has cloned a process, and nobody was told of that."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import cgroups, probe
from support.command import Runner
from support.killing import MONITOR, Process, children, parent, processes
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(not cgroups.can_freeze(), reason="needs a freezer")


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The cgroup of this process, behind the engine's back."""
    places = probe.cgroup_hierarchies()
    with open(f"/proc/{pid}/cgroup") as file:
        paths = {names: path for _, names, path in (line.rstrip().split(":") for line in file)}
    switch, on, off = Path(f"{places.get('', '')}{paths.get('')}/cgroup.freeze"), "1", "0"
    if not switch.exists():
        switch, on, off = Path(f"{places['freezer']}{paths['freezer']}/freezer.state"), "FROZEN", "THAWED"
    try:
        switch.write_text(on)
        wait_until(cgroups.freezer(pid))
        yield
    finally:
        try:
            switch.write_text(off)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):  # nothing is left in it, and so it is gone
                raise


def added(monitor: int, init: int) -> list[Process]:
    return [p for p in processes() if p.parent == monitor and p.levels > 1 and p.pid != init]


def at_rest(mydocker: Runner, image: str) -> tuple[str, int, int]:
    """A container, its monitor and its init, when the builder of the latter has ended."""
    container, init = mydocker.start(image)
    monitor = parent(init)
    wait_until(lambda: children(monitor) == [init])
    return container, monitor, init


def kill_builder(monitor: int, init: int) -> int:
    """When it has cloned a process; the number of that. ``at_rest`` before."""
    (stranger,) = wait_until(lambda: added(monitor, init))
    (builder,) = [p for p in processes() if p.parent == monitor and p.levels == 1 and p.name == MONITOR]
    os.kill(builder.pid, signal.SIGKILL)
    return stranger.pid


def test_its_process_is_ended_and_reaped(mydocker: Runner, image: str) -> None:
    container, monitor, init = at_rest(mydocker, image)
    with frozen(init):
        client = mydocker.popen("exec", container, "sleep", "1000", stdin=subprocess.DEVNULL)
        stranger = kill_builder(monitor, init)
    _, error = client.communicate(timeout=20)
    assert client.returncode == 126
    assert b"the process that was to start it was killed" in error
    wait_until(lambda: not os.path.exists(f"/proc/{stranger}"))
    assert mydocker("exec", container, "echo", "still there").line == "still there"
    assert parent(init) == monitor


def test_its_container_ends_all_the_same(mydocker: Runner, image: str) -> None:
    """The kernel lets init end when all others in its PID namespace have been reaped."""
    container, monitor, init = at_rest(mydocker, image)
    with frozen(init):
        client = mydocker.popen("exec", container, "sleep", "1000", stdin=subprocess.DEVNULL)
        kill_builder(monitor, init)
        os.kill(init, signal.SIGKILL)
    client.communicate(timeout=20)
    assert mydocker.wait_for_exit(container) == 137
    mydocker("rm", container)
