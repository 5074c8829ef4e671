"""``commit``: what of a container goes into its image, and how it is held still for that."""

from __future__ import annotations

import io
import json
import os
import signal
import stat
import struct
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mydocker import errors
from mydocker.archive import diff
from mydocker.container import commit as committing
from support import cgroups, leaks, probe
from support.command import Runner

if TYPE_CHECKING:
    from mydocker.engine import Engine

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
needs_freezer = pytest.mark.skipif(not cgroups.can_freeze(), reason="needs a freezer")


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


# how it is held still


def freezer(pid: int) -> Callable[[], bool]:
    """Reads from the kernel whether the cgroup of a process is frozen."""
    places = probe.cgroup_hierarchies()
    with open(f"/proc/{pid}/cgroup") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    for _, names, path in lines:
        if names == "" and "" in places:
            file_ = f"{places['']}{path}/cgroup.events"
            if os.path.exists(file_):
                return lambda: "frozen 1" in Path(file_).read_text()
    (path,) = [path for _, names, path in lines if names == "freezer"]
    return lambda: Path(f"{places['freezer']}{path}/freezer.state").read_text() != "THAWED\n"


COUNT = "i=0; while true; do i=$((i+1)); echo $i > /counter; done"


@contextmanager
def while_packing(act: Callable[[], None]) -> Iterator[None]:
    """Do something at the moment at which the layer is about to be read."""

    def pack(*arguments: Any, **options: Any) -> int:
        act()
        return diff.pack(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(committing, "pack", pack)
        yield


@needs_freezer
@pytest.mark.parametrize("pause", [True, False])
def test_a_running_container_is_frozen(mydocker: Runner, engine: Engine, image: str, pause: bool) -> None:
    container, pid = mydocker.start(image, command=("sh", "-c", COUNT))
    is_frozen = freezer(pid)
    counter = upper(mydocker, container) / "counter"
    cgroups.wait_until(counter.exists)
    seen: list[object] = []

    def look() -> None:
        seen.append(is_frozen())
        first = counter.read_bytes()
        time.sleep(0.2)
        seen.append(counter.read_bytes() == first)

    with while_packing(look):
        identifier = engine.containers.get(container).commit(pause=pause)
    assert seen == [pause, pause]
    assert not is_frozen()
    now = counter.read_bytes()
    cgroups.wait_until(lambda: counter.read_bytes() not in (b"", now))
    mydocker("rm", "-f", container)
    engine.images.remove(identifier)


@needs_freezer
def test_it_is_thawed_after_an_error(mydocker: Runner, engine: Engine, image: str) -> None:
    container, pid = mydocker.start(image)

    def fail() -> None:
        raise errors.Unavailable("made up")

    with while_packing(fail), pytest.raises(errors.Unavailable, match="made up"):
        engine.containers.get(container).commit()
    assert not freezer(pid)()
    assert not os.path.exists(f"{mydocker.state}/container/{container}/pause.lock")


def commit_that_hangs(engine: Engine, container: str) -> int:
    """A process that never gets further than to have the container frozen."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)

            def hang() -> None:
                os.write(writer, b".")
                time.sleep(1000)

            with while_packing(hang):
                engine.containers.get(container).commit()
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"."
    os.close(reader)
    return child


@needs_freezer
def test_it_is_thawed_when_the_committer_is_killed(mydocker: Runner, engine: Engine, image: str) -> None:
    """At once, by the guard."""
    container, pid = mydocker.start(image)
    is_frozen = freezer(pid)
    child = commit_that_hangs(engine, container)
    assert is_frozen()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    cgroups.wait_until(lambda: not is_frozen())
    lock = f"{mydocker.state}/container/{container}/pause.lock"
    cgroups.wait_until(lambda: not os.path.exists(lock))
    assert mydocker("exec", container, "echo", "works").line == "works"
    mydocker("rm", "-f", container)
    mydocker("import", "-", "collects:1", stdin=empty_tar())
    mydocker("rmi", "collects:1")
    assert os.listdir(f"{mydocker.root}/image/ingest") == []


@needs_freezer
def test_it_is_thawed_when_the_guard_is_killed_too(mydocker: Runner, engine: Engine, image: str) -> None:
    """By the next command, whatever it is."""
    container, pid = mydocker.start(image)
    is_frozen = freezer(pid)
    lock = f"{mydocker.state}/container/{container}/pause.lock"
    child = commit_that_hangs(engine, container)
    guards = [other for other in leaks.pids() if other != child and lock in leaks.descriptors(other)]
    assert len(guards) == 1
    os.kill(guards[0], signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    time.sleep(0.1)
    assert is_frozen()
    mydocker("ps")
    assert not is_frozen()
    assert not os.path.exists(lock)


@needs_freezer
def test_removed_while_it_is_committed(mydocker: Runner, engine: Engine, image: str) -> None:
    """A frozen container can be removed; what is left of its files makes no image."""
    container, _ = mydocker.start(image)
    before = mydocker("images", "-qa").out

    def remove() -> None:
        mydocker("rm", "-f", container)

    with (
        while_packing(remove),
        pytest.raises(errors.NotFound, match="No such container"),
    ):
        engine.containers.get(container).commit()
    assert mydocker("images", "-qa").out == before


@needs_freezer
def test_two_commits_at_once(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image, command=("sh", "-c", COUNT))
    both = [mydocker.popen("commit", container, f"both:{number}") for number in (1, 2)]
    for each in both:
        out, err = each.communicate(timeout=60)
        assert (each.returncode, err) == (0, b""), out
    assert not freezer(pid)()
    mydocker("rm", "-f", container)
    mydocker("rmi", "both:1", "both:2")


# layers that are unpacked when they are needed


def empty_tar() -> bytes:
    return bytes(1024)


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
    fresh("save", "-o", archive, "step")
    fresh("rm", "c1", "c2")
    fresh("rmi", "step:1", "step:2")
    loaded = fresh("load", "-i", archive).out.splitlines()
    assert loaded == ["Loaded image: step:1", "Loaded image: step:2"]
    assert fresh("run", "--rm", "step:2", "sh", "-c", "ls -d /one /two", check=False).line == "/two"


# export


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
    cgroups.wait_until(lambda: mydocker("exec", container, "ls", "/scratch").line == "s")
    path = str(tmp_path / "running.tar")
    mydocker("export", "-o", path, container)
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
