"""``commit``: what of a container goes into its image, and that the image works."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest

from support import command
from support.command import Runner

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def manifest(runner: Runner, name: str) -> Any:
    index = json.loads(Path(runner.root, "image/index.json").read_text())
    full = f"docker.io/library/{name}"
    (digest,) = [
        entry["digest"]
        for entry in index["manifests"]
        if (entry.get("annotations") or {}).get("io.containerd.image.name") == full
    ]
    return json.loads(blob(runner, digest))


def blob(runner: Runner, digest: str) -> bytes:
    return Path(runner.root, "image/blobs/sha256", digest.removeprefix("sha256:")).read_bytes()


def config(runner: Runner, name: str) -> Any:
    return json.loads(blob(runner, manifest(runner, name)["config"]["digest"]))


def top_layer(runner: Runner, name: str) -> tarfile.TarFile:
    data = blob(runner, manifest(runner, name)["layers"][-1]["digest"])
    return tarfile.open(fileobj=io.BytesIO(data), encoding="utf-8", errors="surrogateescape")


def upper(runner: Runner, container: str) -> Path:
    (identifier,) = [each for each in runner.containers() if each.startswith(container)]
    return Path(runner.root, "container", identifier, "rw/diff")


@pytest.fixture
def base(fresh: Runner, busybox_tar: str) -> str:
    fresh("import", "--change", 'CMD ["sh"]', "--change", "ENV A=1 B=2", busybox_tar, "base:1")
    return "base:1"


# what is in it


def test_the_layer_has_the_changes_and_nothing_else(fresh: Runner, base: str, tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    script = (
        "rm /etc/os-release; rm -r /home; mkdir /home; echo new > /home/new; echo more >> /etc/passwd;"
        "echo v > /volume/file; echo b > /bound/file; echo h >> /etc/hosts; echo t > /dev/shm/t; "
        "touch /proc/self/x"
    )
    arguments = ("-v", "/volume", "-v", f"{tmp_path}/bound:/bound", base, "sh", "-c", script)
    fresh("run", "--name", "made", *arguments, check=False)
    fresh("commit", "made", "made:1")
    with top_layer(fresh, "made:1") as layer:
        assert layer.getnames() == [
            "bound", "etc", "etc/.wh.os-release", "etc/passwd",
            "home", "home/.wh..wh..opq", "home/new", "volume",
        ]  # fmt: skip
        assert all("overlay" not in key for member in layer for key in member.pax_headers)
    found = fresh(
        "run", "--rm", "made:1", "sh", "-c", "ls /home /volume /bound; tail -n 1 /etc/passwd; ls /etc"
    )
    assert found.out.split() == [
        "/bound:", "/home:", "new", "/volume:", "more",
        "group", "hostname", "hosts", "mtab", "not-executable", "passwd", "resolv.conf",
    ]  # fmt: skip


def test_directories_that_were_renamed(fresh: Runner, base: str) -> None:
    """One of the image (overlayfs would note the old name, if we let it), and one of the container."""
    fresh(
        "run",
        "--name",
        "first",
        base,
        "sh",
        "-c",
        "mkdir -p /old/deep; echo 1 > /old/deep/file; mv /home /moved",
    )
    fresh("commit", "first", "first:1")
    fresh(
        "run", "--name", "second", "first:1", "sh", "-c", "mv /old /new; mv /new/deep /new/deeper; mkdir /old"
    )
    fresh("commit", "second", "second:1")
    found = fresh(
        "run",
        "--rm",
        "second:1",
        "sh",
        "-c",
        "ls -d /moved/* /home /new/* /old/*; cat /new/deeper/file",
        check=False,
    )
    assert found.out.split() == ["/moved/alice", "/new/deeper", "1"]
    options = fresh("run", "--rm", base, "grep", "^overlay / ", "/proc/mounts").out
    assert "redirect_dir=on" not in options
    assert "metacopy=on" not in options


def test_attributes_times_links_and_devices(fresh: Runner, base: str) -> None:
    container = fresh("create", base, "true").line
    place = upper(fresh, container)
    for name in ("file", "capable", "linked"):
        (place / name).write_bytes(name.encode())
    os.setxattr(place / "file", "user.color", b"green\0\xff")
    os.setxattr(place / "file", "trusted.deep", b"x" * 500)
    os.setxattr(place / "capable", "security.capability", CAPABILITY)
    os.utime(place / "file", ns=(1, 1_234_567_890_123_456_789))
    os.link(place / "linked", place / "a-link")
    os.mknod(place / "null", 0o20666, os.makedev(1, 3))
    os.mknod(place / "disk", 0o60640, os.makedev(259, 70000))
    os.mkfifo(place / "fifo", 0o600)
    os.symlink(b"target\xff", os.fsencode(place) + b"/link\xff")
    with open(place / "sparse", "wb") as file:
        file.truncate(1 << 30)
        file.write(b"begin")
    os.mknod(place / "socket", stat.S_IFSOCK | 0o600)
    os.chown(place / "file", 2**31, 12)
    fresh("commit", container, "made:1")
    assert manifest(fresh, "made:1")["layers"][-1]["size"] < 1 << 20
    with top_layer(fresh, "made:1") as layer:
        assert layer.getnames() == [
            "a-link", "capable", "disk", "fifo", "file", "linked", "link\udcff", "null", "sparse",
        ]  # fmt: skip
    other, pid = fresh.start("made:1")
    root = Path(f"/proc/{pid}/root")
    assert os.getxattr(root / "file", "user.color") == b"green\0\xff"
    assert os.getxattr(root / "file", "trusted.deep") == b"x" * 500
    assert os.getxattr(root / "capable", "security.capability") == CAPABILITY
    status = os.stat(root / "file")
    assert (status.st_mtime_ns, status.st_uid, status.st_gid) == (1_234_567_890_123_456_789, 2**31, 12)
    assert os.path.samefile(root / "linked", root / "a-link")
    assert os.stat(root / "null").st_rdev == os.makedev(1, 3)
    assert os.stat(root / "disk").st_rdev == os.makedev(259, 70000)
    assert os.readlink(os.fsencode(root) + b"/link\xff") == b"target\xff"
    assert os.stat(root / "sparse").st_size == 1 << 30
    assert os.stat(root / "sparse").st_blocks * 512 < 1 << 20
    fresh("rm", "-f", other)


def test_the_root_directory_itself(fresh: Runner, base: str) -> None:
    """It is in the layer only if somebody has changed it."""
    fresh("run", "--name", "made", base, "sh", "-c", "chmod 1711 / && chown 7:8 /")
    fresh("commit", "made", "made:1")
    with top_layer(fresh, "made:1") as layer:
        assert layer.getnames() == ["."]
    assert fresh("run", "--rm", "made:1", "stat", "-c", "%a %u %g", "/").line == "1711 7 8"


def test_a_name_that_no_layer_can_hold(fresh: Runner, base: str) -> None:
    fresh("run", "--name", "made", base, "sh", "-c", "mkdir /d && touch /d/.wh.etc")
    refused = fresh("commit", "made", "made:1", check=1)
    assert "'d/.wh.etc': no layer can hold a name that begins with '.wh.'" in refused.err
    assert len(fresh("images", "-q").out.split()) == 1


def test_a_container_without_changes(fresh: Runner, base: str) -> None:
    """As in Docker: no layer is added, and the history says so."""
    container = fresh("create", base).line
    fresh("commit", "-m", "as it is", container, "same:1")
    assert manifest(fresh, "same:1")["layers"] == manifest(fresh, base)["layers"]
    last = config(fresh, "same:1")["history"][-1]
    assert last["empty_layer"] is True
    assert last["comment"] == "as it is"
    assert fresh("run", "--rm", "same:1", "echo", "works").line == "works"


def test_twice_gives_the_same_layer(fresh: Runner, base: str) -> None:
    fresh("run", "--name", "made", base, "sh", "-c", "for i in 9 1 5 3; do mkdir /$i; echo $i > /$i/$i; done")
    fresh("commit", "made", "one:1")
    fresh("commit", "made", "two:1")
    assert manifest(fresh, "one:1")["layers"] == manifest(fresh, "two:1")["layers"]


def test_a_full_disk(short_directory: str, busybox_tar: str) -> None:
    """The error says where, the image that had the name stays, and nothing else does."""
    place = tempfile.mkdtemp(dir=short_directory)
    command.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", place])
    runner = Runner(
        command.installed("mydocker"), f"{place}/root", f"{place}/run", {"MYDOCKER_FORKSERVER": "0"}
    )
    try:
        runner("import", busybox_tar, "base:1")
        runner("tag", "base:1", "made:1")
        write = "dd if=/dev/urandom of=/file bs=1M count=20"
        runner("run", "--name", "made", "base:1", "sh", "-c", write)
        refused = runner("commit", "made", "made:1", check=1)
        assert refused.err.startswith(f"mydocker: {place}/root/image/ingest/")
        assert refused.err.endswith(": no space left on device\n")
        assert os.listdir(f"{place}/root/image/ingest") == []
        refused = runner("export", "-o", f"{place}/exported.tar", "made", check=1)
        assert refused.err == f"mydocker: {place}/exported.tar: no space left on device\n"
        assert sorted(os.listdir(place)) == ["root", "run"]
        assert runner.inspect("made:1")["Id"] == runner.inspect("base:1")["Id"]
        assert "no faults" in runner("system", "check").out
        runner.leave()
    finally:
        command.run(["umount", place])


# what the image says


def test_the_configuration(fresh: Runner, base: str) -> None:
    fresh(
        *("run", "--name", "made", "-e", "B=3", "-e", "C=4", "-l", "own=label", "-u", "alice", "-w", "/tmp"),
        *("--expose", "80", "--stop-signal", "SIGUSR1", "-v", "/data", base, "touch", "/tmp/x"),
    )
    identifier = fresh(
        *("commit", "-a", "A Person <a@b>", "-m", "a message"),
        *("-c", "ENV C=5 D=6", "-c", "LABEL more=labels", "-c", "EXPOSE 53/udp", "-c", "WORKDIR sub"),
        *("made", "made:1"),
    ).line
    document = config(fresh, "made:1")
    assert identifier == manifest(fresh, "made:1")["config"]["digest"]
    run = document["config"]
    assert sorted(run["Env"]) == ["A=1", "B=3", "C=5", "D=6"]
    assert run["Cmd"] == ["touch", "/tmp/x"]
    assert run["Labels"] == {"own": "label", "more": "labels"}
    assert set(run["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert set(run["Volumes"]) == {"/data"}
    assert (run["User"], run["WorkingDir"], run["StopSignal"]) == ("alice", "/sub", "SIGUSR1")
    assert document["author"] == "A Person <a@b>"
    assert document["comment"] == "a message"
    parent = config(fresh, base)
    assert document["rootfs"]["diff_ids"][:-1] == parent["rootfs"]["diff_ids"]
    assert manifest(fresh, "made:1")["layers"][:-1] == manifest(fresh, base)["layers"]
    *before, last = document["history"]
    assert before == parent["history"]
    assert (last["created_by"], last["author"], last["comment"]) == (
        "touch /tmp/x", "A Person <a@b>", "a message",
    )  # fmt: skip
    assert last["created"] == document["created"]


def test_a_new_entry_point_drops_the_command(fresh: Runner, base: str) -> None:
    fresh("run", "--name", "made", base, "touch", "/x")
    fresh("commit", "-c", 'ENTRYPOINT ["echo"]', "made", "made:1")
    assert config(fresh, "made:1")["config"]["Entrypoint"] == ["echo"]
    assert "Cmd" not in config(fresh, "made:1")["config"]


def test_what_is_refused(fresh: Runner, base: str, busybox_rootfs: str) -> None:
    container = fresh("create", base).line
    wrong = fresh("commit", "-c", "RUN x", container, check=1)
    assert "RUN is not a valid change command" in wrong.err
    assert "invalid reference format" in fresh("commit", container, "UPPER:1", check=1).err
    assert "No such container: nothing" in fresh("commit", "nothing", check=1).err
    plain = fresh("create", "--rootfs", busybox_rootfs, "true").line
    assert "runs from a directory" in fresh("commit", plain, check=1).err
    fresh("rmi", "-f", base)
    assert "no such image" in fresh("commit", container, check=1).err


def test_an_image_without_a_name(fresh: Runner, base: str) -> None:
    fresh("run", "--name", "made", base, "touch", "/made")
    identifier = fresh("container", "commit", "made").line
    assert fresh.inspect(identifier)["RepoTags"] == []
    assert fresh("run", "--rm", identifier, "ls", "/made").line == "/made"


# layers that are unpacked when they are needed


def unpacked(runner: Runner) -> list[bool]:
    return sorted(place.joinpath("diff").is_dir() for place in Path(runner.root, "layer").iterdir())


def test_a_layer_is_unpacked_for_its_first_container(fresh: Runner, base: str) -> None:
    fresh("run", "--name", "made", base, "sh", "-c", "echo 12345 > /made")
    fresh("commit", "made", "made:1")
    assert unpacked(fresh) == [False, True]
    size = fresh.inspect("made:1")["Size"]
    assert size == fresh.inspect(base)["Size"] + 6
    fresh("create", "--name", "other", "made:1", "cat", "/made")
    assert unpacked(fresh) == [True, True]
    assert fresh("start", "-a", "other").line == "12345"
    assert fresh.inspect("made:1")["Size"] == size
    fresh("rm", "made", "other")
    fresh("rmi", "made:1")
    assert unpacked(fresh) == [True]


def test_an_image_that_was_never_unpacked_goes(fresh: Runner, base: str) -> None:
    fresh("run", "--name", "made", base, "touch", "/made")
    fresh("commit", "made", "made:1")
    fresh("rm", "made")
    removed = fresh("rmi", "made:1").out.splitlines()
    assert [line.partition(":")[0] for line in removed] == ["Untagged", "Deleted", "Deleted"]
    fresh("rmi", base)
    assert os.listdir(f"{fresh.root}/layer") == []
    assert os.listdir(f"{fresh.root}/image/blobs/sha256") == []


def test_many_first_containers_at_once(fresh: Runner, base: str) -> None:
    fresh("run", "--name", "made", base, "sh", "-c", "for i in $(seq 300); do echo $i > /f$i; done")
    fresh("commit", "made", "made:1")
    runs = [fresh.popen("run", "--rm", "made:1", "sh", "-c", "cat /f*[0-9] | wc -l") for _ in range(8)]
    for each in runs:
        out, err = each.communicate(timeout=60)
        assert (each.returncode, out, err) == (0, b"300\n", b"")
    names = os.listdir(f"{fresh.root}/layer")
    assert len(names) == 2, names


def test_a_commit_of_what_was_committed(fresh: Runner, base: str) -> None:
    """Layers that are in their blobs only are saved, and loaded back."""
    fresh("run", "--name", "c1", base, "touch", "/one")
    fresh("commit", "c1", "step:1")
    fresh("run", "--name", "c2", "step:1", "sh", "-c", "rm /one; touch /two")
    fresh("commit", "c2", "step:2")
    archive = f"{fresh.root}/saved.tar"
    fresh("image", "save", "-o", archive, "step")
    fresh("rm", "c1", "c2")
    fresh("rmi", "step:1", "step:2")
    loaded = fresh("load", "-i", archive).out.splitlines()
    assert loaded == ["Loaded image: step:1", "Loaded image: step:2"]
    assert fresh("run", "--rm", "step:2", "sh", "-c", "ls -d /one /two", check=False).line == "/two"
