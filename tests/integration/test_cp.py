"""``cp``: both ways, into containers that run and that do not, volumes and limits of what can be written."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from support import archives, cgroups
from support.archives import Member, symlink
from support.command import Runner
from support.waiting import wait_until

STATES = ["running", "stopped", "created"]


def container_in(runner: Runner, image: str, state: str, *flags: str, script: str = ":") -> str:
    """A container that has run ``script``, or has not when it is only created."""
    words = (*flags, image, "sh", "-c", f"{script}; echo ready; sleep 1000")
    container = runner("create", *words).line
    if state != "created":
        runner("start", container)
        runner.wait_for_log(container, "ready")
    if state == "stopped":
        runner("kill", container)
        runner("wait", container)
    return container


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return sorted(tar.getnames())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "tree"
    (place / "sub").mkdir(parents=True)
    (place / "file").write_text("text")
    (place / "sub/deep").write_text("deep")
    (place / "link").symlink_to("file")
    os.chown(place / "file", 1234, 5678)
    os.chmod(place / "file", 0o640)
    os.utime(place / "file", ns=(10**18, 10**18 + 5))
    return place


@pytest.mark.parametrize("state", STATES)
def test_there_and_back(mydocker: Runner, image: str, tree: Path, tmp_path: Path, state: str) -> None:
    container = container_in(mydocker, image, state)
    mydocker("cp", str(tree), f"{container}:/tmp/copy")
    mydocker("cp", "--archive", f"{container}:/tmp/copy", str(tmp_path / "back"))
    back = tmp_path / "back"
    assert sorted(os.listdir(back)) == ["file", "link", "sub"]
    assert (back / "sub/deep").read_text() == "deep"
    assert os.readlink(back / "link") == "file"
    status = os.stat(back / "file")
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (1234, 5678, 0o640)
    assert status.st_mtime_ns == 10**18 + 5
    mydocker("cp", f"{container}:/tmp/copy/file", str(tmp_path / "mine"))
    assert os.stat(tmp_path / "mine").st_uid == os.getuid()


@pytest.mark.parametrize("state", STATES)
def test_volumes_and_binds_are_seen(mydocker: Runner, image: str, tmp_path: Path, state: str) -> None:
    bind = tmp_path / "bind"
    bind.mkdir()
    (bind / "theirs").write_text("of the host")
    container = container_in(
        mydocker, image, state, "-v", "/volume", "-v", f"{bind}:/bind", "-v", f"{bind}:/ro:ro"
    )
    assert mydocker("cp", f"{container}:/bind/theirs", "-").code == 0
    (tmp_path / "ours").write_text("ours")
    mydocker("cp", str(tmp_path / "ours"), f"{container}:/bind/")
    assert (bind / "ours").read_text() == "ours"
    mydocker("cp", str(tmp_path / "ours"), f"{container}:/volume/new")
    (volume,) = [m["Source"] for m in mydocker.inspect(container)["Mounts"] if m["Type"] == "volume"]
    assert Path(volume, "new").read_text() == "ours"
    assert not Path(mydocker.root, "container", container, "rw/diff/bind/ours").exists()
    refused = mydocker("cp", str(tmp_path / "ours"), f"{container}:/ro/", check=1)
    assert refused.err == "mydocker: mounted volume is marked read-only\n"
    assert names(mydocker("cp", f"{container}:/bind", "-").stdout) == ["bind", "bind/ours", "bind/theirs"]


@pytest.mark.parametrize("state", STATES)
def test_a_root_that_is_read_only(mydocker: Runner, image: str, tmp_path: Path, state: str) -> None:
    container = container_in(mydocker, image, state, "--read-only", "-v", "/volume")
    (tmp_path / "f").write_text("x")
    refused = mydocker("cp", str(tmp_path / "f"), f"{container}:/tmp/", check=1)
    assert refused.err == "mydocker: container rootfs is marked read-only\n"
    mydocker("cp", str(tmp_path / "f"), f"{container}:/volume/")
    assert "root:x:0:0" in mydocker("cp", f"{container}:/etc/passwd", "-").out


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_streams(mydocker: Runner, image: str, state: str) -> None:
    container = container_in(mydocker, image, state)
    archive = archives.layer([Member("a/b", b"1"), symlink("l", "a/b")])
    mydocker("cp", "-", f"{container}:/tmp", stdin=archive)
    out = mydocker("cp", f"{container}:/tmp/a", "-").stdout
    assert names(out) == ["a", "a/b"]
    again = mydocker("cp", "-", f"{container}:/var", stdin=out)
    assert again.code == 0
    assert names(mydocker("cp", f"{container}:/var/.", "-").stdout) == [".", "./a", "./a/b"]
    for target in ("/etc/passwd", "/nowhere"):
        refused = mydocker("cp", "-", f"{container}:{target}", stdin=archive, check=1)
        assert refused.err == f'mydocker: destination "{container}:{target}" must be a directory\n'
    broken = mydocker("cp", "-", f"{container}:/tmp", stdin=b"no archive at all", check=1)
    assert broken.err.startswith("mydocker: the archive: ")


def test_followed_links(mydocker: Runner, image: str, tree: Path, tmp_path: Path) -> None:
    container = container_in(
        mydocker, image, "running", script="ln -s /etc/passwd /tmp/link; ln -s /nowhere /tmp/hole"
    )
    mydocker("cp", f"{container}:/tmp/link", str(tmp_path / "as-link"))
    assert os.readlink(tmp_path / "as-link") == "/etc/passwd"
    mydocker("cp", "-L", f"{container}:/tmp/link", str(tmp_path))
    assert (tmp_path / "link").read_text().startswith("root:x:0:0")
    refused = mydocker("cp", "-L", f"{container}:/tmp/hole", str(tmp_path), check=1)
    assert refused.err.startswith("mydocker: Could not find the file /tmp/hole in container ")
    mydocker("cp", "-L", str(tree / "link"), f"{container}:/tmp/followed")
    assert mydocker("exec", container, "cat", "/tmp/followed").out == "text"
    mydocker("cp", str(tree / "file"), f"{container}:/tmp/hole")
    assert mydocker("exec", container, "cat", "/nowhere").out == "text"


def test_what_the_kernel_makes_is_left_out(mydocker: Runner, image: str) -> None:
    """Of a whole root there are /proc, /sys and /dev as directories: nobody wants a copy of /proc/kcore."""
    container = container_in(mydocker, image, "running", "--tmpfs", "/run", script="echo x > /run/there")
    found = names(mydocker("cp", f"{container}:/", "-", timeout=60).stdout)
    inside = {name.removeprefix("./") for name in found}
    assert {"proc", "sys", "dev", "etc/hosts", "run/there"} <= inside
    assert not [name for name in inside if name.startswith(("proc/", "sys/", "dev/"))]


def test_a_fifo_is_copied_and_not_read(mydocker: Runner, image: str, tmp_path: Path) -> None:
    container = container_in(mydocker, image, "running", script="mkdir /d; mkfifo /d/fifo; echo 1 > /d/file")
    mydocker("cp", f"{container}:/d", str(tmp_path), timeout=20)
    assert stat.S_ISFIFO(os.stat(tmp_path / "d/fifo").st_mode)
    assert (tmp_path / "d/file").read_text() == "1\n"


def test_a_mount_is_not_taken_away(mydocker: Runner, image: str, tmp_path: Path) -> None:
    """From outside of its mount namespace the kernel would unlink the file, and with it the mount."""
    container = container_in(mydocker, image, "running")
    (tmp_path / "hosts").write_text("1.2.3.4 elsewhere\n")
    before = mydocker("exec", container, "cat", "/etc/hosts").out
    refused = mydocker("cp", str(tmp_path / "hosts"), f"{container}:/etc/hosts", check=1)
    assert refused.err == "mydocker: /etc/hosts: device or resource busy (a mount)\n"
    assert mydocker("exec", container, "cat", "/etc/hosts").out == before
    assert "/etc/hosts" in mydocker("exec", container, "cat", "/proc/self/mountinfo").out


def test_a_paused_container(mydocker: Runner, image: str, tmp_path: Path) -> None:
    if not cgroups.can_freeze():
        pytest.skip("needs a freezer")
    container = container_in(mydocker, image, "running")
    mydocker("pause", container)
    (tmp_path / "f").write_text("x")
    mydocker("cp", str(tmp_path / "f"), f"{container}:/tmp/f")
    mydocker("unpause", container)
    assert mydocker("exec", container, "cat", "/tmp/f").out == "x"


def test_a_large_tree(mydocker: Runner, image: str, tmp_path: Path) -> None:
    """More than fits into pipes and buffers."""
    place = tmp_path / "large"
    place.mkdir()
    for number in range(300):
        (place / str(number)).write_bytes(os.urandom(20_000))
    container = container_in(mydocker, image, "created")
    mydocker("cp", str(place), f"{container}:/large")
    mydocker("cp", f"{container}:/large", str(tmp_path / "back"))
    for number in range(300):
        assert (tmp_path / "back" / str(number)).read_bytes() == (place / str(number)).read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{c}:/nope {t}", "Could not find the file /nope in container cp-refused"),
        ("{c}:/etc/passwd/x {t}", "/etc/passwd/x in container cp-refused: not a directory"),
        ("{t}/nope {c}:/", "lstat {t}/nope: no such file or directory"),
        ("nope:/etc {t}", "No such container: nope"),
        ("{t}/f nope:/", "No such container: nope"),
        ("{c}:/a {c}:/b", "copying between containers is not supported"),
        ("{t}/f {t}/g", "must specify at least one container source"),
        ("{c}: {t}", "bad parameter: path cannot be empty"),
        ("{t}/f {c}:", "bad parameter: path cannot be empty"),
        ("{t}/f {c}:/nope/", "no such directory"),
        ("{t}/f {c}:/nope/f", "Could not find the file /nope in container cp-refused"),
        ("{t} {c}:/etc/passwd", "cannot copy directory"),
        ("{c}:/etc {t}/f", "cannot copy directory"),
        ("{c}:/etc/passwd {t}/nope/", "no such directory"),
        ("{c}:/etc/passwd {t}/nope/x", 'invalid output path: directory "{t}/nope" does not exist'),
        ("{t}/f {c}:/home/alice/d", 'cannot overwrite directory "/home/alice/d/f" with non-directory'),
    ],
)
def test_refused(mydocker: Runner, image: str, tmp_path: Path, words: str, message: str) -> None:
    container = container_in(
        mydocker, image, "running", "--name", "cp-refused", script="mkdir -p /home/alice/d/f"
    )
    (tmp_path / "f").write_text("x")
    before = mydocker("diff", container).out
    arguments = [word.format(c="cp-refused", t=tmp_path) for word in words.split()]
    refused = mydocker("cp", *arguments, check=1)
    assert refused.err == f"mydocker: {message.format(t=tmp_path)}\n"
    assert mydocker("diff", container).out == before
    assert os.listdir(tmp_path) == ["f"]


def test_a_stopped_container_is_not_started_meanwhile(mydocker: Runner, image: str) -> None:
    """Its read-write layer would be in use twice. The start waits, and then goes on."""
    container = container_in(mydocker, image, "stopped")
    copying = mydocker.popen("cp", "-", f"{container}:/tmp")
    assert copying.stdin is not None
    archive = archives.layer([Member("f", b"x" * 3_000_000)])
    copying.stdin.write(archive[:2_000_000])
    copying.stdin.flush()
    wait_until(lambda: os.path.exists(f"{mydocker.state}/container/{container}/lock"))
    starting = mydocker.popen("start", container)
    with pytest.raises(subprocess.TimeoutExpired):
        starting.wait(0.5)
    copying.communicate(archive[2_000_000:], timeout=20)
    assert starting.wait(20) == 0
    assert mydocker("exec", container, "wc", "-c", "/tmp/f").out.split()[0] == "3000000"
