"""The rehearsal of a container's life: nothing is left of it, and what is slow the first time was done."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mydocker.container import rehearsal
from mydocker.linux import mount
from support.waiting import wait_until


def test_nothing_is_left() -> None:
    gc.collect()  # of what others have left
    before = os.listdir("/proc/self/fd"), Path("/proc/self/mountinfo").read_text()
    rehearsal.rehearse()
    assert (os.listdir("/proc/self/fd"), Path("/proc/self/mountinfo").read_text()) == before


def test_libraries_are_loaded() -> None:
    script = (
        "from mydocker.container.rehearsal import rehearse; rehearse(); print(open('/proc/self/maps').read())"
    )
    maps = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    assert b"/libseccomp" in maps


def test_without_the_right_to_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(mount, "fsopen", refuse)
    monkeypatch.setattr(rehearsal, "_Life", lambda _: pytest.fail("there is no place for it"))
    rehearsal.rehearse()


def test_what_a_container_is_made_by_is_learned() -> None:
    """To the end: what fails has written to little. Without descriptors that could be in the way."""
    script = (
        "import os; os.closerange(3, 1024)\n"
        "from mydocker.container import rehearsal; from mydocker.linux import memory\n"
        "become = rehearsal.init.become\n"
        "def told(*arguments):\n"
        "    become(*arguments); os.write(memory.done, b'.')\n"
        "reading, memory.done = os.pipe2(os.O_NONBLOCK); memory.done = os.dup2(memory.done, 300)\n"
        "rehearsal.init.become = told; rehearsal.rehearse(); rehearsal.learn()\n"
        "print(sorted(memory._places), os.read(reading, 1))"
    )
    isolated = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", script]
    done = subprocess.run(isolated, capture_output=True, check=True, text=True)
    assert done.stdout == "['builder', 'init'] b'.'\n"


def test_killed_in_between() -> None:
    """What played an init ends as well, so that no server waits for a zygote that it holds the channel of."""
    script = "from mydocker.container.rehearsal import rehearse; rehearse(10**9)"
    with subprocess.Popen([sys.executable, "-c", script]) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        wait_until(lambda: children.read_text() != "")
        (played,) = children.read_text().split()
        process.kill()
    wait_until(lambda: not Path(f"/proc/{played}").exists())
