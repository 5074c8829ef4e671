"""``podman --cgroup-manager systemd`` on mydocker-runtime."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest

from support import command, peers
from support.peers import Tool


@pytest.fixture(scope="module")
def podman(short_directory: str) -> Tool:
    directory = tempfile.mkdtemp(prefix="podman-", dir=short_directory)
    runtime = command.installed("mydocker-runtime")
    return peers.podman(directory, runtime=runtime, cgroup_manager="systemd")


def test_a_container_of_podman_is_a_scope(podman: Tool, busybox_rootfs: str) -> None:
    run = ("run", "--network", "none", "--memory", "64m", "--pids-limit", "50", "--cpus", "0.5")
    podman(*run, "-d", "--name", "p", "--rootfs", busybox_rootfs, "sleep", "1000", timeout=120)
    try:
        found = podman("inspect", "p").json()[0]
        place = Path(f"/proc/{found['State']['Pid']}/cgroup").read_text().strip()
        assert re.fullmatch(r"0::/machine\.slice/libpod-[0-9a-f]{64}\.scope(/container)?", place)
        unit = f"libpod-{found['Id']}.scope"
        text = command.run(
            ["systemctl", "show", "-p", "MemoryMax,TasksMax,CPUQuotaPerSecUSec,Slice", unit]
        ).out
        assert dict(line.split("=", 1) for line in text.splitlines()) == {
            "MemoryMax": str(64 << 20),
            "TasksMax": "50",
            "CPUQuotaPerSecUSec": "500ms",
            "Slice": "machine.slice",
        }
        assert podman("exec", "p", "cat", "/proc/1/comm").line == "sleep"
        podman("pause", "p")
        assert podman("inspect", "p").json()[0]["State"]["Status"] == "paused"
        podman("unpause", "p")
        podman("kill", "--signal", "KILL", "p")
        assert podman("wait", "p").line == "137"
    finally:
        podman("rm", "--force", "--time", "0", "p")
    assert command.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "libpod-*"]).out == ""
    assert not os.path.exists(f"/sys/fs/cgroup/machine.slice/{unit}")
