"""``mydocker-runtime`` in the place of runc: under Podman (conmon) and under Docker (containerd-shim)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import command, leaks, peers, probe
from support.peers import Tool

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
    with peers.docker(directory, runtimes={"ours": command.installed(OURS)}) as tool:
        tool("import", busybox_tar, "busybox:test")
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
        assert docker("exec", container, "cat", "/proc/1/comm").line == "sleep"
        assert docker("logs", container).out.strip() == "/dev/pts/0"
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
