"""``pause`` and ``unpause``: what the kernel and the state say, whoever is killed in between."""

from __future__ import annotations

import os
import signal

import pytest

from mydocker.container import pause as pausing
from mydocker.container.store import Store
from mydocker.engine import Engine
from support import cgroups
from support.command import Runner
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(not cgroups.can_freeze(), reason="needs a freezer")


def status(runner: Runner, container: str) -> str:
    found: str = runner.inspect(container)["State"]["Status"]
    return found


def test_a_container_stands_still_until_it_is_unpaused(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image, "--name", "paused")
    is_frozen = cgroups.freezer(pid)
    assert mydocker("pause", "paused").line == "paused"
    assert is_frozen()
    state = mydocker.inspect("paused")["State"]
    assert (state["Status"], state["Running"], state["Paused"]) == ("paused", True, True)
    assert mydocker("ps", "--format", "{{.Status}}").line.endswith(" (Paused)")
    assert mydocker("ps", "--quiet", "--filter", "status=paused").line == container[:12]
    assert mydocker("unpause", "paused").line == "paused"
    assert not is_frozen()
    assert status(mydocker, "paused") == "running"
    assert mydocker("exec", "paused", "echo", "again").line == "again"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pause", "{}"], "container {id} is already paused"),
        (["exec", "{}", "true"], "container {id} is paused, unpause the container before exec"),
        (["start", "{}"], "cannot start a paused container, try unpause instead"),
        (["attach", "{}"], "you cannot attach to a paused container, unpause it first"),
        (["rm", "{}"], 'cannot remove container "/{}": container is paused and must be unpaused first'),
    ],
)
def test_what_a_paused_container_refuses(
    mydocker: Runner, image: str, words: list[str], message: str
) -> None:
    container, pid = mydocker.start(image, "--name", "still")
    mydocker("pause", "still")
    refused = mydocker(*(word.format("still") for word in words), check=1)
    assert refused.err == f"mydocker: {message.format('still', id=container)}\n"
    assert cgroups.freezer(pid)()
    assert status(mydocker, "still") == "paused"


@pytest.mark.parametrize(
    ("words", "code"), [(["kill"], 137), (["stop", "-t", "30"], 143), (["rm", "-f"], None)]
)
def test_what_ends_a_paused_container(
    mydocker: Runner, image: str, words: list[str], code: int | None
) -> None:
    """A frozen process takes no signal, so it is let go for the one that it is to end by."""
    container, _ = mydocker.start(
        image, command=("sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do sleep 0.1; done")
    )
    mydocker.wait_for_log(container, "ready\n")
    mydocker("pause", container)
    mydocker(*words, container)
    if code is None:
        assert container not in mydocker.containers()
    else:
        assert mydocker.wait_for_exit(container) == code


def test_refused_when_there_is_nothing_to_pause(mydocker: Runner, image: str) -> None:
    container = mydocker("create", image, "true").line
    for verb, what in (("pause", "running"), ("unpause", "paused")):
        assert mydocker(verb, container, check=1).err == f"mydocker: container {container} is not {what}\n"
    running, _ = mydocker.start(image)
    assert mydocker("unpause", running, check=1).err == f"mydocker: container {running} is not paused\n"


def test_a_pause_that_is_killed_before_the_state_says_so(
    mydocker: Runner, engine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard thaws what was frozen and is said to be running."""
    container, pid = mydocker.start(image)
    is_frozen = cgroups.freezer(pid)

    def die(*_: object, **__: object) -> None:
        assert is_frozen()
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(pausing, "_note", die)
    found = engine.containers.get(container)
    child = os.fork()
    if child == 0:
        try:
            found.pause()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    wait_until(lambda: not is_frozen())
    assert status(mydocker, container) == "running"


def test_an_unpause_that_is_killed_after_the_state_says_so(
    mydocker: Runner, engine: Engine, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next command finds a frozen container that is said to be running, and thaws it."""
    container, pid = mydocker.start(image)
    mydocker("pause", container)
    is_frozen = cgroups.freezer(pid)

    def die(_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(pausing, "_thaw", die)
    found = engine.containers.get(container)
    child = os.fork()
    if child == 0:
        try:
            found.unpause()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert is_frozen()
    assert status(mydocker, container) == "running"
    assert not is_frozen()


def test_a_monitor_that_is_killed_while_its_container_is_paused(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image)
    mydocker("pause", container)
    with open(f"/proc/{pid}/stat") as file:
        monitor = int(file.read().rpartition(")")[2].split()[1])
    os.kill(monitor, signal.SIGKILL)
    store = Store(mydocker.root, mydocker.state)
    wait_until(lambda: not store.held(container))
    state = mydocker.inspect(container)["State"]
    assert (state["Status"], state["ExitCode"], state["Paused"]) == ("exited", 137, False)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
    mydocker("start", container)
    assert status(mydocker, container) == "running"
