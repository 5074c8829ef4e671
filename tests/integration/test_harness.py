"""The harness itself: what it calls a leak, and that the session is where it says it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support import isolation, leaks, probe
from support.command import Runner


def test_session_has_namespaces_of_its_own(session_runner: Runner) -> None:
    assert isolation.entered()
    assert Path("/proc/1/comm").read_text() == Path("/proc/self/comm").read_text()
    assert os.listdir("/run") == [] or not os.path.exists("/run/systemd")
    assert leaks.Snapshot.take(session_runner.state).links == {"lo"}


def found_by(before: leaks.Snapshot, word: str, *directories: str) -> bool:
    return any(word in line for line in leaks.left(before, *directories))


def test_a_mount_is_a_leak(tmp_path: Path) -> None:
    before = leaks.Snapshot.take()
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    try:
        assert found_by(before, str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    leaks.wait_for_nothing_left(before)


def test_a_link_is_a_leak() -> None:
    before = leaks.Snapshot.take()
    subprocess.run(["ip", "link", "add", "leak0", "type", "veth", "peer", "name", "leak1"], check=True)
    try:
        assert found_by(before, "links: leak0")
    finally:
        subprocess.run(["ip", "link", "del", "leak0"], check=True)
    leaks.wait_for_nothing_left(before)


def test_a_control_group_is_a_leak() -> None:
    places = sorted(set(probe.cgroup_hierarchies().values()))
    if not places:
        pytest.skip("no cgroup hierarchy is mounted here")
    before = leaks.Snapshot.take()
    for place in places:
        group = Path(place, "mydocker-leak")
        group.mkdir()
        try:
            assert found_by(before, str(group))
        finally:
            group.rmdir()
    leaks.wait_for_nothing_left(before)


def test_a_process_is_a_leak() -> None:
    before = leaks.Snapshot.take()
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            assert found_by(before, "sleep 1000")
        finally:
            process.kill()
    leaks.wait_for_nothing_left(before)


def test_a_file_is_a_leak(tmp_path: Path) -> None:
    (tmp_path / "container").mkdir()
    (tmp_path / "image").mkdir()
    before = leaks.Snapshot.take(str(tmp_path))
    (tmp_path / "image" / "blob").touch()
    leaks.wait_for_nothing_left(before, str(tmp_path))
    (tmp_path / "container" / "half-made").mkdir()
    assert found_by(before, "half-made", str(tmp_path))


def test_waiting_ends_with_the_list() -> None:
    before = leaks.Snapshot.take()
    with subprocess.Popen(["sleep", "1000"]) as process:
        try:
            with pytest.raises(AssertionError, match="sleep 1000"):
                leaks.wait_for_nothing_left(before, patience=0.1)
        finally:
            process.kill()
