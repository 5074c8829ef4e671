"""The command mydocker-runtime: the life of a container by hand, its options, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from support import bundle, command, probe
from support.oci import Runtime
from support.waiting import wait_until


def _cgroup(pid: int, controller: str) -> str:
    """The directory of a process's cgroup for ``controller`` (memory, pids, …), v1 or v2."""
    rows = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    hierarchies = probe.cgroup_hierarchies()
    for _, names, path in rows:
        if controller in names.split(","):
            return hierarchies[names] + path
    return hierarchies[""] + next(path for _, names, path in rows if not names)


def _limit(pid: int, v1: str, v2: str) -> str:
    directory = _cgroup(pid, v1.partition(".")[0])
    file = v1 if os.path.exists(f"{directory}/{v1}") else v2
    return Path(directory, file).read_text().strip()


# -- the life of a container --------------------------------------------------------------------------------


def test_the_states_of_a_container(runtime: Runtime, busybox_rootfs: str) -> None:
    place = runtime.bundle(busybox_rootfs, ["sleep", "1000"], annotations={"a": "b"})
    runtime.create("c", place)
    state = runtime.state("c")
    assert (state["id"], state["status"], state["bundle"]) == ("c", "created", place)
    assert state["annotations"] == {"a": "b"}
    assert b"sleep" not in Path(f"/proc/{state['pid']}/cmdline").read_bytes()
    runtime("start", "c")
    assert runtime.state("c")["status"] == "running"
    assert Path(f"/proc/{state['pid']}/cmdline").read_bytes() == b"sleep\x001000\x00"
    runtime("pause", "c")
    assert runtime.state("c")["status"] == "paused"
    runtime("resume", "c")
    runtime("kill", "c", "KILL")
    wait_until(lambda: runtime.state("c")["status"] == "stopped")
    assert runtime.state("c")["pid"] == 0
    runtime("delete", "c")
    assert runtime("state", "c", check=1).err.endswith(f"container c does not exist in {runtime.root}\n")


@pytest.mark.parametrize(
    ("command_", "status", "message"),
    [
        (["start", "c"], "running", "cannot start container c: it is running, not created"),
        (["resume", "c"], "running", "cannot resume container c: it is running"),
        (["delete", "c"], "running", "cannot delete container c: it is running"),
        (["exec", "c", "true"], "paused", "cannot exec in container c: it is paused"),
        (["pause", "c"], "paused", "cannot pause container c: it is paused"),
        (["start", "c"], "stopped", "cannot start container c: it is stopped, not created"),
        (["exec", "c", "true"], "stopped", "cannot exec in container c: it is stopped"),
        (["kill", "c"], "stopped", "container c is not running"),
        (["pause", "c"], "stopped", "cannot pause container c: it is stopped"),
        (["update", "--pids-limit", "5", "c"], "stopped", "cannot update container c: it is stopped"),
        (["events", "--stats", "c"], "stopped", "container c is not running"),
        (["ps", "c"], "stopped", "container c is not running"),
    ],
)
def test_a_command_in_the_wrong_state(
    runtime: Runtime, busybox_rootfs: str, command_: list[str], status: str, message: str
) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    if status == "paused":
        runtime("pause", "c")
    if status == "stopped":
        runtime("kill", "c", "KILL")
        wait_until(lambda: runtime.state("c")["status"] == "stopped")
    result = runtime(*command_, check=255 if command_[0] == "exec" else 1)
    assert message in result.err
    assert runtime.state("c")["status"] == status


def test_a_number_that_another_process_has_now_is_not_killed(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    with subprocess.Popen(["sleep", "1000"]) as bystander:
        try:
            file = Path(runtime.root, "c", "state.json")
            document = json.loads(file.read_text())
            own = document["pid"]
            file.write_text(json.dumps({**document, "pid": bystander.pid}))
            assert runtime.state("c")["status"] == "stopped"
            assert "is not running" in runtime("kill", "c", "KILL", check=1).err
            file.write_text(json.dumps({**document, "pid": own}))
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_run_in_the_foreground(runtime: Runtime, busybox_rootfs: str) -> None:
    place = runtime.bundle(busybox_rootfs, ["sh", "-c", "cat; exit 7"])
    result = runtime("run", "--bundle", place, "c", check=7, input=b"through")
    assert result.out == "through"
    assert runtime.ids() == []


def test_keep_leaves_the_state(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime("run", "--keep", "--bundle", runtime.bundle(busybox_rootfs, ["true"]), "c")
    assert runtime.state("c")["status"] == "stopped"


def test_a_signal_reaches_the_container(runtime: Runtime, busybox_rootfs: str) -> None:
    script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done"
    place = runtime.bundle(busybox_rootfs, ["sh", "-c", script])
    program = [runtime.program, "--root", runtime.root, "run", "--bundle", place, "c"]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(20) == 9


def test_an_id_that_is_taken(runtime: Runtime, busybox_rootfs: str) -> None:
    place = runtime.bundle(busybox_rootfs, ["sleep", "1000"])
    runtime.start("c", place)
    pid = runtime.state("c")["pid"]
    result = runtime.detached("create", "--bundle", place, "c", check=False)
    assert result.code == 1
    assert "container with id c exists already" in result.err
    assert runtime.state("c")["pid"] == pid


@pytest.mark.parametrize("id", ["a/b", "../x", "", ".", "..", ".x", "a b", "ä", "x" * 1025, "a\n"])
def test_an_id_that_cannot_be(runtime: Runtime, busybox_rootfs: str, id: str) -> None:
    place = runtime.bundle(busybox_rootfs, ["true"])
    result = runtime("run", "--bundle", place, id, check=1)
    assert "container ID" in result.err
    for other in ("state", "start", "kill", "delete"):
        assert runtime(other, id, check=False).code == 1
    assert runtime.ids() == []


def test_kill_all_reaches_every_process(runtime: Runtime, busybox_rootfs: str) -> None:
    script = "sleep 1001 & sleep 1002 & wait"
    namespaces = bundle.namespaces("mount", "network", "ipc", "uts")
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sh", "-c", script], linux={"namespaces": namespaces}))
    wait_until(lambda: len(runtime("ps", "--format", "json", "c").json()) == 3)
    pids = runtime("ps", "--format", "json", "c").json()
    runtime("kill", "--all", "c", "SIGKILL")
    wait_until(lambda: not [pid for pid in pids if _alive(pid)])


def test_kill_all_of_what_has_ended_is_no_error(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime("run", "--keep", "--bundle", runtime.bundle(busybox_rootfs, ["true"]), "c")
    runtime("kill", "--all", "c", "KILL")


def test_delete_by_a_regular_expression(runtime: Runtime, busybox_rootfs: str) -> None:
    place = runtime.bundle(busybox_rootfs, ["true"])
    for id in ("a1", "a2", "b1"):
        document = json.loads(Path(place, "config.json").read_text())
        document["linux"]["cgroupsPath"] += f"-{id}"
        runtime("run", "--keep", "--bundle", runtime.bundle_of(document), id)
    runtime("delete", "--regex", "^a[0-9]$")
    assert runtime.ids() == ["b1"]
    assert "invalid regular expression" in runtime("delete", "--regex", "(", check=1).err


def test_delete_by_force_of_what_is_not_there(runtime: Runtime) -> None:
    runtime("delete", "--force", "nobody")
    assert "container nobody does not exist" in runtime("delete", "nobody", check=1).err


@pytest.mark.skipif(not probe.cgroup_of("freezer"), reason="needs the freezer of cgroup v1")
def test_delete_by_force_of_a_process_that_somebody_froze(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    frozen = Path(str(probe.cgroup_of("freezer")), "mydocker-test-frozen")
    frozen.mkdir()
    try:
        (frozen / "tasks").write_text(str(runtime.state("c")["pid"]))
        (frozen / "freezer.state").write_text("FROZEN")
        runtime("delete", "--force", "c")
        assert runtime.ids() == []
    finally:
        (frozen / "freezer.state").write_text("THAWED")
        frozen.rmdir()


def test_a_container_is_not_there_while_it_is_being_created(runtime: Runtime, busybox_rootfs: str) -> None:
    """A createRuntime hook asks for it: runc and crun know nothing of it then, and engines ask again."""
    script = f"{runtime.program} --root {runtime.root} state c; test $? = 1 && exit 5"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": [f"PATH={probe.SYSTEM_PATH}"]}
    place = runtime.bundle(busybox_rootfs, ["true"], hooks={"createRuntime": [hook]})
    result = runtime("run", "--bundle", place, "c", check=1)
    assert "failed with status 5" in result.err
    assert "it is being created" in result.err
    assert runtime.ids() == []


# -- hooks --------------------------------------------------------------------------------------------------


def test_a_poststop_hook_that_fails_is_a_warning(runtime: Runtime, busybox_rootfs: str) -> None:
    mark = Path(runtime.directory, "mark")
    hooks = [{"path": "/bin/false"}, {"path": "/bin/touch", "args": ["touch", str(mark)]}]
    place = runtime.bundle(busybox_rootfs, ["sh", "-c", "exit 3"], hooks={"poststop": hooks})
    result = runtime("run", "--bundle", place, "c", check=3)
    assert "warning: poststop hook /bin/false failed with status 1" in result.err
    assert mark.exists()
    runtime("run", "--keep", "--bundle", place, "c", check=3)
    mark.unlink()
    assert "warning: poststop hook" in runtime("delete", "c").err
    assert mark.exists()


def test_a_poststart_hook_that_fails_ends_the_container(runtime: Runtime, busybox_rootfs: str) -> None:
    place = runtime.bundle(busybox_rootfs, ["sleep", "1000"], hooks={"poststart": [{"path": "/bin/false"}]})
    runtime.create("c", place)
    pid = runtime.state("c")["pid"]
    assert "poststart hook /bin/false failed" in runtime("start", "c", check=1).err
    assert not _alive(pid)
    assert runtime.ids() == []


def test_the_environment_of_hooks(runtime: Runtime, busybox_rootfs: str) -> None:
    seen = Path(runtime.directory, "seen")

    def hook(kind: str, **extra: Any) -> dict[str, Any]:
        script = f'echo "{kind} ${{MARK-none}}${{PERL_SKIP_LOCALE_INIT-}}" >> {seen}'
        return {"path": "/bin/sh", "args": ["sh", "-c", script], **extra}

    hooks = {
        "createRuntime": [hook("inherits"), hook("own", env=["MARK=own"]), hook("empty", env=[])],
        "createContainer": [hook("inside")],
    }
    place = runtime.bundle(busybox_rootfs, ["true"], hooks=hooks)
    runtime("run", "--bundle", place, "c", env={**os.environ, "MARK": "runtime"})
    assert seen.read_text().splitlines() == ["inherits runtime", "own own", "empty none", "inside runtime"]


# -- what create and run take -------------------------------------------------------------------------------


def test_the_pid_file_and_another_config(runtime: Runtime, busybox_rootfs: str) -> None:
    place = runtime.bundle(busybox_rootfs, ["sleep", "1000"])
    os.rename(f"{place}/config.json", f"{place}/other.json")
    file = os.path.join(runtime.directory, "pid")
    runtime.start("c", place, "--config", "other.json", "--pid-file", file)
    assert Path(file).read_text() == str(runtime.state("c")["pid"])


def test_only_preserved_descriptors_enter(runtime: Runtime, busybox_rootfs: str) -> None:
    """By their number; what is open above them, and what the runtime itself has open, does not."""
    place = runtime.bundle(busybox_rootfs, ["sh", "-c", "for n in /proc/self/fd/*; do echo ${n##*/}; done"])
    wanted: tuple[tuple[str, set[str]], ...] = (
        ("198", {"200"}),
        ("199", {"200", "201"}),
        ("500", {"200", "201"}),
        ("0", set()),
    )
    with open(os.devnull) as null:
        for number in (200, 201):
            os.dup2(null.fileno(), number, inheritable=True)
        try:
            for count, seen in wanted:
                options = ["--preserve-fds", count, "--bundle", place]
                shown = runtime("run", *options, "c", pass_fds=(200, 201)).out.split()
                # sh itself has the directory open while it expands the pattern
                assert set(shown) - {"0", "1", "2", "3"} == seen
        finally:
            os.close(200)
            os.close(201)
    assert "--preserve-fds is a number" in runtime("run", "--preserve-fds", "x", "c", check=1).err


def test_descriptors_of_a_service_manager(runtime: Runtime, busybox_rootfs: str) -> None:
    place = runtime.bundle(busybox_rootfs, ["sh", "-c", "cat <&3; env | grep LISTEN | sort"])
    reading, writing = os.pipe()
    os.write(writing, b"by descriptor\n")
    os.close(writing)
    script = f'exec 3</proc/self/fd/{reading}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
    program = [runtime.program, "--root", runtime.root, "run", "--bundle", place, "c"]
    try:
        result = command.run(["sh", "-c", script, "sh", *program], pass_fds=(reading,))
    finally:
        os.close(reading)
    assert result.out == "by descriptor\nLISTEN_FDS=1\nLISTEN_PID=1\n"


def test_no_pivot_hides_the_host_all_the_same(runtime: Runtime, busybox_rootfs: str) -> None:
    script = "ls -d /etc/debian_version /.. ; cat /proc/self/mountinfo"
    place = runtime.bundle(busybox_rootfs, ["sh", "-c", script])
    result = runtime("run", "--no-pivot", "--bundle", place, "c", check=0)
    assert "debian_version" not in result.out
    assert f" {busybox_rootfs} / " in result.out or " / / " in result.out


def test_the_session_keyring(runtime: Runtime, busybox_rootfs: str) -> None:
    """By the names of keyrings, which tell of others' as well: hence ids that nobody else has."""
    place = runtime.bundle(busybox_rootfs, ["cat", "/proc/keys"], linux={"maskedPaths": []})
    ids = [f"{kind}-{time.monotonic_ns()}" for kind in ("new", "kept")]
    assert f"_ses.{ids[0]}: " in runtime("run", "--bundle", place, ids[0]).out
    assert f"_ses.{ids[1]}: " not in runtime("run", "--no-new-keyring", "--bundle", place, ids[1]).out


def test_without_cgroups(runtime: Runtime, busybox_rootfs: str) -> None:
    document = bundle.document(busybox_rootfs, ["cat", "/proc/self/cgroup"])
    del document["linux"]["resources"]
    document["mounts"] = [m for m in document["mounts"] if m["type"] != "cgroup"]
    document["linux"]["namespaces"] = bundle.namespaces("pid", "mount")
    place = runtime.bundle_of(document)
    own = Path("/proc/self/cgroup").read_text()
    result = command.run(
        [runtime.program, "--root", runtime.root, "--cgroup-manager", "disabled", "run", "-b", place, "c"]
    )
    assert result.out == own


def test_the_systemd_manager_needs_systemd(runtime: Runtime, busybox_rootfs: str) -> None:
    document = bundle.document(busybox_rootfs, ["true"])
    document["linux"]["cgroupsPath"] = "system.slice:mydocker:c"
    place = runtime.bundle_of(document)
    for option in (["--systemd-cgroup"], ["--cgroup-manager", "systemd"]):
        result = command.run(
            [runtime.program, "--root", runtime.root, *option, "run", "-b", place, "c"], check=False
        )
        assert result.code == 1
        assert "systemd not running on this host, cannot use systemd cgroups manager" in result.err
        assert runtime.ids() == []
    other = ["--cgroup-manager", "other"]
    result = command.run([runtime.program, *other, "run", "-b", place, "c"], check=False)
    assert "--cgroup-manager is cgroupfs, systemd or disabled, not other" in result.err


def test_help_version_and_what_is_unknown(runtime: Runtime) -> None:
    assert "Commands:" in command.run([runtime.program, "--help"]).out
    assert "Usage: mydocker-runtime run" in runtime("run", "--help").out
    assert command.run([runtime.program, "--version"]).out.startswith("mydocker-runtime version ")
    assert "no such command: fly" in runtime("fly", check=1).err
    assert "unknown option: --wings" in runtime("run", "--wings", check=1).err


def test_the_log(runtime: Runtime) -> None:
    file = Path(runtime.directory, "log")
    program = [runtime.program, "--root", runtime.root, "--log", str(file)]
    command.run([*program, "--log-format", "json", "state", "nobody"], check=False)
    entry = json.loads(file.read_text())
    assert entry["level"] == "error"
    assert "container nobody does not exist" in entry["msg"]
    command.run([*program, "state", "nobody"], check=False)
    assert 'level=error msg="container nobody' in file.read_text()
    result = command.run([runtime.program, "--log", "/no/such/log", "features"], check=False)
    assert result.code == 1
    assert "/no/such/log" in result.err


# -- bad documents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_document(runtime: Runtime, busybox_rootfs: str, part: float) -> None:
    text = json.dumps(bundle.document(busybox_rootfs, ["true"]))
    place = runtime.bundle_of(text[: int(len(text) * part)])
    assert f"{place}/config.json: not JSON" in runtime("run", "--bundle", place, "c", check=1).err
    assert runtime.ids() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"process": {"args": "sh"}}, "config.json: process.args: a list is wanted, not 'sh'"),
        ({"process": {"cwd": "tmp"}}, "config.json: process.cwd: an absolute path is wanted"),
        ({"linux": {"namespaces": [{"type": "x"}]}}, "config.json: linux.namespaces[0].type: no such kind"),
        ({"root": {"path": "/no/such/root"}}, "no such root directory: /no/such/root"),
        ({"linux": {"intelRdt": {"closID": "x"}}}, "linux.intelRdt is not supported"),
        ({"linux": {"rootfsPropagation": "wild"}}, "linux.rootfsPropagation: no such mount propagation"),
        ({"linux": {"sysctl": {"kernel.hostname": "x"}}}, "in conflict with the field hostname"),
        (
            {"domainname": "a", "linux": {"sysctl": {"kernel.domainname": "b"}}},
            "sysctl kernel.domainname is in conflict",
        ),
        ({"linux": {"memoryPolicy": {}}}, "linux.memoryPolicy.mode: missing"),
        (
            {"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "x"}}},
            "linux.memoryPolicy.nodes: a list",
        ),
        (
            {"linux": {"memoryPolicy": {"mode": "MPOL_LOCAL", "flags": ["F"]}}},
            "linux.memoryPolicy.flags: no such flag: 'F'",
        ),
        ({"linux": {"netDevices": {"no/name": {}}}}, "not the name of a network interface: 'no/name'"),
        ({"linux": {"netDevices": {"mdnone0": {}}}}, "no such network interface on the host: mdnone0"),
        ({"mounts": [{"destination": "/x", "type": "tmpfs", "options": ["idmap"]}]}, "needs uidMappings"),
        (
            {"mounts": [{"destination": "/x", "type": "proc", "options": ["tmpcopyup"]}]},
            "tmpcopyup is for tmpfs",
        ),
        (
            {"mounts": [{"destination": "/", "type": "tmpfs", "options": ["tmpcopyup"]}]},
            "tmpcopyup cannot be used for the root directory",
        ),
    ],
)
def test_a_wrong_document_leaves_nothing(
    runtime: Runtime, busybox_rootfs: str, changes: dict[str, Any], message: str
) -> None:
    place = runtime.bundle(busybox_rootfs, ["true"], **changes)
    assert message in runtime("run", "--bundle", place, "c", check=1).err
    assert runtime.ids() == []


def test_a_bundle_that_is_none(runtime: Runtime) -> None:
    assert "no such bundle: /no/such/config.json" in runtime("run", "-b", "/no/such", "c", check=1).err


# -- what changes and what looks ----------------------------------------------------------------------------


def test_update_by_options_and_by_a_file(runtime: Runtime, busybox_rootfs: str) -> None:
    for controller in ("memory", "pids", "cpu"):
        if reason := probe.missing_controller(controller):
            pytest.skip(reason)
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    pid = runtime.state("c")["pid"]
    runtime("update", "--memory", "64m", "--pids-limit", "33", "c")
    assert _limit(pid, "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert _limit(pid, "pids.max", "pids.max") == "33"
    limits = Path(runtime.directory, "limits.json")
    limits.write_text(json.dumps({"memory": {"limit": 32 << 20}, "cpu": {"quota": 50000, "period": 100000}}))
    runtime("update", "--resources", str(limits), "c")
    assert _limit(pid, "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    runtime("update", "-r", "-", "c", input=b'{"pids": {"limit": 44}}')
    assert _limit(pid, "pids.max", "pids.max") == "44"
    stored = json.loads(Path(runtime.root, "c", "state.json").read_text())["spec"]["linux"]["resources"]
    assert stored["memory"] == {"limit": 32 << 20}
    assert stored["pids"] == {"limit": 44}
    assert (
        "pids.limit: a whole number"
        in runtime("update", "-r", "-", "c", input=b'{"pids": {"limit": "x"}}', check=1).err
    )
    assert "--cpu-quota is a number" in runtime("update", "--cpu-quota", "x", "c", check=1).err


def test_statistics(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    event = runtime("events", "--stats", "c").json()
    assert (event["type"], event["id"]) == ("stats", "c")
    assert event["data"]["cpu"]["usage"]["total"] > 0
    if not probe.missing_controller("pids"):
        assert event["data"]["pids"]["current"] == 1


def test_events_end_with_the_container(runtime: Runtime, busybox_rootfs: str) -> None:
    if reason := probe.missing_controller("memory"):
        pytest.skip(reason)
    changes = {"resources": {"memory": {"limit": 16 << 20}}}
    script = "read x; dd if=/dev/zero of=/dev/shm/x bs=1M count=64"  # more than it may have
    place = runtime.bundle(busybox_rootfs, ["sh", "-c", script], linux=changes)
    program = [runtime.program, "--root", runtime.root]
    with subprocess.Popen([*program, "run", "--bundle", place, "c"], stdin=subprocess.PIPE) as container:
        assert container.stdin is not None
        wait_until(lambda: runtime("state", "c", check=False).out.find('"running"') > 0)
        watching = [*program, "events", "--interval", "20ms", "c"]
        with subprocess.Popen(watching, stdout=subprocess.PIPE) as events:
            assert events.stdout is not None
            kinds = [json.loads(events.stdout.readline())["type"]]
            container.stdin.write(b"go\n")
            container.stdin.close()
            kinds += [json.loads(line)["type"] for line in events.stdout]
            assert events.wait(20) == 0
        container.wait(20)
    assert kinds[0] == "stats"
    assert "oom" in kinds


def test_list_ps_and_features(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    pid = runtime.state("c")["pid"]
    assert runtime("list", "--quiet").out == "c\n"
    assert [entry["id"] for entry in runtime("list", "--format", "json").json()] == ["c"]
    header, row = runtime("list").out.splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert row.split()[:3] == ["c", str(pid), "running"]
    assert runtime("ps", "--format", "json", "c").json() == [pid]
    assert "sleep 1000" in runtime("ps", "c").out
    features = runtime("features").json()
    assert features["ociVersionMax"] == "1.3.0"
    assert "idmap" in features["mountOptions"]
    assert features["linux"]["seccomp"]["actions"]


def test_spec_and_its_rootless_form(runtime: Runtime, busybox_rootfs: str) -> None:
    place = Path(runtime.directory, "b")
    place.mkdir()
    runtime("spec", "--bundle", str(place))
    document = json.loads((place / "config.json").read_text())
    assert document["process"]["args"] == ["sh"]
    assert "exists already" in runtime("spec", "--bundle", str(place), check=1).err
    (place / "config.json").unlink()
    runtime("spec", "--rootless", "--bundle", str(place))
    document = json.loads((place / "config.json").read_text())
    kinds = [entry["type"] for entry in document["linux"]["namespaces"]]
    assert "user" in kinds
    assert "network" not in kinds
    assert document["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 0, "size": 1}]
    document["root"]["path"] = busybox_rootfs
    document["process"] |= {"terminal": False, "args": ["cat", "/proc/self/uid_map"]}
    (place / "config.json").write_text(json.dumps(document))
    assert runtime("run", "--bundle", str(place), "c").out.split() == ["0", "0", "1"]


# -- exec ---------------------------------------------------------------------------------------------------


def test_exec_by_options_and_by_a_file(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    script = 'echo "$A $(id -u):$(id -g):$(id -G) $(pwd)"; exit 5'
    options = ["--env", "A=x", "--user", "1000:1001", "-g", "1002", "--cwd", "/tmp"]
    assert runtime("exec", *options, "c", "sh", "-c", script, check=5).out == "x 1000:1001:1001 1002 /tmp\n"
    process = Path(runtime.directory, "process.json")
    process.write_text(
        json.dumps({"args": ["id", "-u"], "cwd": "/", "user": {"uid": 7}, "env": ["PATH=/bin"]})
    )
    assert runtime("exec", "--process", str(process), "c").out == "7\n"
    process.write_text(json.dumps({"args": [], "cwd": "/"}))
    assert f"{process}: args: missing" in runtime("exec", "--process", str(process), "c", check=255).err
    file = os.path.join(runtime.directory, "pid")
    runtime.detached("exec", "--detach", "--pid-file", file, "c", "sleep", "1001")
    assert int(Path(file).read_text()) in runtime("ps", "--format", "json", "c").json()


def test_exec_does_not_make_its_working_directory(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    result = runtime("exec", "--cwd", "/no/such", "c", "true", check=255)
    assert "chdir to the working directory /no/such" in result.err
    assert "no such file or directory" in result.err
    assert runtime("exec", "c", "ls", "/no", check=1).out == ""


def test_exec_into_a_cgroup_below(runtime: Runtime, busybox_rootfs: str) -> None:
    if not probe.cgroup_of("pids"):
        pytest.skip("needs the pids controller of cgroup v1")
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    own = _cgroup(runtime.state("c")["pid"], "pids")
    assert f"no such cgroup: {own}/sub" in runtime("exec", "--cgroup", "pids:sub", "c", "true", check=255).err
    os.mkdir(f"{own}/sub")
    shown = runtime("exec", "--cgroup", "pids:sub", "c", "cat", "/proc/self/cgroup").out
    assert ":pids:/sub\n" in shown
    assert shown.count("/sub\n") == 1
    assert "is not below" in runtime("exec", "--cgroup", "../x", "c", "true", check=255).err
    assert "no such cgroup controller: x" in runtime("exec", "--cgroup", "x:sub", "c", "true", check=255).err


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_the_processors_of_an_added_process(runtime: Runtime, busybox_rootfs: str) -> None:
    runtime.start("c", runtime.bundle(busybox_rootfs, ["sleep", "1000"]))
    process = Path(runtime.directory, "process.json")
    first, second = sorted(os.sched_getaffinity(0))[:2]

    def seen(**affinity: str) -> str:
        args = ["grep", "Cpus_allowed_list", "/proc/self/status"]
        document = {"args": args, "cwd": "/", "env": ["PATH=/bin"], "execCPUAffinity": affinity}
        process.write_text(json.dumps(document))
        return runtime("exec", "--process", str(process), "c").out.split()[1]

    assert seen(final=str(second)) == str(second)
    # Entering a cpuset of cgroup v2 takes the initial one away again: it is for the time until then.
    everywhere = seen()
    assert seen(initial=str(first)) in (str(first), everywhere)
    assert seen(initial=str(first), final=f"{first},{second}").replace("-", ",") == f"{first},{second}"
    with pytest.raises(command.Failed, match=r"process\.execCPUAffinity\.final: a list"):
        seen(final="x")


def _alive(pid: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
