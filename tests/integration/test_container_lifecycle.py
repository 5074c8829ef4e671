"""Containers through the Python API: each verb, what it leaves on disk and in the kernel, its refusals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.container import reconcile
from mydocker.container.record import Record
from mydocker.container.store import Lock, Store
from mydocker.engine import AttachOptions, Config, Container, Engine, Event, HostConfig
from support.killing import parent
from support.session import hear, hear_until
from support.waiting import wait_until


def create(engine: Engine, rootfs: str, *command: str, name: str | None = None, **host: object) -> Container:
    return engine.containers.create(
        Config(cmd=list(command)),
        HostConfig(rootfs=rootfs, **host),  # type: ignore[arg-type]
        name=name,
    )


def test_a_whole_life(engine: Engine, busybox_rootfs: str) -> None:
    container = create(engine, busybox_rootfs, "sh", "-c", "echo out; echo err >&2; exit 7", name="whole")
    assert container.refresh().status == "created"
    directory = f"{engine.root}/container/{container.id}"
    assert os.readlink(f"{engine.root}/container/by-name/whole") == f"../{container.id}"
    heard = hear(container.start(attach=AttachOptions()))
    assert (heard.stdout, heard.stderr, heard.code) == (b"out\n", b"err\n", 7)
    state = container.refresh()
    assert (state.status, state.exit_code, state.pid, state.oom_killed) == ("exited", 7, 0, False)
    assert state.started_at < state.finished_at
    assert sorted((entry.stream, entry.log) for entry in container.logs()) == [
        ("stderr", "err\n"),
        ("stdout", "out\n"),
    ]
    assert os.listdir(f"{engine.state}/container") == []
    container.remove()
    assert not os.path.exists(directory)
    with pytest.raises(errors.NotFound, match=r"^No such container: whole$"):
        engine.containers.get("whole")


def test_a_container_runs_again_with_what_it_wrote(engine: Engine, busybox_rootfs: str) -> None:
    container = create(engine, busybox_rootfs, "sh", "-c", "echo x >> /file; wc -l < /file")
    assert hear(container.start(attach=AttachOptions())).stdout.strip() == b"1"
    assert hear(container.start(attach=AttachOptions())).stdout.strip() == b"2"
    assert not os.path.exists(f"{busybox_rootfs}/file")
    container.remove()


def test_it_removes_itself_before_it_says_so(engine: Engine, busybox_rootfs: str) -> None:
    container = create(engine, busybox_rootfs, "true", name="brief", auto_remove=True)
    assert hear(container.start(attach=AttachOptions())).code == 0
    assert not os.path.exists(f"{engine.root}/container/{container.id}")
    assert not os.path.lexists(f"{engine.root}/container/by-name/brief")
    places = (f"{engine.root}/removed", f"{engine.state}/container")
    wait_until(lambda: not any(os.listdir(place) for place in places))  # what nobody sees follows


def set_aside(engine: Engine, rootfs: str, name: str) -> tuple[Store, Record, Lock]:
    """A container that is removing itself, with the lock that its monitor has."""
    container = create(engine, rootfs, "true", name=name, auto_remove=True)
    store = Store(engine.root, engine.state)
    lock = store.lock(container.id)
    assert lock is not None
    record = store.read_record(container.id)
    reconcile.set_aside(store, record)
    return store, record, lock


@pytest.mark.parametrize("rebooted", [False, True])
def test_its_monitor_is_killed_as_it_is_removed(engine: Engine, busybox_rootfs: str, rebooted: bool) -> None:
    """It is gone at once, and so is its name; whoever comes next removes what is left of it."""
    store, record, lock = set_aside(engine, busybox_rootfs, "brief")
    assert [each.name for each in engine.containers.list(all=True)] == []
    create(engine, busybox_rootfs, "true", name="brief").remove()
    assert os.listdir(f"{engine.root}/removed") == [record.id]
    lock.close()
    if rebooted:
        shutil.rmtree(f"{engine.state}/container")
        engine.containers.prune()
    else:
        engine.containers.list()
    assert os.listdir(f"{engine.root}/removed") == []
    assert not store.held(record.id)


def test_one_that_cannot_be_removed_is_back(engine: Engine, busybox_rootfs: str) -> None:
    store, record, lock = set_aside(engine, busybox_rootfs, "undead")
    place = f"{store.aside(record.id)}/rw/diff/in-the-way"
    os.mkdir(place)
    subprocess.run(["mount", "-t", "tmpfs", "none", place], check=True)
    with pytest.raises(
        errors.Unavailable, match=r"failed to remove root filesystem: device or resource busy"
    ):
        reconcile.finish(store, record.id, lock)
    subprocess.run(["umount", place.replace("/removed/", "/container/")], check=True)
    found = engine.containers.get("undead")
    assert (found.state.status, found.id) == ("dead", record.id)
    found.remove()


@pytest.mark.parametrize("auto_remove", [True, False])
def test_one_that_removes_itself_syncs_nothing(
    engine: Engine, busybox_rootfs: str, auto_remove: bool
) -> None:
    container = create(engine, busybox_rootfs, "sleep", "1000", auto_remove=auto_remove)
    container.start()
    for _ in range(2):
        found = Path(f"/proc/{container.refresh().pid}/mountinfo").read_text().splitlines()
        (root,) = [line for line in found if line.split()[4] == "/"]
        options = root.split(" - ")[1].split(",")
        assert bool({"volatile", "fsync=volatile"} & {*options}) == auto_remove
        container.restart(0)  # in which it is not removed, and mounted again
    container.remove(force=True)


@pytest.mark.parametrize(
    ("command", "error", "code"),
    [
        ("no-such-command", errors.CommandNotFound, 127),
        ("/etc/passwd", errors.CommandNotExecutable, 126),
    ],
)
def test_a_start_that_fails_is_noted(
    engine: Engine, busybox_rootfs: str, command: str, error: type[errors.Error], code: int
) -> None:
    container = create(engine, busybox_rootfs, command)
    with pytest.raises(error, match=command):
        container.start()
    state = container.refresh()
    assert (state.status, state.exit_code) == ("created", code)
    assert command in state.error
    assert os.listdir(f"{engine.state}/container") == []
    container.remove()


def test_a_failed_start_of_one_that_removes_itself(engine: Engine, busybox_rootfs: str) -> None:
    container = create(engine, busybox_rootfs, "nope", auto_remove=True)
    with pytest.raises(errors.CommandNotFound):
        container.start()
    assert engine.containers.list(all=True) == []


def test_one_name_for_one_container(engine: Engine, busybox_rootfs: str) -> None:
    first = create(engine, busybox_rootfs, "true", name="twin")
    before = sorted(os.listdir(f"{engine.root}/container"))
    with pytest.raises(errors.Conflict, match=f'name "/twin" is already in use by container "{first.id}"'):
        create(engine, busybox_rootfs, "true", name="twin")
    assert sorted(os.listdir(f"{engine.root}/container")) == before
    first.remove()
    create(engine, busybox_rootfs, "true", name="twin").remove()


def test_references(engine: Engine, busybox_rootfs: str) -> None:
    container = create(engine, busybox_rootfs, "true", name="refer")
    for reference in (container.id, container.short_id, "refer", "/refer", container.id[:20]):
        assert engine.containers.get(reference).id == container.id
    container.remove()


def test_stop_asks_first(engine: Engine, busybox_rootfs: str) -> None:
    container = create(
        engine, busybox_rootfs, "sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    )
    session = container.start(attach=AttachOptions())
    assert session is not None
    hear_until(session, b"ready")
    container.stop()
    assert hear(session).code == 9
    assert container.refresh().exit_code == 9
    container.stop()
    container.remove()


def test_stop_uses_the_stop_signal_and_then_force(engine: Engine, busybox_rootfs: str) -> None:
    script = "trap '' TERM; trap 'exit 5' USR1; echo ready; while :; do sleep 0.1; done"
    container = engine.containers.create(
        Config(cmd=["sh", "-c", script], stop_signal="SIGUSR1"), HostConfig(rootfs=busybox_rootfs)
    )
    session = container.start(attach=AttachOptions())
    assert session is not None
    hear_until(session, b"ready")
    container.stop()
    assert hear(session).code == 5
    deaf = engine.containers.create(Config(cmd=["sleep", "1000"]), HostConfig(rootfs=busybox_rootfs))
    deaf.start()
    before = time.monotonic()
    deaf.stop(timeout=1)
    assert 1 <= time.monotonic() - before < 6
    assert deaf.refresh().exit_code == 137
    for each in (container, deaf):
        each.remove()


def test_kill_wait_and_their_refusals(engine: Engine, busybox_rootfs: str) -> None:
    container = create(engine, busybox_rootfs, "sleep", "1000", name="killed")
    with pytest.raises(errors.Conflict, match=f"container {container.id} is not running"):
        container.kill()
    container.start()
    container.start()
    with pytest.raises(errors.Conflict, match='cannot remove container "/killed": container is running'):
        container.remove()
    with pytest.raises(errors.InvalidArgument, match="Invalid signal: BOGUS"):
        container.kill("BOGUS")
    container.kill("SIGKILL")
    assert container.wait() == 137
    assert container.wait() == 137
    container.start()
    pid = container.refresh().pid
    container.remove(force=True)
    assert not os.path.exists(f"/proc/{pid}/exe")
    with pytest.raises(errors.NotFound):
        container.refresh()


def test_everything_in_it_ends_with_init(engine: Engine, busybox_rootfs: str) -> None:
    """Without a PID namespace of its own nothing but the cgroup knows who belongs to a container."""
    container = create(engine, busybox_rootfs, "sh", "-c", "sleep 987654 & echo $!; exit 0", pid_mode="host")
    session = container.start(attach=AttachOptions())
    pid = int(hear(session).stdout)
    wait_until(lambda: not os.path.exists(f"/proc/{pid}"))
    container.remove()


def test_out_of_memory(engine: Engine, busybox_rootfs: str) -> None:
    eat = "x=x; while :; do x=$x$x; done"
    container = create(engine, busybox_rootfs, "sh", "-c", eat, memory=16 << 20)
    heard = hear(container.start(attach=AttachOptions()), patience=60)
    state = container.refresh()
    assert (heard.code, state.exit_code, state.oom_killed) == (137, 137, True)
    container.remove()


def test_explain_tells_the_steps_in_order(engine: Engine, busybox_rootfs: str) -> None:
    events: list[Event] = []
    container = create(engine, busybox_rootfs, "true", auto_remove=True)
    assert hear(container.start(attach=AttachOptions(), observer=events.append)).code == 0
    steps = [event.step for event in events]
    order = ["new namespaces", "stack ", "pivot_root", "user"]
    places = [next(n for n, step in enumerate(steps) if words in step) for words in order]
    assert places == sorted(places)
    assert any("->" in event.shown and "mount 40265" in event.shown for event in events)


def test_namespaces_of_another_container(engine: Engine, busybox_rootfs: str) -> None:
    donor = create(
        engine, busybox_rootfs, "sh", "-c", "echo mine > /dev/shm/x; sleep 1000", ipc_mode="shareable"
    )
    script = "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; cat /dev/shm/x; hostname; ps | wc -l"
    guest = create(
        engine,
        busybox_rootfs,
        "sh",
        "-c",
        script,
        network_mode=f"container:{donor.name}",
        ipc_mode=f"container:{donor.short_id}",
        pid_mode=f"container:{donor.id}",
    )
    with pytest.raises(errors.Conflict, match="non running container"):
        guest.start()
    donor.start()
    pid = donor.refresh().pid
    for _ in range(100):
        if (
            donor.exec(["test", "-s", "/dev/shm/x"])
            and hear(donor.exec(["test", "-s", "/dev/shm/x"])).code == 0
        ):
            break
    heard = hear(guest.start(attach=AttachOptions()))
    lines = heard.stdout.decode().split()
    assert lines[:2] == [os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "ipc")], heard.stderr
    assert lines[2:4] == ["mine", donor.short_id]
    for each in (guest, donor):
        each.remove(force=True)


def test_ipc_of_a_private_container_is_not_lent(engine: Engine, busybox_rootfs: str) -> None:
    donor = create(engine, busybox_rootfs, "sleep", "1000")
    donor.start()
    guest = create(engine, busybox_rootfs, "true", ipc_mode=f"container:{donor.id}")
    with pytest.raises(errors.Conflict, match=f"can't join IPC of container {donor.id}: non-shareable IPC"):
        guest.start()
    for each in (guest, donor):
        each.remove(force=True)


def test_anonymous_volumes_go_with_v_and_rm(engine: Engine, image: str) -> None:
    def volumes() -> list[str]:
        place = f"{engine.root}/volume"
        return os.listdir(place) if os.path.isdir(place) else []

    config = Config(image=image, cmd=["sh", "-c", "echo hi > /etc/x; ls /etc | wc -l"], volumes={"/etc": {}})
    before = set(volumes())
    kept = engine.containers.create(config, HostConfig())
    heard = hear(kept.start(attach=AttachOptions()))
    assert int(heard.stdout) > 2, "the volume starts with what the image has there"
    assert len(set(volumes()) - before) == 1
    (name,) = set(volumes()) - before
    mounted = kept.inspect()["Mounts"]
    assert [(each["Type"], each["Name"], each["Destination"]) for each in mounted] == [
        ("volume", name, "/etc")
    ]
    kept.remove()
    assert name in volumes(), "rm without -v keeps it"
    again = engine.containers.create(config, HostConfig())
    again.remove(volumes=True)
    brief = engine.containers.create(config, HostConfig(auto_remove=True))
    hear(brief.start(attach=AttachOptions()))
    assert set(volumes()) - before == {name}
    shutil.rmtree(f"{engine.root}/volume/{name}")


def test_list_and_filters(engine: Engine, busybox_rootfs: str) -> None:
    up = engine.containers.create(
        Config(cmd=["sleep", "1000"], labels={"tier": "web"}),
        HostConfig(rootfs=busybox_rootfs),
        name="up-one",
    )
    up.start()
    down = create(engine, busybox_rootfs, "sh", "-c", "exit 3", name="down-one")
    down.start()
    down.wait()

    def names(**filters: list[str]) -> list[str]:
        return [each.name for each in engine.containers.list(all=True, filters=filters)]

    assert [each.name for each in engine.containers.list()] == ["up-one"]
    assert names() == ["down-one", "up-one"]
    assert names(status=["exited"]) == names(exited=["3"]) == names(name=["^down"]) == ["down-one"]
    assert names(label=["tier"]) == names(label=["tier=web"]) == names(before=["down-one"]) == ["up-one"]
    assert names(label=["tier", "absent"]) == []
    assert names(since=["up-one"]) == names(id=[down.short_id]) == ["down-one"]
    with pytest.raises(errors.InvalidArgument, match="invalid filter 'odd'"):
        names(odd=["x"])
    for each in (up, down):
        each.remove(force=True)


def test_wait_at_the_moment_of_the_end(engine: Engine, busybox_rootfs: str) -> None:
    """The monitor takes no more connections before it has written down how the container ended."""
    container = create(engine, busybox_rootfs, "sh", "-c", "exit 3")
    for _ in range(30):
        container.start()
        assert container.wait() == 3
        assert not container.refresh().running
    container.remove()


def test_inspect_agrees_with_the_kernel(engine: Engine, busybox_rootfs: str) -> None:
    container = create(engine, busybox_rootfs, "sleep", "1000", name="seen", memory=32 << 20)
    container.start()
    shown = container.inspect()
    pid = shown["State"]["Pid"]
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        assert file.read().split(b"\0")[:2] == [b"sleep", b"1000"]
    with open(f"/proc/{pid}/cgroup") as file:
        assert f"/mydocker/{container.id}" in file.read()
    assert shown["Name"] == "/seen"
    assert shown["HostConfig"]["Memory"] == 32 << 20
    assert shown["Config"]["Hostname"] == container.short_id
    hear(container.exec(["sh", "-c", "echo x > /made-here"]))
    assert os.path.exists(f"{shown['GraphDriver']['Data']['UpperDir']}/made-here")
    container.remove(force=True)


def test_a_monitor_keeps_nothing_of_its_starter(engine: Engine, busybox_rootfs: str) -> None:
    """Neither descriptors (a pipe behind ``run -d | cat`` would never end) nor session nor directory."""
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    container = create(engine, busybox_rootfs, "sleep", "1000")
    container.start()
    os.close(writing)
    assert os.read(reading, 1) == b""
    os.close(reading)
    monitor = parent(container.refresh().pid)
    assert os.getsid(monitor) != os.getsid(0)
    assert os.readlink(f"/proc/{monitor}/cwd") == "/"
    with open(f"/proc/{monitor}/comm") as file:
        assert file.read() == "mydocker-mon\n"
    assert [os.readlink(f"/proc/{monitor}/fd/{fd}") for fd in (0, 1, 2)] == ["/dev/null"] * 3
    container.remove(force=True)


@pytest.mark.parametrize("auto_remove", [False, True])
def test_the_monitor_is_killed(engine: Engine, busybox_rootfs: str, auto_remove: bool) -> None:
    container = create(engine, busybox_rootfs, "sleep", "1000", name="orphan", auto_remove=auto_remove)
    session = container.start(attach=AttachOptions())
    pid = container.refresh().pid
    os.kill(parent(pid), signal.SIGKILL)
    with pytest.raises(errors.Unavailable, match="monitor is gone"):
        hear(session)
    for _ in range(100):  # the connection may end a moment before the lock
        left = engine.containers.list(all=True)
        if not os.listdir(f"{engine.state}/container"):
            break
        time.sleep(0.01)
    assert os.listdir(f"{engine.state}/container") == []
    if auto_remove:
        assert left == []
    else:
        assert [(each.name, each.state.status, each.state.exit_code) for each in left] == [
            ("orphan", "exited", 137)
        ]
        left[0].remove()
    with pytest.raises((ProcessLookupError, FileNotFoundError)):
        os.readlink(f"/proc/{pid}/exe")


def test_init_is_killed_from_outside(engine: Engine, busybox_rootfs: str) -> None:
    container = create(engine, busybox_rootfs, "sleep", "1000")
    session = container.start(attach=AttachOptions())
    os.kill(container.refresh().pid, signal.SIGKILL)
    assert hear(session).code == 137
    assert container.refresh().status == "exited"
    container.remove()


def test_created_for_a_start_that_never_comes(engine: Engine, busybox_rootfs: str) -> None:
    container = engine.containers.create(
        Config(cmd=["true"]), HostConfig(rootfs=busybox_rootfs), name="dropped", starting=True
    )
    assert engine.containers.list(all=True) == [], "it does not count before it runs"
    container.discard()
    assert not os.path.lexists(f"{engine.root}/container/by-name/dropped")
    abandoned = engine.containers.create(
        Config(cmd=["true"]), HostConfig(rootfs=busybox_rootfs), starting=True
    )
    del abandoned
    assert engine.containers.list(all=True) == []
    assert [name for name in os.listdir(f"{engine.root}/container") if len(name) == 64] == []
