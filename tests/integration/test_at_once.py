"""Many commands at once on the same few containers: whatever is refused is refused in Docker's words, nothing
waits for ever, and no container is lost or doubled."""

from __future__ import annotations

import os
import random
import re
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from support.command import Result, Runner

SEED = int(os.environ.get("MYDOCKER_SEED", random.SystemRandom().randrange(10**6)))
AT_ONCE, CONTAINERS, ROUNDS = 50, 10, 4

REFUSALS = re.compile(
    r"(cannot kill container: .*: )?No such container: .*"
    r"|container [0-9a-f]{64} is not running"
    r"|cannot kill container: .*: container [0-9a-f]{64} is not running"
    r"|container is marked for removal and cannot be started"
    r"|Error when allocating new name: Conflict\. The container name .* is already in use by container .*"
    r"|Renaming a container with the same name as its current name"
    r'|cannot remove container "/.*": container is running: stop the container before removing or force .*'
    r"|container [0-9a-f]{64} is (already|not) paused"
    r"|container [0-9a-f]{64} is paused, unpause the container before exec"
    r"|cannot start a paused container, try unpause instead"
    r'|cannot remove container "/.*": container is paused and must be unpaused first'
)


def commands(chance: random.Random, names: list[str]) -> list[str]:
    name = chance.choice(names)
    return chance.choice(
        [
            ["start", name],
            ["start", name],
            ["stop", "--timeout", "0", name],
            ["restart", "--timeout", "0", name],
            ["exec", name, "true"],
            ["exec", name, "sh", "-c", "exit 0"],
            ["rm", "--force", name],
            ["rm", name],
            ["rename", name, chance.choice(names)],
            ["logs", name],
            ["ps", "--all"],
            ["ps"],
            ["pause", name],
            ["unpause", name],
            ["kill", name],
            ["top", name],
            ["diff", name],
            ["update", "--pids-limit", "100", name],
            ["cp", f"{name}:/etc/passwd", "-"],
            ["inspect", "--type", "container", name],
        ]
    )


def is_sound(result: Result) -> bool:
    """Done, or killed with what it ran in, or refused in words that Docker has."""
    if "Traceback" in result.err or "Traceback" in result.out:
        return False
    refusals = [line.removeprefix("mydocker: ") for line in result.err.splitlines()]
    if result.code in (0, 137):
        return True
    return result.code == 1 and bool(refusals) and all(REFUSALS.fullmatch(line) for line in refusals)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fifty_commands_at_once(mydocker: Runner, image: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\nseed {SEED}")
    chance = random.Random(SEED)
    names = [f"once-{number}" for number in range(CONTAINERS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(ROUNDS):
            for name in names:
                mydocker("create", "--name", name, image, "sleep", "1000", check=False)
            wanted = [commands(chance, names) for _ in range(AT_ONCE)]
            pending = [pool.submit(mydocker, *words, check=False, timeout=60) for words in wanted]
            while wait(pending, timeout=2).not_done:
                # a process that was added just before a pause goes on when that is over, and not before
                mydocker("unpause", *names, check=False)
            results = [each.result() for each in pending]
            unsound = "\n".join(str(result) for result in results if not is_sound(result))
            assert not unsound, f"seed {SEED}: {unsound}"
    listed = mydocker("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}}").out.splitlines()
    identifiers = [line.split()[0] for line in listed]
    assert sorted(identifiers) == mydocker.containers()
    assert len({line.split()[1] for line in listed}) == len(listed)
    links = os.listdir(f"{mydocker.root}/container/by-name")
    assert sorted(links) == sorted(line.split()[1] for line in listed)
    for line in listed:
        identifier, name = line.split()
        assert mydocker.inspect(name)["Id"] == identifier
    assert not os.path.exists(f"{mydocker.state}/monitor-crash.log")
    if identifiers:
        mydocker("rm", "--force", *identifiers)
    assert mydocker("system", "check").code == 0


def test_short_execs_at_once(mydocker: Runner, image: str) -> None:
    """Each ends while others are being made: the monitor reaps no process that it is about to be given."""
    container, pid = mydocker.start(image)
    with ThreadPoolExecutor(20) as pool:
        pending = [pool.submit(mydocker, "exec", container, "true", check=False) for _ in range(200)]
    assert {(each.result().code, each.result().err) for each in pending} == {(0, "")}
    assert mydocker.inspect(container)["State"]["Pid"] == pid
