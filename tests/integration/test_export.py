"""``export``: a container's root as one tar; and where ``export`` and ``save`` write to."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from support.command import Runner
from support.waiting import wait_until


def test_an_export(mydocker: Runner, image: str, tmp_path: Path) -> None:
    script = (
        "rm /etc/os-release; mv /home /moved; echo v > /volume/file; echo x > /tmp/x; echo h >> /etc/hosts"
    )
    arguments = (
        "-v",
        "/volume",
        "--tmpfs",
        "/scratch",
        image,
        "sh",
        "-c",
        f"{script}; touch /scratch/s; sleep 1000",
    )
    container = mydocker("run", "-d", *arguments).line
    wait_until(lambda: mydocker("exec", container, "ls", "/scratch").line == "s")
    path = str(tmp_path / "running.tar")
    mydocker("container", "export", "-o", path, container)
    with tarfile.open(path) as found:
        names = found.getnames()
        contents = {name: found.getmember(name).size for name in ("etc/hosts", ".dockerenv", "tmp/x")}
    assert contents == {"etc/hosts": 0, ".dockerenv": 0, "tmp/x": 2}
    assert {"volume", "scratch", "proc", "sys", "dev", "moved/alice", "bin/busybox"} <= set(names)
    assert not {"etc/os-release", "home", "volume/file", "scratch/s", "proc/1", "sys/kernel"} & set(names)
    mydocker("kill", container)
    streamed = mydocker("export", container).stdout
    assert streamed == Path(path).read_bytes()
    mydocker("rm", "-v", container)
    mydocker("import", path, "flat:1")
    assert mydocker("run", "--rm", "flat:1", "ls", "/moved").line == "alice"
    mydocker("rmi", "flat:1")


@pytest.mark.parametrize("command", ["save", "export"])
def test_where_an_archive_cannot_go(mydocker: Runner, image: str, command: str, tmp_path: Path) -> None:
    container = mydocker("create", image, "true").line
    what = image if command == "save" else container
    missing = mydocker(command, "-o", str(tmp_path / "no/such"), what, check=1)
    assert f'invalid output path: directory "{tmp_path}/no" does not exist' in missing.err
    assert "must be a regular file" in mydocker(command, "-o", str(tmp_path), what, check=1).err
    existing = tmp_path / "existing"
    existing.write_text("stays")
    assert mydocker(command, "-o", str(existing), "nothing:here", check=1).err
    assert existing.read_text() == "stays"
    assert os.listdir(tmp_path) == ["existing"]


@pytest.mark.parametrize("command", ["save", "export"])
def test_no_archive_to_a_terminal(mydocker: Runner, image: str, command: str) -> None:
    ours, theirs = os.openpty()
    container = mydocker("create", image, "true").line
    process = mydocker.popen(command, image if command == "save" else container, stdout=theirs)
    _, err = process.communicate(timeout=60)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 1
    assert b"cowardly refusing to save to a terminal. Use the -o flag or redirect" in err
