"""restart, rename, wait, update, top, diff, events, prune and the states: the commands of every day."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mydocker import errors
from mydocker.container import reconcile, rename
from mydocker.engine import Config, Engine, HostConfig
from mydocker.snapshot.overlay import OverlaySnapshotter
from support import cgroups, hosts, killing, leaks, probe
from support.command import Runner
from support.session import hear
from support.waiting import wait_until

# -- restart


def test_restart_starts_what_runs_and_what_does_not(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image)
    assert mydocker("restart", "-t", "0", container).line == container
    again = mydocker.inspect(container)["State"]["Pid"]
    assert again not in (0, pid)
    mydocker("kill", container)
    mydocker("wait", container)
    mydocker("restart", container)
    assert mydocker.inspect(container)["State"]["Running"]


def test_restart_keeps_a_container_that_removes_itself(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image, "--rm")
    mydocker("exec", container, "touch", "/kept")
    mydocker("restart", "-t", "0", container)
    mydocker("exec", container, "ls", "/kept")
    mydocker("kill", container)
    wait_until(lambda: container not in mydocker.containers())


def test_the_signal_of_restart(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(
        image, command=("sh", "-c", "trap 'echo usr1; exit' USR1; echo ready; while :; do sleep 0.1; done")
    )
    mydocker.wait_for_log(container, "ready\n")
    mydocker("restart", "--signal", "USR1", "--timeout", "20", container)
    assert "usr1" in mydocker("logs", container).out


# -- rename


def test_rename(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image, "--name", "old-name")
    mydocker("rename", "old-name", "new-name")
    assert mydocker.inspect("new-name")["Name"] == "/new-name"
    assert mydocker("inspect", "old-name", check=1).err == "mydocker: no such object: old-name\n"
    other = mydocker("create", "--name", "old-name", image, "true").line
    assert {container, other} == {*mydocker.containers()}
    mydocker("restart", "-t", "0", "new-name")
    mydocker("rm", "-f", "new-name")
    assert os.listdir(f"{mydocker.root}/container/by-name") == ["old-name"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "taken",
            'Error when allocating new name: Conflict. The container name "/taken" is already in use by '
            'container "{other}". You have to remove (or rename) that container to be able to reuse that '
            "name.",
        ),
        ("mine", "Renaming a container with the same name as its current name"),
        (
            "+",
            "Error when allocating new name: Invalid container name (/+), only [a-zA-Z0-9][a-zA-Z0-9_.-] are "
            "allowed",
        ),
        ("", "Neither old nor new names may be empty"),
    ],
)
def test_rename_refused(mydocker: Runner, image: str, name: str, message: str) -> None:
    other = mydocker("create", "--name", "taken", image, "true").line
    mydocker("create", "--name", "mine", image, "true")
    assert mydocker("rename", "mine", name, check=1).err == f"mydocker: {message.format(other=other)}\n"
    assert sorted(os.listdir(f"{mydocker.root}/container/by-name")) == ["mine", "taken"]


@pytest.mark.parametrize("step", ["write_record", "disclaim"])
def test_a_rename_that_is_killed_leaves_a_name_that_counts_for_nothing(
    mydocker: Runner, engine: Engine, image: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    container = mydocker("create", "--name", "before", image, "true").line
    found = engine.containers.get(container)

    def die(*_: object) -> None:
        os._exit(9)

    monkeypatch.setattr(type(found._store), step, die)
    child = os.fork()
    if child == 0:
        try:
            found.rename("after")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.undo()
    assert sorted(os.listdir(f"{mydocker.root}/container/by-name")) == ["after", "before"]
    right, wrong = ("before", "after") if step == "write_record" else ("after", "before")
    assert mydocker.inspect(right)["Id"] == container
    assert mydocker("logs", wrong, check=1).err == f"mydocker: No such container: {wrong}\n"
    assert os.listdir(f"{mydocker.root}/container/by-name") == [right]


def test_a_name_that_a_killed_rename_left_can_be_taken(engine: Engine, mydocker: Runner, image: str) -> None:
    container = mydocker("create", "--name", "owner", image, "true").line
    os.symlink(f"../{container}", f"{mydocker.root}/container/by-name/spare")
    other = mydocker("create", "--name", "spare", image, "true").line
    assert mydocker.inspect("spare")["Id"] == other
    assert not rename.forget(engine.containers._store, container, "owner")


# -- wait


def test_wait_for_several(mydocker: Runner, image: str) -> None:
    codes = {}
    for code in (0, 3):
        codes[mydocker("run", "-d", image, "sh", "-c", f"exit {code}").line] = str(code)
    assert mydocker("wait", *codes).out.split() == [*codes.values()]
    mixed = mydocker("wait", "nope", *codes, check=1)
    assert mixed.out.split() == [*codes.values()]
    assert mixed.err == "mydocker: No such container: nope\n"


UNTIL_TOLD = "until [ -e /go ]; do sleep 0.05; done"


def is_awaited() -> bool:
    """Whether anybody is connected to a monitor, as who waits for its end is."""
    with open("/proc/net/unix") as lines:
        fields = [line.split() for line in lines]
    # Num RefCount Protocol Flags Type St Inode Path; state 3 is SS_CONNECTED
    return any(each[5] == "03" and each[-1].endswith("/monitor.sock") for each in fields)


def test_wait_for_the_next_exit(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", image, "sh", "-c", f"[ -e /x ] && {UNTIL_TOLD}; touch /x; exit 5").line
    mydocker("wait", container)
    waiting = mydocker.popen("wait", "--condition", "next-exit", container)
    assert waiting.poll() is None
    mydocker("start", container)
    wait_until(is_awaited)
    mydocker("exec", container, "touch", "/go")
    assert waiting.communicate(timeout=20)[0] == b"5\n"


def test_wait_for_the_removal(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", image, "sh", "-c", f"{UNTIL_TOLD}; exit 4").line
    waiting = mydocker.popen("wait", "--condition", "removed", container)
    wait_until(is_awaited)
    mydocker("exec", container, "touch", "/go")
    assert mydocker("wait", container).line == "4"
    assert waiting.poll() is None
    mydocker("rm", container)
    assert waiting.communicate(timeout=20)[0] == b"4\n"


# -- update


def cgroup_file(pid: int, controller: str, v1: str, v2: str) -> Path:
    """The file of the cgroup that ``pid`` is in: of the v1 controller where there is one."""
    place = probe.cgroup_of(controller)
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if place and controller in names.split(","):
            return Path(place + path, v1)
        if not place and names == "":
            return Path(probe.cgroup_hierarchies()[""] + path, v2)
    raise AssertionError(f"no cgroup of {controller} for {pid}")


MEGABYTE = 1 << 20
UPDATES = [
    ("--memory 128m --memory-swap -1", "memory", "memory.limit_in_bytes", "memory.max", 128 * MEGABYTE),
    ("--memory-reservation 32m", "memory", "memory.soft_limit_in_bytes", "memory.low", 32 * MEGABYTE),
    ("--pids-limit 77", "pids", "pids.max", "pids.max", 77),
    ("--cpu-shares 512", "cpu", "cpu.shares", "cpu.weight", None),
    ("--cpus 0.5", "cpu", "cpu.cfs_quota_us", "cpu.max", None),
    ("--cpuset-cpus 0", "cpuset", "cpuset.cpus", "cpuset.cpus", None),
]
VALUES = {"cpu.shares": "512", "cpu.weight": "59", "cpu.cfs_quota_us": "50000", "cpu.max": "50000 100000",
          "cpuset.cpus": "0"}  # fmt: skip


@pytest.mark.parametrize(("flags", "controller", "v1", "v2", "value"), UPDATES, ids=str)
def test_limits_change_while_it_runs_and_stay(
    mydocker: Runner, image: str, flags: str, controller: str, v1: str, v2: str, value: int | None
) -> None:
    cgroups.need(controller)
    container, pid = mydocker.start(image, "-m", "64m", "--memory-swap", "-1", "--pids-limit", "50")
    file = cgroup_file(pid, controller, v1, v2)
    before = file.read_text()
    assert mydocker("update", *flags.split(), container).line == container
    wanted = str(value) if value is not None else VALUES[file.name]
    assert file.read_text().strip() == wanted != before.strip()
    mydocker("restart", "-t", "0", container)
    again = cgroup_file(mydocker.inspect(container)["State"]["Pid"], controller, v1, v2)
    assert again.read_text().strip() == wanted


def test_update_without_a_limit_before(mydocker: Runner, image: str) -> None:
    cgroups.need("pids")
    container, pid = mydocker.start(image)
    file = cgroup_file(pid, "pids", "pids.max", "pids.max")
    mydocker("update", "--pids-limit", "9", container)
    assert file.read_text() == "9\n"
    mydocker("update", "--pids-limit", "-1", container)
    assert file.read_text() == "max\n"


def test_what_the_kernel_or_docker_refuses_changes_nothing(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image, "--cpus", "1")
    before = mydocker.inspect(container)["HostConfig"]
    for flags, message in (
        ("-m 4k", "Minimum memory limit allowed is 6MB"),
        (
            "--cpu-quota 5000",
            f"Cannot update container {container}: Conflicting options: CPU Quota cannot be updated as "
            "NanoCPUs has already been set",
        ),
        (
            "--cpus 1 --cpu-quota 5000",
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            "-m 64m",
            f"Cannot update container {container}: Memory limit should be smaller than already set "
            "memoryswap limit, update the memoryswap at the same time",
        ),
        (
            "--cpu-shares 1",
            f"Cannot update container {container}: the minimum allowed cpu-shares is 2",
        ),
        ("--cpuset-cpus 4000", "Requested CPUs are not available - requested 4000, available: "),
    ):
        assert mydocker("update", *flags.split(), container, check=1).err.startswith(f"mydocker: {message}")
    refused = mydocker("update", container, check=1).err
    assert refused == "mydocker: you must provide one or more flags when using this command\n"
    assert mydocker.inspect(container)["HostConfig"] == before


# -- top


def test_top(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image)
    mydocker("exec", "-d", container, "sleep", "77")
    lines = mydocker("top", container).out.splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert [line.split(None, 7)[7] for line in lines[1:]] == ["sleep 1000", "sleep 77"]
    assert lines[1].split()[1] == str(pid)
    assert mydocker("top", container, "-eo", "pid,comm").out.splitlines()[1].split() == [str(pid), "sleep"]
    refused = mydocker("top", container, "-eo", "comm", check=1)
    assert refused.err == "mydocker: Couldn't find PID field in ps output\n"


# -- diff


def test_diff(mydocker: Runner, image: str) -> None:
    script = (
        "echo x > /new; echo x >> /etc/passwd; rm /etc/group; mkdir -p /a/b; touch /a/b/c; chmod 700 /usr; "
        "rm -r /home; mkdir /home; touch /home/x; touch /tmp/gone; rm /tmp/gone"
    )
    container = mydocker("run", "-d", image, "sh", "-c", script).line
    mydocker("wait", container)
    assert mydocker("diff", container).out.splitlines() == [
        "A /a",
        "A /a/b",
        "A /a/b/c",
        "C /etc",
        "D /etc/group",
        "C /etc/passwd",
        "C /home",
        "D /home/alice",
        "A /home/x",
        "A /new",
        "C /tmp",
        "C /usr",
    ]


def test_an_untouched_container_has_no_diff(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image)
    assert mydocker("diff", container).out == ""


# -- events


@contextmanager
def following(runner: Runner, last: str, *flags: str) -> Iterator[list[dict[str, Any]]]:
    """What ``events`` prints up to the action ``last``, to be looked at after the ``with`` block."""
    process = runner.popen("events", "--since", repr(time.time()), "--format", "json", *flags)
    assert process.stdout is not None
    found: list[dict[str, Any]] = []
    try:
        yield found
        for line in process.stdout:
            found.append(json.loads(line))
            if found[-1]["Action"] == last:
                break
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_events_are_heard_as_they_happen(mydocker: Runner, image: str) -> None:
    with following(mydocker, "destroy", "--filter", "label=mark") as heard:
        mydocker("run", "--rm", "--label", "mark=1", "--name", "heard", image, "sh", "-c", "exit 3", check=3)
    assert [one["Action"] for one in heard] == ["create", "attach", "start", "die", "destroy"]
    die = heard[3]["Actor"]["Attributes"]
    assert die.pop("execDuration") in ("0", "1")
    assert die == {"exitCode": "3", "image": image, "mark": "1", "name": "heard"}
    assert len({one["Actor"]["ID"] for one in heard}) == 1


def test_events_of_the_past(mydocker: Runner, image: str) -> None:
    start = time.time()
    container, _ = mydocker.start(image)
    mydocker("exec", container, "true")
    mydocker("kill", "-s", "WINCH", container)
    mydocker("rename", container, "renamed-now")
    mydocker("rm", "-f", container)
    shown = mydocker("events", "--since", repr(start), "--until", "0s", "--filter", f"container={container}",
                     "--format", "{{.Action}}").out.splitlines()  # fmt: skip
    assert shown == ["create", "start", "exec_create: true", "exec_start: true", "exec_die", "kill", "rename",
                     "kill", "die", "destroy"]  # fmt: skip


def test_events_of_images(mydocker: Runner, image: str) -> None:
    start = time.time()
    mydocker("tag", image, "events:1")
    identifier = mydocker("inspect", "--format", "{{.Id}}", image).line
    mydocker("rmi", "events:1")
    shown = mydocker("events", "--since", repr(start), "--until", "0s", "--filter", "type=image",
                     "--format", "{{.Action}} {{.Actor.ID}}").out.splitlines()  # fmt: skip
    assert shown == [f"tag {identifier}", f"untag {identifier}"]


def test_events_end_at_until(mydocker: Runner) -> None:
    assert mydocker("events", "--until", repr(time.time() + 0.5)).out == ""
    refused = mydocker("events", "--filter", "colour=red", check=1)
    assert refused.err == "mydocker: invalid filter 'colour'\n"


# -- exec identifiers


def test_processes_that_were_added_are_listed_while_they_run(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image)
    assert mydocker.inspect(container)["ExecIDs"] is None
    mydocker("exec", "-d", container, "sleep", "500")
    (identifier,) = mydocker.inspect(container)["ExecIDs"]
    shown = mydocker("events", "--since", "60s", "--until", "0s", "--filter", "event=exec_start", "--format",
                     "{{.Actor.Attributes.execID}}").out.split()  # fmt: skip
    assert shown[-1] == identifier
    mydocker("exec", container, "killall", "sleep", check=False)


def test_inspect_of_an_added_process(engine: Engine, mydocker: Runner, image: str) -> None:
    container = engine.containers.get(mydocker.start(image)[0])
    session = container.exec(["sh", "-c", "read x; exit 7"], stdin=True, user="alice")
    assert session is not None
    found = container.exec_inspect(session.exec_id)
    assert (found["Running"], found["ExitCode"], found["ContainerID"]) == (True, None, container.id)
    assert os.path.exists(f"/proc/{found['Pid']}")
    assert found["ProcessConfig"] == {
        "tty": False, "entrypoint": "sh", "arguments": ["-c", "read x; exit 7"], "privileged": False,
        "user": "alice",
    }  # fmt: skip
    assert (found["OpenStdin"], found["OpenStdout"], found["OpenStderr"]) == (True, True, True)
    assert hear(session, stdin=b"\n").code == 7
    ended = container.exec_inspect(session.exec_id)
    assert (ended["Running"], ended["ExitCode"], ended["CanRemove"]) == (False, 7, True)
    with pytest.raises(errors.NotFound, match=r"^No such exec instance: nope$"):
        container.exec_inspect("nope")


# -- removal that fails, and prune


def test_a_container_that_cannot_be_removed_is_dead(
    engine: Engine, busybox_rootfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = engine.containers.create(
        Config(cmd=["true"]), HostConfig(rootfs=busybox_rootfs), name="undead"
    )

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error", "/some/file")

    with monkeypatch.context() as patch:
        patch.setattr(OverlaySnapshotter, "remove", fail)
        with pytest.raises(errors.Unavailable, match="failed to remove root filesystem: input/output error"):
            container.remove()
    state = engine.containers.get("undead").state
    assert (state.status, state.error) == ("dead", "input/output error: /some/file")
    with pytest.raises(errors.Conflict, match=r"^container is dead and cannot be started$"):
        container.start()
    assert [one.name for one in engine.containers.list(filters={"status": ["dead"]})] == ["undead"]
    engine.containers.get("undead").remove()
    assert engine.containers.list(all=True) == []


def test_a_removal_that_is_killed_is_completed(
    engine: Engine, busybox_rootfs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = engine.containers.create(
        Config(cmd=["true"], volumes={"/data": {}}), HostConfig(rootfs=busybox_rootfs), name="half"
    )
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(reconcile, "remove_tree", lambda _: os._exit(9))
        monkeypatch.setattr(OverlaySnapshotter, "remove", lambda *_: os._exit(9))
        container.remove(volumes=True)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert engine.containers.list(all=True) == []
    assert not os.path.exists(f"{engine.root}/container/{container.id}")
    assert os.listdir(f"{engine.root}/volume") == []


def test_container_prune(mydocker: Runner, image: str) -> None:
    running, _ = mydocker.start(image)
    kept = mydocker("create", "--label", "keep", image, "true").line
    gone = [mydocker("create", image, "true").line for _ in range(2)]
    asked = mydocker("container", "prune", stdin=b"n\n")
    assert asked.out.startswith("WARNING! This will remove all stopped containers.\n")
    assert len(mydocker.containers()) == 4
    done = mydocker("container", "prune", "--force", "--filter", "label!=keep").out
    first, *lines, total = done.splitlines()
    assert first == "Deleted Containers:"
    assert sorted(line for line in lines if line) == sorted(gone)
    assert total.startswith("Total reclaimed space: ")
    assert mydocker.containers() == sorted([running, kept])


# -- stats, ps, logs


def test_stats(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(
        image, "-m", "64m", "--name", "busy", command=("sh", "-c", "while :; do :; done")
    )
    stopped = mydocker("create", "--name", "idle", image, "true").line
    line = mydocker("stats", "--no-stream", "--format", "{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}").line
    name, cpu, usage, _, limit, pids = line.split()
    assert (name, limit, pids) == ("busy", "64MiB", "1")
    assert float(cpu.rstrip("%")) > 5
    assert usage.endswith(("KiB", "MiB"))
    both = mydocker("stats", "--no-stream", "--all").out.splitlines()
    headings = "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS"
    assert both[0].split() == headings.split()
    assert {row.split()[0] for row in both[1:]} == {container[:12], stopped[:12]}
    assert mydocker("stats", "--no-stream", "nope", check=1).err == "mydocker: No such container: nope\n"


def test_stats_go_on_until_they_are_interrupted(mydocker: Runner, image: str) -> None:
    mydocker.start(image, "--name", "watched")
    process = mydocker.popen("stats", "--format", "{{.Name}}", "watched")
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == [b"watched\n", b"watched\n"]
    mydocker("rm", "-f", "watched")
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_sizes(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-d", image, "sh", "-c", "head -c 3000 /dev/zero > /f").line
    mydocker("wait", container)
    found = json.loads(mydocker("inspect", "--size", container).out)[0]
    assert found["SizeRw"] == 3000
    assert found["SizeRootFs"] == 3000 + mydocker.inspect(image)["Size"]
    shown = mydocker("ps", "--all", "--size", "--format", "{{.Size}}").line
    assert shown.startswith("3kB (virtual ")
    assert mydocker("ps", "-as").out.splitlines()[0].split()[-1] == "SIZE"


@pytest.mark.parametrize(
    ("value", "found"), [("health=none", True), ("health=healthy", False), ("expose=80", True),
                         ("expose=70-90/tcp", True), ("expose=80/udp", False), ("publish=80", False),
                         ("is-task=false", True), ("is-task=true", False)],
)  # fmt: skip
def test_filters_of_ps(mydocker: Runner, image: str, value: str, found: bool) -> None:
    container = mydocker("create", "--expose", "80", image, "true").line
    shown = mydocker("ps", "--all", "--quiet", "--no-trunc", "--filter", value).out.split()
    assert shown == ([container] if found else [])


def test_filters_by_name(mydocker: Runner, image: str) -> None:
    """A regular expression over the name with the slash that Docker puts before it, or without."""
    web = mydocker("create", "--name", "web", image, "true").line
    other = mydocker("create", "--name", "myweb", image, "true").line

    def found(value: str) -> set[str]:
        return set(mydocker("ps", "-aq", "--no-trunc", "--filter", f"name={value}").out.split())

    assert found("^/web$") == found("^web$") == found("/web") == {web}
    assert found("web") == {web, other}
    assert found("/my") == {other}


def test_filters_by_what_is_published(mydocker: Runner, image: str) -> None:
    """Ports of the host, of what runs; a network by its name or the beginning of its identifier."""
    port = hosts.free_port()
    container, _ = mydocker.start(image, "-p", f"{port}:80")
    mydocker("create", "-p", f"{port}:80", "--network", "none", image, "true")
    network = json.loads(mydocker("network", "inspect", "bridge").out)[0]["Id"]
    for value in (
        f"publish={port}",
        f"publish={port - 1}-{port}/tcp",
        "network=bridge",
        f"network={network[:12]}",
    ):
        assert mydocker("ps", "-aq", "--no-trunc", "--filter", value).out.split() == [container], value
    assert mydocker("ps", "-aq", "--filter", "publish=80").out == ""


def test_ancestors(mydocker: Runner, image: str) -> None:
    """The image that has the name now, not what had it once."""
    mydocker("tag", image, "ancestor:1")
    old = mydocker("create", "ancestor:1", "true").line
    assert old in mydocker("ps", "-aq", "--no-trunc", "--filter", "ancestor=ancestor:1").out
    mydocker("commit", old, "ancestor:1")
    assert mydocker("ps", "-aq", "--filter", "ancestor=ancestor:1").out == ""
    assert mydocker("ps", "-aq", "--no-trunc", "--filter", f"ancestor={image}").line == old
    mydocker("rm", old)
    mydocker("rmi", "ancestor:1")


def test_the_image_that_ps_shows(mydocker: Runner, image: str) -> None:
    """The name that was given, in its familiar form, for as long as it leads to the container's image."""

    def shown(identifier: str, *options: str) -> str:
        options = ("-a", "--filter", f"id={identifier}", "--format", "{{.Image}}", *options)
        return mydocker("ps", *options).line

    mydocker("tag", image, "moves:1")
    whole = mydocker("image", "inspect", "--format", "{{.Id}}", image).line
    named = mydocker("create", "docker.io/library/moves:1", "true").line
    short = mydocker("create", whole[7:19], "true").line
    beginning = mydocker("create", whole[7:14], "true").line
    assert shown(named) == "moves:1"
    assert shown(named, "--no-trunc") == "docker.io/library/moves:1"
    mydocker("commit", named, "moves:1")
    assert shown(named) == whole[7:19]
    assert shown(named, "--no-trunc") == whole
    mydocker("rmi", "moves:1")
    assert shown(named) == whole[7:19]
    assert (shown(short), shown(beginning)) == (whole[7:19], whole[7:14])
    mydocker("rm", named, short, beginning)


def test_templates_over_what_is_not_there(mydocker: Runner, image: str) -> None:
    """As docker's client has it: fields that say nothing are there, and one that does not fit spoils no
    others."""
    mydocker("create", "--name", "one", image, "true")
    mydocker.start(image, "--name", "two", "--health-cmd", "true")
    template = "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.HostConfig.Binds}}"
    assert mydocker("inspect", "-f", template, "one").out == "none []\n"
    said = mydocker("inspect", "-f", "{{.State.Health.Status}}", "one", "two", check=1)
    assert said.out in ("starting\n", "healthy\n")
    assert 'map has no entry for key "Health"' in said.err
    assert mydocker("inspect", "-f", "{{.Name}}", "absent", check=1).out == "\n"


def test_a_start_of_what_is_not_there(mydocker: Runner, image: str) -> None:
    container = mydocker("create", image, "/no/such").line
    for flags in ((), ("--attach",)):
        assert "no such file" in mydocker("start", *flags, container, check=1).err
    assert mydocker.inspect(container)["State"]["ExitCode"] == 127


def test_the_platform_of_the_environment(mydocker: Runner, image: str) -> None:
    refused = mydocker(
        "run",
        "--rm",
        "--pull",
        "never",
        image,
        "true",
        env={"DOCKER_DEFAULT_PLATFORM": "linux/s390x"},
        check=125,
    )
    assert "wanted linux/s390x" in refused.err


def test_templates_of_events(mydocker: Runner, image: str) -> None:
    start = time.time()
    container = mydocker("create", "--name", "told", "--volume", "/data", image, "true").line
    arguments = ("--since", repr(start), "--until", "0s", "--filter", f"container={container}", "--format")
    template = (
        "Type={{.Type}}  Status={{.Status}}  ID={{.ID}} {{.Actor.Attributes.name}} {{.Actor.Attributes.nope}}"
    )
    shown = mydocker("events", *arguments, template).line
    assert shown == f"Type=container  Status=create  ID={container} told <no value>"
    assert mydocker("events", *arguments, '{{if eq .Type "image"}}x{{end}}').out == "\n"
    assert json.loads(mydocker("events", *arguments, "{{json .}}").line)["id"] == container


def test_logs_that_are_followed_until_a_moment(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image, command=("sh", "-c", "echo said; sleep 1000"))
    mydocker.wait_for_log(container, "said")
    done = mydocker("logs", "--follow", "--until", repr(time.time() + 0.5), container, timeout=20)
    assert done.out == "said\n"
    assert mydocker("logs", "--details", container).out == " said\n"


# -- which container is meant


def test_ambiguous_prefixes(mydocker: Runner, image: str) -> None:
    identifiers = [mydocker("create", image, "true").line for _ in range(17)]
    first = next(one[0] for one in identifiers if sum(other[0] == one[0] for other in identifiers) > 1)
    for verb in ("start", "stop", "rm", "logs", "pause", "diff", "top"):
        refused = mydocker(verb, first, check=1)
        assert refused.err == f"mydocker: multiple IDs found with provided prefix: {first}\n"
    refused = mydocker("inspect", first, check=1)
    assert refused.err == f"mydocker: multiple IDs found with provided prefix: {first}\n"


def test_ps_is_needed_for_top(mydocker: Runner, image: str, tmp_path: Path) -> None:
    container, _ = mydocker.start(image)
    os.symlink(probe.program("sh") or "", tmp_path / "sh")
    refused = mydocker("top", container, env={"PATH": str(tmp_path), "MYDOCKER_FORKSERVER": "0"}, check=1)
    assert refused.err == "mydocker: top needs the program ps on the host (package procps)\n"


# -- several at once


def test_several_containers_are_stopped_together(mydocker: Runner, image: str) -> None:
    """Each of them ends only when all have had the signal."""
    names = [f"together-{number}" for number in range(3)]
    for name in names:
        loop = "until [ $(ls /shared | wc -l) = 3 ]; do sleep 0.05; done"
        script = f"trap 'touch /shared/{name}' TERM; echo ready; {loop}"
        mydocker(
            "run", "-d", "--name", name, "-v", f"{mydocker.state}/shared:/shared", image, "sh", "-c", script
        )
        mydocker.wait_for_log(name, "ready\n")
    try:
        done = mydocker("stop", "--timeout", "40", *names, "nope", check=1)
        assert done.out.split() == names
        assert done.err == "mydocker: No such container: nope\n"
        assert [mydocker.inspect(name)["State"]["ExitCode"] for name in names] == [0, 0, 0]
    finally:
        mydocker("rm", "-f", *names)
        shutil.rmtree(f"{mydocker.state}/shared")


def test_start_attaches_to_what_runs_already(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(
        image, command=("sh", "-c", "until [ -e /go ]; do sleep 0.05; done; echo heard; exit 6")
    )
    attached = mydocker.popen("start", "--attach", container)
    wait_until(
        lambda: "attach" in mydocker("events", "--since", "60s", "--until", "0s", "--filter",
                                     f"container={container}", "--format", "{{.Action}}").out.split()
    )  # fmt: skip
    mydocker("exec", container, "touch", "/go")
    out, _ = attached.communicate(timeout=20)
    assert (out, attached.returncode) == (b"heard\n", 6)


def test_a_monitor_that_is_not_needed_after_all_ends(mydocker: Runner, image: str) -> None:
    """It is asked for before it is certain that there will be a container."""
    if not leaks.forkservers():
        mydocker("version")
    mydocker("create", "--name", "taken", image, "true")
    for _ in range(4):
        assert "in use" in mydocker("run", "--name", "taken", image, "true", check=125).err
    spares = 3 * len(leaks.forkservers())  # a worker, and a monitor with its builder
    end = time.monotonic() + 10
    while len(found := [each for each in killing.processes() if each.name == "mydocker-spare"]) > spares:
        assert time.monotonic() < end, found
        time.sleep(0.05)
