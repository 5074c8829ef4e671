"""``checkpoint`` and ``restore``: a container on disk and back, by criu. It works in the guest of test-vm."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import bundle, command, oci, probe
from support.oci import Runtime

COUNT = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.1; done"


@pytest.fixture(scope="module")
def criu() -> str:
    if reason := probe.missing_programs("criu"):
        pytest.skip(reason)
    checked = command.run(["criu", "check"], check=False)
    if checked.code:
        pytest.skip(f"criu does not run on this kernel: {checked.err.splitlines()[-1:]}")
    return str(probe.program("criu"))


@pytest.fixture
def runtime(short_directory: str) -> Iterator[Runtime]:
    directory = tempfile.mkdtemp(prefix="oci-", dir=short_directory)
    made = oci.Runtime(command.installed("mydocker-runtime"), directory)
    yield made
    made.delete_all()
    assert made.ids() == []


@pytest.fixture
def place(runtime: Runtime, busybox_rootfs: str) -> str:
    """A bundle that counts, in a file on a tmpfs of its own."""
    tmpfs = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=1777"]}
    document = bundle.document(busybox_rootfs, ["sh", "-c", COUNT])
    document["mounts"].append(tmpfs)
    return runtime.bundle_of(document)


def _count(runtime: Runtime) -> int:
    for _ in range(100):
        text = runtime("exec", "c", "cat", "/tmp/count", check=False).out.strip()
        if text:
            return int(text)
        time.sleep(0.1)
    raise AssertionError("it never counted")


def _detached(runtime: Runtime, out: Path, *arguments: str) -> None:
    """With a plain file as the streams, and not one without a name, which criu cannot open again."""
    with open(out, "w+b") as stream:
        command.run_with_streams([runtime.program, "--root", runtime.root, *arguments], stream)


def _wait_for(condition: Callable[[], bool], patience: float = 60) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_container_goes_on_where_it_was(criu: str, runtime: Runtime, place: str, tmp_path: Path) -> None:  # noqa: ARG001
    _detached(runtime, tmp_path / "out", "run", "-d", "--bundle", place, "c")
    before = runtime.state("c")["pid"]
    _wait_for(lambda: _count(runtime) > 3)
    images = str(tmp_path / "images")
    runtime("checkpoint", "--image-path", images, "--work-path", str(tmp_path / "work"), "c")
    assert runtime.ids() == []
    assert not os.path.exists(f"/proc/{before}")
    assert (tmp_path / "work" / "dump.log").exists()
    pid_file = tmp_path / "pid"
    runtime.detached(
        "restore", "-d", "--bundle", place, "--image-path", images, "--pid-file", str(pid_file), "c"
    )
    state = runtime.state("c")
    assert (state["status"], state["pid"]) == ("running", int(pid_file.read_text()))
    count = _count(runtime)
    assert count > 3
    _wait_for(lambda: _count(runtime) > count)
    runtime("pause", "c")
    assert runtime.state("c")["status"] == "paused"
    runtime("resume", "c")
    assert len(runtime("ps", "--format", "json", "c").json()) >= 1
    runtime("kill", "c", "KILL")
    _wait_for(lambda: runtime.state("c")["status"] == "stopped")
    runtime("delete", "c")
