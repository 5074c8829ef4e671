"""``pull``, ``push`` and ``run --pull`` as a person uses them, against a registry in memory."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import archives
from support.archives import Member
from support.command import Runner
from support.fake_registry import FakeRegistry
from support.faulty import delay, truncate
from support.served_image import ServedImage, on, put_index
from support.terminal import opened

MEGABYTE = 1 << 20


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def busybox(fake: FakeRegistry, busybox_tar: str) -> str:
    """Reference of a runnable image on the registry."""
    ServedImage(fake, [Path(busybox_tar).read_bytes()], "busybox", config={"Cmd": ["echo", "pulled"]}).put(
        "latest"
    )
    return f"{fake.address}/busybox"


def noise(size: int, name: str = "noise") -> bytes:
    return archives.layer([Member(name, os.urandom(size))])


@pytest.mark.both_ways
def test_pull_and_run(fresh: Runner, busybox: str) -> None:
    done = fresh("pull", busybox)
    lines = done.out.splitlines()
    assert lines[:2] == ["Using default tag: latest", "latest: Pulling from busybox"]
    assert lines[-2:] == [f"Status: Downloaded newer image for {busybox}:latest", f"{busybox}:latest"]
    assert done.err == ""
    assert fresh("run", "--rm", busybox).line == "pulled"
    assert fresh("image", "pull", "--quiet", busybox).out == f"{busybox}:latest\n"
    assert f"Status: Image is up to date for {busybox}:latest" in fresh("pull", f"{busybox}:latest").out
    found = fresh.inspect(busybox)
    assert found["RepoTags"] == [f"{busybox}:latest"]
    assert len(found["RepoDigests"]) == 1
    digest = found["RepoDigests"][0]
    assert fresh("run", "--rm", digest).line == "pulled"
    assert fresh("rmi", busybox).out.splitlines()[:2] == [
        f"Untagged: {busybox}:latest",
        f"Untagged: {digest}",
    ]


def test_run_pulls_what_is_missing(fresh: Runner, busybox: str) -> None:
    done = fresh("run", "--rm", busybox)
    assert done.out == "pulled\n"
    lines = done.err.splitlines()
    assert lines[:2] == [f"Unable to find image '{busybox}:latest' locally", "latest: Pulling from busybox"]
    assert lines[-1] == f"Status: Downloaded newer image for {busybox}:latest"
    again = fresh("run", "--rm", busybox)
    assert (again.out, again.err) == ("pulled\n", "")


def test_pull_policies(fresh: Runner, fake: FakeRegistry, busybox: str) -> None:
    done = fresh("run", "--pull", "never", busybox, check=125)
    assert "no such image" in done.err
    assert fake.requests == []
    done = fresh("create", "--quiet", busybox)
    assert (len(done.line), done.err) == (64, "")
    done = fresh("run", "--rm", "--pull", "always", busybox)
    assert f"Status: Image is up to date for {busybox}:latest" in done.err
    assert done.out == "pulled\n"
    done = fresh("run", "--pull", "sometimes", busybox, check=125)
    assert 'must be one of "always", "missing" or "never"' in done.err


def test_the_image_is_not_looked_for_when_something_else_is_missing(
    fresh: Runner, fake: FakeRegistry, busybox: str
) -> None:
    fresh("pull", "--quiet", busybox)
    fake.requests.clear()
    done = fresh("run", "--network", "container:none", busybox, check=125)
    assert "No such container: none" in done.err or "no such container: none" in done.err.lower()
    assert fake.requests == []


def test_a_registry_that_is_down(fresh: Runner) -> None:
    done = fresh("run", "127.0.0.1:1/some/thing", check=125)
    assert "127.0.0.1:1/some/thing" in done.err.splitlines()[-3]


def test_platforms(fresh: Runner, fake: FakeRegistry, busybox_tar: str) -> None:
    name = f"{fake.address}/busybox"
    layer = Path(busybox_tar).read_bytes()
    entries = [
        on(ServedImage(fake, [layer], "busybox", architecture=one).put(one), f"linux/{one}")
        for one in ("amd64", "s390x")
    ]
    put_index(fake, "latest", entries, "busybox")
    done = fresh("pull", "--platform", "linux/riscv64", name, check=1)
    assert "no matching manifest for linux/riscv64 in the manifest list entries" in done.err
    fresh("pull", "--quiet", "--platform", "linux/s390x", name)
    assert fresh.inspect(name)["Architecture"] == "s390x"
    done = fresh("run", "--rm", name, "echo", "foreign")
    assert done.line == "foreign"
    assert done.err.startswith("WARNING: The requested image's platform (linux/s390x) does not match the")
    done = fresh("run", "--rm", "--platform", "linux/amd64", name, "echo", "ours")
    assert done.err.startswith(f"Unable to find image '{name}:latest' locally\n")
    assert done.line == "ours"
    assert fresh.inspect(name)["Architecture"] == "amd64"
    done = fresh("run", "--pull", "never", "--platform", "linux/s390x", name, check=125)
    assert "wanted linux/s390x, actual: linux/amd64" in done.err


def test_push_and_all_tags(fresh: Runner, fake: FakeRegistry, busybox_tar: str) -> None:
    name = f"{fake.address}/made/here"
    fresh("import", busybox_tar, f"{name}:1")
    fresh("tag", f"{name}:1", f"{name}:2")
    done = fresh("push", f"{name}:1")
    assert done.out.splitlines()[0] == f"The push refers to repository [{name}]"
    assert done.out.splitlines()[-1].startswith("1: digest: sha256:")
    assert fresh("push", "--quiet", f"{name}:1").out == f"{name}:1\n"
    fresh("image", "push", "--all-tags", name)
    fresh("rmi", f"{name}:1", f"{name}:2")
    assert fresh("images", "--quiet").out == ""
    done = fresh("pull", "--all-tags", name)
    assert [line for line in done.out.splitlines() if "Pulling from" in line] == [
        "1: Pulling from made/here", "2: Pulling from made/here",
    ]  # fmt: skip
    assert done.out.splitlines()[-1] == name
    assert fresh("run", "--rm", f"{name}:2", "echo", "back").line == "back"
    for verb in ("pull", "push"):
        done = fresh(verb, "--all-tags", f"{name}:1", check=1)
        assert done.err == "mydocker: tag can't be used with --all-tags/-a\n"


@pytest.mark.parametrize("verb", ["pull", "push", "run"])
def test_content_trust(fresh: Runner, busybox: str, verb: str) -> None:
    fresh("pull", "--disable-content-trust", busybox)
    failure = 125 if verb == "run" else 1
    done = fresh(verb, "--disable-content-trust=false", busybox, check=failure)
    assert "content trust is not built" in done.err
    done = fresh(verb, busybox, check=failure, env={"DOCKER_CONTENT_TRUST": "1"})
    assert "content trust is not built" in done.err


def test_rows_on_a_terminal(fresh: Runner, busybox: str) -> None:
    with opened(fresh) as screen:
        screen.run("pull", busybox)
        screen.see("Pull complete")
        screen.see(f"Status: Downloaded newer image for {busybox}:latest")


def test_twenty_at_once_share_their_downloads(fresh: Runner, fake: FakeRegistry) -> None:
    """Five images of overlapping layers, each wanted by four: no layer is sent twice."""
    layers = [noise(2 * MEGABYTE, f"noise{number}") for number in range(6)]
    images = [ServedImage(fake, layers[first : first + 2], f"image{first}") for first in range(5)]
    for image in images:
        image.put("1")
    names = [f"{fake.address}/{image.name}:1" for image in images]
    pulls = [fresh.popen("pull", "--quiet", name) for name in names * 4]
    for client in pulls:
        _, err = client.communicate(timeout=60)
        assert (client.returncode, err) == (0, b"")
    sent: dict[str, int] = {}
    for asked in fake.asked("GET", "/blobs/"):
        digest = asked.path.rpartition("/")[2]
        sent[digest] = sent.get(digest, 0) + 1
    every = {entry["digest"] for image in images for entry in image.descriptors}
    assert {digest: sent[digest] for digest in every} == dict.fromkeys(every, 1)
    assert "no faults" in fresh("system", "check").out
    assert os.listdir(Path(fresh.root, "image/download")) == []


def test_a_full_disk(fresh: Runner, fake: FakeRegistry) -> None:
    """A clear error, the store whole, the room given back, and what fits can be pulled."""
    large, small = (
        ServedImage(fake, [noise(20 * MEGABYTE)], "large"),
        ServedImage(fake, [noise(MEGABYTE)], "small"),
    )
    large.put("1")
    small.put("1")
    os.mkdir(fresh.root)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", fresh.root], check=True)
    try:
        fresh("pull", f"{fake.address}/small:1")
        done = fresh("pull", f"{fake.address}/large:1", check=1)
        assert "no space left on device" in done.err.lower()
        assert os.statvfs(fresh.root).f_bavail * os.statvfs(fresh.root).f_bsize > 10 * MEGABYTE
        assert "no faults" in fresh("system", "check").out
        small.config["author"] = "another"
        del small.manifest["config"]
        small.put("2")
        fresh("pull", f"{fake.address}/small:2")
    finally:
        subprocess.run(["umount", fresh.root], check=True)


def test_a_layer_that_fills_the_disk_when_it_is_unpacked(fresh: Runner, fake: FakeRegistry) -> None:
    data = archives.layer([Member("zeros", bytes(20 * MEGABYTE))])
    assert len(gzip.compress(data)) < MEGABYTE
    ServedImage(fake, [data], "large").put("1")
    os.mkdir(fresh.root)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", fresh.root], check=True)
    try:
        done = fresh("pull", f"{fake.address}/large:1", check=1)
        assert "no space left on device" in done.err.lower()
        assert fresh("images", "--quiet").out == ""
        assert os.listdir(Path(fresh.root, "layer")) == []
    finally:
        subprocess.run(["umount", fresh.root], check=True)


def test_memory_does_not_grow_with_the_layer(fresh: Runner, fake: FakeRegistry) -> None:
    """200 MB as they are, and 400 MB that are next to nothing on their way: under 150 MB in any process."""
    ServedImage(fake, [noise(200 * MEGABYTE)], "plain", compressed=False).put("1")
    ServedImage(fake, [archives.layer([Member("zeros", bytes(400 * MEGABYTE))])], "zeros").put("1")
    for name in ("plain", "zeros"):
        client = fresh.popen("pull", "--quiet", f"{fake.address}/{name}:1", env={"MYDOCKER_FORKSERVER": "0"})
        peaks = [0]
        while client.poll() is None:
            peaks += peak_memory(client.pid)
            time.sleep(0.02)
        assert client.communicate() == (f"{fake.address}/{name}:1\n".encode(), b"")
        assert 0 < max(peaks) < 150 << 10


def peak_memory(parent: int) -> list[int]:
    """Kilobytes that a process and its children have had at most (man 5 proc, VmHWM)."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/status") as file:
                fields = {key: value.split() for key, _, value in (line.partition(":") for line in file)}
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent in (int(name), int(fields["PPid"][0])) and "VmHWM" in fields:
            found.append(int(fields["VmHWM"][0]))
    return found


@pytest.mark.both_ways
def test_an_interruption_ends_everything_and_keeps_what_came(fresh: Runner, fake: FakeRegistry) -> None:
    image = ServedImage(fake, [noise(8 * MEGABYTE)])
    image.put("1")
    digest = image.descriptors[0]["digest"]
    half = image.descriptors[0]["size"] // 2
    download = Path(fresh.root, "image/download", digest.removeprefix("sha256:"))
    fake.when("GET", digest, truncate(half), times=1)
    fake.when("GET", digest, delay(3))
    client = fresh.popen("pull", f"{fake.address}/a/b:1", start_new_session=True)
    while not download.exists() or download.stat().st_size < half:
        time.sleep(0.01)
    os.killpg(client.pid, signal.SIGINT)
    client.communicate(timeout=20)
    assert client.returncode == -signal.SIGINT
    fake.faults.clear()
    fake.requests.clear()
    fresh("pull", f"{fake.address}/a/b:1")
    assert [asked.headers["range"] for asked in fake.asked("GET", digest)] == [f"bytes={half}-"]
