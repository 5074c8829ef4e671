"""``mydocker-runtime`` in the place of runc: under Podman (conmon), Docker and containerd (its shim).

For Docker it is the default runtime, so that what has no option for it runs on it too: builds, Swarm. Nothing
reaches a network: containers have none or the session's own, which has loopback alone.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import command, leaks, peers, probe
from support.peers import Tool
from support.waiting import wait_until

OURS = "mydocker-runtime"


@pytest.fixture(autouse=True)
def no_control_group_left() -> Iterator[None]:
    before = leaks.Snapshot.take()
    yield
    leaks.wait_for_no_cgroup_left(before)


@pytest.fixture(scope="module")
def podman_with_ours(short_directory: str, busybox_tar: str) -> Iterator[Tool]:
    if reason := probe.missing_programs("podman", "conmon"):
        pytest.skip(reason)
    directory = os.path.join(short_directory, "podman-ours")
    os.mkdir(directory)
    tool = peers.podman(directory, runtime=command.installed(OURS))
    tool("import", busybox_tar, "busybox:test")
    yield tool
    leaks.remove_cgroups(peers.CGROUP_PARENT)


@pytest.fixture(scope="module")
def docker_with_ours(short_directory: str, busybox_tar: str) -> Iterator[Tool]:
    if reason := probe.missing_programs("docker", "dockerd", "containerd"):
        pytest.skip(reason)
    directory = os.path.join(short_directory, "docker-ours")
    os.mkdir(directory)
    ours = {"ours": command.installed(OURS)}
    with peers.docker(directory, runtimes=ours, default_runtime="ours") as tool:
        tool("import", busybox_tar, "busybox:test")
        yield tool


@pytest.fixture(scope="module")
def ctr(short_directory: str, docker_with_ours: Tool) -> Iterator[Tool]:
    """containerd on its own, with the image that Docker has."""
    if reason := probe.missing_programs("ctr", "containerd"):
        pytest.skip(reason)
    directory = os.path.join(short_directory, "ctr")
    os.mkdir(directory)
    archive = os.path.join(directory, "busybox.tar")
    docker_with_ours("save", "--output", archive, "busybox:test")
    with peers.containerd(directory) as tool:
        tool("images", "import", "--snapshotter", "native", archive)
        yield tool


RUN = ("run", "--rm", "--network", "none")
PODMAN_RUN = (*RUN, "--cgroup-parent", peers.CGROUP_PARENT)


def test_podman_run(podman_with_ours: Tool) -> None:
    result = podman_with_ours(
        *PODMAN_RUN, "busybox:test", "sh", "-c", "echo $$; hostname; exit 7", check=False
    )
    assert result.code == 7, result
    assert re.fullmatch(r"1\n[0-9a-f]{12}\n", result.out)


def test_podman_limits_exec_and_stop(podman_with_ours: Tool) -> None:
    podman_with_ours(
        *("run", "-d", "--name", "p", "--network", "none", "--cgroup-parent", peers.CGROUP_PARENT),
        *("--memory", "64m", "busybox:test", "sleep", "1000"),
    )
    try:
        assert podman_with_ours("exec", "p", "cat", "/proc/1/comm").line == "sleep"
        assert podman_with_ours("exec", "p", "sh", "-c", "exit 3", check=False).code == 3
        state = podman_with_ours("inspect", "p").json()[0]["State"]
        assert state["Status"] == "running"
        group = Path(f"/proc/{state['Pid']}/cgroup").read_text()
        place = probe.cgroup_of("memory")
        if place:
            path = next(line.split(":", 2)[2] for line in group.splitlines() if ":memory:" in line)
            assert Path(place + path, "memory.limit_in_bytes").read_text() == f"{64 << 20}\n"
        podman_with_ours("stop", "--time", "1", "p")
        assert podman_with_ours("inspect", "p").json()[0]["State"]["Status"] == "exited"
    finally:
        podman_with_ours("rm", "--force", "--time", "0", "p")


def test_podman_command_not_found(podman_with_ours: Tool) -> None:
    result = podman_with_ours(*PODMAN_RUN, "busybox:test", "no-such-command", check=False)
    assert result.code == 127, result
    assert "no-such-command" in result.err


def test_docker_run(docker_with_ours: Tool) -> None:
    result = docker_with_ours(
        *RUN, "--runtime", "ours", "busybox:test", "sh", "-c", "echo $$; exit 7", check=False
    )
    assert (result.code, result.out) == (7, "1\n"), result


def test_docker_tty_limits_exec_and_stop(docker_with_ours: Tool) -> None:
    docker = docker_with_ours
    container = docker(
        *("run", "-d", "-t", "--runtime", "ours", "--network", "none", "--pids-limit", "20", "busybox:test"),
        *("sh", "-c", "tty; exec sleep 1000"),
    ).line
    try:
        wait_until(lambda: docker("exec", container, "cat", "/proc/1/comm").line == "sleep")
        wait_until(lambda: docker("logs", container).out.strip() == "/dev/pts/0")
        pid = docker("inspect", container).json()[0]["State"]["Pid"]
        place = probe.cgroup_of("pids")
        if place:
            group = Path(f"/proc/{pid}/cgroup").read_text()
            path = next(line.split(":", 2)[2] for line in group.splitlines() if ":pids:" in line)
            assert Path(place + path, "pids.max").read_text() == "20\n"
        docker("pause", container)
        assert docker("inspect", container).json()[0]["State"]["Status"] == "paused"
        docker("unpause", container)
        docker("stop", "--time", "1", container)
        assert docker("inspect", container).json()[0]["State"]["ExitCode"] in (137, 143)
    finally:
        docker("rm", "--force", container)


def test_docker_command_not_found(docker_with_ours: Tool) -> None:
    result = docker_with_ours(*RUN, "--runtime", "ours", "busybox:test", "no-such-command", check=False)
    assert result.code == 127, result
    assert "no-such-command" in result.err


def test_podman_terminal_and_user_namespace(podman_with_ours: Tool) -> None:
    podman = podman_with_ours
    assert podman(*PODMAN_RUN, "-t", "busybox:test", "tty").out == "/dev/pts/0\r\n"
    mapped = podman(*PODMAN_RUN, "--uidmap", "0:100000:1000", "busybox:test", "cat", "/proc/self/uid_map")
    assert mapped.out.split() == ["0", "100000", "1000"]
    made = podman(*PODMAN_RUN, "--tmpfs", "/made:rw", "busybox:test", "sh", "-c", "stat -f -c %T /made")
    assert made.line == "tmpfs"


def test_podman_pause_update_and_top(podman_with_ours: Tool) -> None:
    podman = podman_with_ours
    podman(
        *("run", "-d", "--name", "q", "--network", "none", "--cgroup-parent", peers.CGROUP_PARENT),
        *("busybox:test", "sleep", "1000"),
    )
    try:
        podman("pause", "q")
        assert podman("inspect", "q").json()[0]["State"]["Status"] == "paused"
        podman("unpause", "q")
        assert podman("exec", "-t", "q", "tty").line.startswith("/dev/pts/")
        assert "sleep 1000" in podman("top", "q").out
        podman("kill", "--signal", "KILL", "q")
        assert podman("wait", "q").line == "137"
    finally:
        podman("rm", "--force", "--time", "0", "q")


def test_docker_is_told_the_runtime(docker_with_ours: Tool) -> None:
    assert docker_with_ours("info", "--format", "{{.DefaultRuntime}}").line == "ours"


def test_docker_confinement(docker_with_ours: Tool) -> None:
    """What a run by default takes away, seen from inside: on runc and on ours the same."""
    script = (
        "cat /proc/self/uid_map; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; "
        "cut -d' ' -f2 /proc/mounts | grep -v unified | sort; ls /dev | sort; cat /proc/kcore 2>&1; "
        "ls /proc/self/fd | sort | head -4; id; pwd; env; ulimit -a; echo $$; cat /proc/1/cmdline"
    )
    run = [*RUN, "--hostname", "h", "--runtime"]
    seen = [docker_with_ours(*run, name, "busybox:test", "sh", "-c", script).out for name in ("ours", "runc")]
    assert "CapEff:" in seen[0]
    assert seen[0] == seen[1]


def test_docker_update_stats_and_top(docker_with_ours: Tool) -> None:
    docker = docker_with_ours
    container = docker(
        "run", "-d", "--network", "none", "--memory", "64m", "busybox:test", "sleep", "1000"
    ).line
    try:
        docker("update", "--memory", "32m", "--memory-swap", "32m", "--pids-limit", "17", container)
        pid = docker("inspect", container).json()[0]["State"]["Pid"]
        group = Path(f"/proc/{pid}/cgroup").read_text()
        for controller, file, value in (
            ("memory", "memory.limit_in_bytes", 32 << 20),
            ("pids", "pids.max", 17),
        ):
            if place := probe.cgroup_of(controller):
                path = next(line.split(":", 2)[2] for line in group.splitlines() if f":{controller}:" in line)
                assert Path(place + path, file).read_text() == f"{value}\n"
        assert "sleep 1000" in docker("top", container).out
        assert docker("stats", "--no-stream", "--format", "{{.PIDs}}", container).line == "1"
        docker("restart", "--time", "0", container)
        assert docker("exec", "-t", container, "tty").line.startswith("/dev/pts/")
        docker("kill", container)
        assert docker("wait", container).line == "137"
    finally:
        docker("rm", "--force", container)


def test_docker_build(docker_with_ours: Tool, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox:test\nRUN echo made > /made && id -u >> /made\nUSER 1000\nRUN id -u > /tmp/who\n"
        'CMD ["cat", "/made", "/tmp/who"]\n'
    )
    docker_with_ours("build", "--network", "none", "--tag", "built:test", str(tmp_path), timeout=120)
    assert docker_with_ours(*RUN, "built:test").out == "made\n0\n1000\n"


def test_a_swarm_service_heals(docker_with_ours: Tool) -> None:
    """Three replicas; one is killed, and another takes its place."""
    docker = docker_with_ours
    docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1")
    try:
        docker(
            *("service", "create", "--detach", "--name", "s", "--replicas", "3", "--network", "host"),
            *("--no-resolve-image", "--restart-delay", "100ms", "busybox:test", "sleep", "1000"),
        )
        first = _replicas(docker, lambda ids: len(ids) == 3)
        pid = docker("inspect", min(first)).json()[0]["State"]["Pid"]
        os.kill(pid, 9)
        healed = _replicas(docker, lambda ids: len(ids) == 3 and min(first) not in ids)
        assert len(healed & first) == 2
        for container in healed:
            assert docker("inspect", container).json()[0]["HostConfig"]["Runtime"] == "ours"
        docker("service", "rm", "s")
        _replicas(docker, lambda ids: not ids)
    finally:
        docker("swarm", "leave", "--force")


def _replicas(docker: Tool, condition: Callable[[set[str]], bool], patience: float = 60) -> set[str]:
    end = time.monotonic() + patience
    while True:
        ids = set(docker("ps", "--quiet", "--no-trunc").out.split())
        if condition(ids):
            return ids
        if time.monotonic() > end:
            raise AssertionError(f"{ids}\n{docker('service', 'ps', '--no-trunc', 's', check=False).out}")
        time.sleep(0.2)


CTR_RUN = ("run", "--rm", "--snapshotter", "native", "--runc-binary")


def test_containerd_run(ctr: Tool) -> None:
    image = "docker.io/library/busybox:test"
    group = ("--cgroup", f"{peers.CGROUP_PARENT}/ctr")
    result = ctr(
        *CTR_RUN, command.installed(OURS), *group, image, "c1", "sh", "-c", "echo $$; exit 7", check=False
    )
    assert (result.code, result.out) == (7, "1\n"), result
    result = ctr(*CTR_RUN, command.installed(OURS), *group, image, "c2", "no-such-command", check=False)
    assert result.code != 0
    assert "no-such-command" in result.err


def test_containerd_exec_stop_and_remove(ctr: Tool) -> None:
    image, ours = "docker.io/library/busybox:test", command.installed(OURS)
    options = ("--cgroup", f"{peers.CGROUP_PARENT}/ctr", "--snapshotter", "native", "--runc-binary", ours)
    with open(os.devnull, "r+b") as null:
        command.run_with_streams([*ctr.prefix, "run", "-d", *options, image, "c3", "sleep", "1000"], null)
    try:
        assert ctr("tasks", "exec", "--exec-id", "e", "c3", "cat", "/proc/1/comm").line == "sleep"
        assert ctr("tasks", "exec", "--exec-id", "f", "c3", "sh", "-c", "exit 5", check=False).code == 5
        assert "RUNNING" in ctr("tasks", "ls").out
        ctr("tasks", "pause", "c3")
        assert "PAUSED" in ctr("tasks", "ls").out
        ctr("tasks", "resume", "c3")
        assert "c3" in ctr("tasks", "metrics", "c3").out
        ctr("tasks", "kill", "--signal", "KILL", "c3")
        end = time.monotonic() + 20
        while "STOPPED" not in ctr("tasks", "ls").out:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        ctr("tasks", "rm", "--force", "c3", check=False)
        ctr("containers", "rm", "c3")


def test_a_bundle_by_umoci(umoci: Tool, busybox_rootfs: str, tmp_path: Path) -> None:
    """The bundle of another tool, and the life of a container by hand: create, state, start, kill, delete."""
    bundle, layout = tmp_path / "bundle", tmp_path / "layout"
    umoci("init", "--layout", str(layout))
    umoci("new", "--image", f"{layout}:empty")
    umoci("insert", "--image", f"{layout}:empty", busybox_rootfs, "/")
    umoci("unpack", "--image", f"{layout}:empty", str(bundle))
    document = json.loads((bundle / "config.json").read_text())
    document["process"]["terminal"] = False
    document["process"]["args"] = ["sleep", "1000"]
    document["process"]["env"] = ["PATH=/bin"]
    (bundle / "config.json").write_text(json.dumps(document))

    def ours(*arguments: str, check: bool = True) -> command.Result:
        program = command.installed(OURS)
        return command.run([program, "--root", str(tmp_path / "state"), *arguments], check=check, cwd=bundle)

    with open(os.devnull, "r+b") as null:
        command.run_with_streams(
            [
                command.installed(OURS),
                "--root",
                str(tmp_path / "state"),
                "create",
                "--bundle",
                str(bundle),
                "b",
            ],
            null,
        )
    try:
        state = ours("state", "b").json()
        assert (state["id"], state["status"], state["bundle"]) == ("b", "created", str(bundle))
        assert b"sleep" not in Path(f"/proc/{state['pid']}/cmdline").read_bytes()
        ours("start", "b")
        assert ours("state", "b").json()["status"] == "running"
        assert ours("delete", "b", check=False).code != 0
        ours("kill", "b", "KILL")
    finally:
        ours("delete", "--force", "b")
    assert ours("state", "b", check=False).code != 0
