"""Bad input: a clear error that names the object, Docker's exit status, and nothing left behind.

The check for what is left is the autouse fixture of this directory, and, for images, ``kept`` below.
"""

from __future__ import annotations

import gzip
import os
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from support import archives
from support.archives import Member, directory, hardlink, symlink
from support.command import Runner


@pytest.mark.both_ways
@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["run", "no/such:image", "true"], 125, "no/such:image"),
        (["run", "--rm", "Invalid//Reference", "true"], 125, r"repository name \(/Reference\) must be"),
        (["run", "--rm", "IMAGE", "no-such-command"], 127, "no-such-command"),
        (["run", "--rm", "IMAGE", "/no/such/command"], 127, "/no/such/command"),
        (["run", "--rm", "IMAGE", "/etc/not-executable"], 126, "/etc/not-executable"),
        (["run", "--rm", "IMAGE", "/etc"], 126, "/etc"),
        (["run", "--rm", "--no-such-flag", "IMAGE", "true"], 125, "--no-such-flag"),
        (["run", "--rm"], 1, "run"),
        (["run", "--rm", "-m", "4bogus", "IMAGE", "true"], 125, "4bogus"),
        (["run", "--rm", "-m", "1k", "IMAGE", "true"], 125, "(?i)memory"),
        (["run", "--rm", "-m", "8m", "--memory-swap", "7m", "IMAGE", "true"], 125, "(?i)swap"),
        (["run", "--rm", "--cpus", "0.0001", "IMAGE", "true"], 125, "(?i)cpus"),
        (["run", "--rm", "--cpus", "half", "IMAGE", "true"], 125, "half"),
        (["run", "--rm", "--cpuset-cpus", "4000", "IMAGE", "true"], 125, "4000"),
        (["run", "--rm", "--pids-limit", "many", "IMAGE", "true"], 125, "many"),
        (["run", "--rm", "-v", "rel/ative:/x", "IMAGE", "true"], 125, "rel/ative"),
        (["run", "--rm", "-v", "x:/x", "IMAGE", "true"], 125, "volume name is too short"),
        (["run", "--rm", "-v", "data:/x:bogus", "IMAGE", "true"], 125, "invalid mode: bogus"),
        (["run", "--rm", "--volumes-from", "absent", "IMAGE", "true"], 125, "No such container: absent"),
        (["run", "--rm", "--mount", "type=bind,source=rel,target=/x", "IMAGE", "true"], 125, "absolute"),
        (["run", "--rm", "--mount", "type=bind,source=/,target=/x,idmap=a", "IMAGE", "true"], 125, "idmap"),
        (["run", "--rm", "-v", "/etc:relative", "IMAGE", "true"], 125, "relative"),
        (["run", "--rm", "-v", "/etc:/x:bogus", "IMAGE", "true"], 125, "bogus"),
        (["run", "--rm", "--mount", "type=bogus,target=/x", "IMAGE", "true"], 125, "bogus"),
        (["run", "--rm", "--mount", "type=bind,source=/no/such,target=/x", "IMAGE", "true"], 125, "/no/such"),
        (["run", "--rm", "-u", "nobody-here", "IMAGE", "true"], 125, "nobody-here"),
        (["run", "--rm", "--group-add", "no-group", "IMAGE", "true"], 125, "no-group"),
        (["run", "--rm", "--cap-add", "BOGUS", "IMAGE", "true"], 125, "BOGUS"),
        (["run", "--rm", "--security-opt", "bogus=1", "IMAGE", "true"], 125, "bogus"),
        (["run", "--rm", "--security-opt", "seccomp=/no/such", "IMAGE", "true"], 125, "/no/such"),
        (
            ["run", "--rm", "--security-opt", "apparmor=mine", "IMAGE", "true"],
            125,
            "apparmor is not",
        ),
        (
            ["run", "--rm", "--security-opt", "label=type:mine", "IMAGE", "true"],
            125,
            "label is not",
        ),
        (["run", "--rm", "--device", "/dev/no-such", "IMAGE", "true"], 125, "/dev/no-such"),
        (["run", "--rm", "--device-cgroup-rule", "x 1:2 r", "IMAGE", "true"], 125, "x 1:2 r"),
        (["run", "--rm", "--ulimit", "bogus=1", "IMAGE", "true"], 125, "bogus"),
        (["run", "--rm", "--ulimit", "nofile=9:3", "IMAGE", "true"], 125, "nofile"),
        (["run", "--rm", "--sysctl", "kernel.hostname=x", "IMAGE", "true"], 125, "kernel.hostname"),
        (["run", "--rm", "--shm-size", "-3", "IMAGE", "true"], 125, "3"),
        (["run", "--rm", "--network", "container:absent", "IMAGE", "true"], 125, "absent"),
        (["run", "--rm", "--pid", "bogus", "IMAGE", "true"], 125, "--pid: invalid PID mode"),
        (["run", "--rm", "--stop-signal", "SIGBOGUS", "IMAGE", "true"], 125, "SIGBOGUS"),
        (["run", "--rm", "--oom-score-adj", "2000", "IMAGE", "true"], 125, "2000"),
        (["run", "--rm", "--env-file", "/no/such", "IMAGE", "true"], 125, "/no/such"),
        (["run", "--rm", "--name", "-bad name-", "IMAGE", "true"], 125, "-bad name-"),
        (["run", "--rm", "-w", "relative", "IMAGE", "true"], 125, "relative"),
        (["run", "--rm", "--rootfs", "/no/such/root", "true"], 125, "/no/such/root"),
        (["exec", "absent", "true"], 1, "absent"),
        (["inspect", "absent"], 1, "absent"),
        (["volume", "inspect", "absent"], 1, "get absent: no such volume"),
        (["volume", "rm", "absent"], 1, "get absent: no such volume"),
        (["volume", "create", "-d", "odd", "any"], 1, 'plugin "odd" not found'),
        (["stop", "absent"], 1, "absent"),
        (["rm", "absent"], 1, "absent"),
        (["logs", "absent"], 1, "absent"),
        (["rmi", "absent:1"], 1, "absent:1"),
        (["start", "absent"], 1, "absent"),
        (["attach", "absent"], 1, "absent"),
        (["kill", "absent"], 1, "absent"),
        (["load", "--input", "/no/such/archive"], 1, "/no/such/archive"),
        (["import", "/no/such/archive"], 1, "/no/such/archive"),
        (["ps", "--filter", "bogus=1"], 1, "bogus"),
        (["no-such-command"], 1, "no-such-command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refused(mydocker: Runner, image: str, arguments: list[str], code: int, named: str) -> None:
    before = mydocker.containers()
    result = mydocker(*[image if word == "IMAGE" else word for word in arguments], check=code)
    assert re.search(named, result.err), result.err
    assert "Traceback" not in result.err
    assert len(result.err.splitlines()) <= 6, result.err
    assert result.out in ("", "[]\n")
    if "--rm" in arguments:
        assert mydocker.containers() == before


def test_two_containers_with_one_name(mydocker: Runner, image: str) -> None:
    first, _ = mydocker.start(image, "--name", "bad-twin")
    second = mydocker("run", "-d", "--name", "bad-twin", image, "sleep", "1000", check=125)
    assert "bad-twin" in second.err
    assert first[:12] in second.err
    assert mydocker.containers() == [first]


def test_a_stopped_container_takes_no_exec(mydocker: Runner, image: str) -> None:
    mydocker("run", "--name", "bad-stopped", image, "true")
    refused = mydocker("exec", "bad-stopped", "true", check=False)
    assert refused.code in (1, 126)
    assert "is not running" in refused.err


def test_exec_command_not_found(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image)
    for command, code in (("no-such-command", 127), ("/etc/not-executable", 126)):
        refused = mydocker("exec", container, command, check=code)
        assert command in refused.err + refused.out
    assert mydocker("exec", container, "echo", "still here").line == "still here"


# Archives


def kept(runner: Runner) -> list[str]:
    """Every file of the image store and of the layers."""
    found = []
    for top in ("image", "layer", "volume"):
        for place, _, names in os.walk(os.path.join(runner.root, top)):
            found += [os.path.join(place, name) for name in names]
            if top == "layer":
                found.append(place)
    return sorted(found)


def refused(runner: Runner, archive: str | Path, named: str = "") -> None:
    """``load`` refuses the archive, names what is wrong with it, and the store is as it was."""
    before = kept(runner)
    result = runner("load", "--input", str(archive), check=1, timeout=100)
    assert named in result.err, result.err
    assert "Traceback" not in result.err
    assert kept(runner) == before
    assert runner("images", "--quiet").out == ""


@pytest.fixture
def store(fresh: Runner) -> Runner:
    """An empty store that has been used once, so that what it makes on first use is there."""
    fresh("images")
    return fresh


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A loadable archive with one layer."""
    data = archives.layer([directory("bin"), Member("bin/x", b"x" * 100_000)])
    return Path(archives.docker_archive(str(tmp_path / "good.tar"), [data]))


def test_the_good_one_is_good(store: Runner, good: Path) -> None:
    assert store("load", "--input", str(good)).line == "Loaded image: made/by-hand:1"


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated(store: Runner, good: Path, part: float) -> None:
    data = good.read_bytes()
    good.write_bytes(data[: int(len(data) * part)])
    refused(store, good)


def test_truncated_while_compressed(store: Runner, good: Path) -> None:
    data = gzip.compress(os.urandom(1 << 16) + good.read_bytes())
    good.write_bytes(data[: len(data) // 2])
    refused(store, good)


@pytest.mark.parametrize(
    "data", [b"", b"not an archive at all\n" * 100, bytes(10240), b"\x1f\x8b\x08garbage"]
)
def test_not_an_archive(store: Runner, good: Path, data: bytes) -> None:
    good.write_bytes(data)
    refused(store, good)


def test_flipped_bit(store: Runner, good: Path) -> None:
    data = bytearray(good.read_bytes())
    data[data.index(b"xxxx") + 5000] ^= 1
    good.write_bytes(bytes(data))
    refused(store, good, "sha256:")


def test_wrong_digest(store: Runner, tmp_path: Path) -> None:
    data = archives.layer([Member("x", b"x")])
    lie = "sha256:" + "0" * 64
    refused(store, archives.docker_archive(str(tmp_path / "a.tar"), [data], diff_ids=[lie]), lie)


def test_second_layer_is_bad(store: Runner, tmp_path: Path) -> None:
    """The first layer was good and is removed again."""
    layers = [archives.layer([Member("x", b"x")]), archives.layer([Member("y", b"y")])]
    ids = [archives.digest(layers[0]), "sha256:" + "1" * 64]
    refused(store, archives.docker_archive(str(tmp_path / "a.tar"), layers, diff_ids=ids), ids[1])


OUTSIDE = "/tmp/mydocker-test-escape"

HOSTILE: dict[str, Sequence[Member]] = {
    "dot-dot": [Member("../../../../../../../.." + OUTSIDE, b"escaped")],
    "dot-dot in the middle": [directory("a"), Member("a/../../../../../../../../.." + OUTSIDE, b"escaped")],
    "symlink then write": [symlink("link", "/tmp"), Member("link/mydocker-test-escape", b"escaped")],
    "symlink upwards": [
        symlink("up", "../../../../../../../../tmp"),
        Member("up/mydocker-test-escape", b"escaped"),
    ],
    "symlink chain": [
        symlink("a", "/"),
        symlink("b", "a/tmp"),
        Member("b/mydocker-test-escape", b"escaped"),
    ],
    "hard link to the outside": [hardlink("passwd", "/etc/passwd"), Member("passwd", b"escaped")],
    "hard link with dot-dot": [hardlink("passwd", "../../../../../../../../etc/passwd")],
    "hard link through a symlink": [symlink("etc", "/etc"), hardlink("passwd", "etc/passwd")],
    "whiteout with dot-dot": [Member("a/.wh...", b"")],
    "whiteout through a symlink": [symlink("link", "/tmp"), Member("link/.wh.mydocker-test-victim", b"")],
    "opaque through a symlink": [symlink("link", "/tmp/mydocker-test-dir"), Member("link/.wh..wh..opq", b"")],
    "device through a symlink": [
        symlink("link", "/tmp"),
        Member("link/mydocker-test-escape", kind=tarfile.CHRTYPE, device=(1, 3)),
    ],
}


@pytest.mark.parametrize("case", HOSTILE.values(), ids=HOSTILE.keys())
def test_escape(store: Runner, tmp_path: Path, case: Sequence[Member]) -> None:
    """Refused, or kept inside of the layer's own directory; either way the outside is untouched."""
    victim, place = Path("/tmp/mydocker-test-victim"), Path("/tmp/mydocker-test-dir")
    passwd = Path("/etc/passwd").read_bytes(), os.stat("/etc/passwd").st_nlink
    victim.write_text("still here")
    place.mkdir()
    (place / "inside").touch()
    archive = archives.docker_archive(str(tmp_path / "a.tar"), [archives.layer(case)])
    try:
        before = kept(store)
        result = store("load", "--input", archive, check=False)
        assert result.code in (0, 1)
        assert "Traceback" not in result.err
        assert not os.path.lexists(OUTSIDE)
        assert victim.read_text() == "still here"
        assert (place / "inside").exists()
        assert (Path("/etc/passwd").read_bytes(), os.stat("/etc/passwd").st_nlink) == passwd
        if result.code:
            assert any(part in result.err for member in case for part in (member.name, repr(member.name)))
            assert kept(store) == before
    finally:
        victim.unlink()
        (place / "inside").unlink(missing_ok=True)
        place.rmdir()


def test_absolute_names(store: Runner, tmp_path: Path) -> None:
    case = [directory("bin"), Member(OUTSIDE, b"inside\n")]
    refused(store, archives.docker_archive(str(tmp_path / "a.tar"), [archives.layer(case)]), OUTSIDE)
    assert not os.path.exists(OUTSIDE)


def write_archive_of(path: Path, config: bytes, manifest: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        Member("config.json", config).add_to(tar)
        Member("manifest.json", manifest).add_to(tar)
    return path


MANIFEST = b'[{"Config":"config.json","RepoTags":["a:b"],"Layers":["x/layer.tar"]}]'


@pytest.mark.parametrize(
    ("config", "manifest"),
    [
        (b"{}", b"not json"),
        (b"{}", b"{}"),
        (b"{}", b"[]"),
        (b"{}", b"[" * 100_000),
        (b"not json", MANIFEST),
        (b"{}", MANIFEST),
        (b'{"rootfs":{"type":"layers","diff_ids":["sha256:short"]}}', MANIFEST),
        (b'{"rootfs":{"type":"layers","diff_ids":["../../etc"]}}', MANIFEST),
        (b"{}", MANIFEST.replace(b"x/layer.tar", b"../../../../etc/passwd")),
        (b"{}", MANIFEST.replace(b"config.json", b"/etc/passwd")),
        (b'{"rootfs":{"type":"layers","diff_ids":[]}}', MANIFEST.replace(b"a:b", b"not a reference")),
    ],
)
def test_malformed_documents(store: Runner, tmp_path: Path, config: bytes, manifest: bytes) -> None:
    refused(store, write_archive_of(tmp_path / "a.tar", config, manifest))


@pytest.mark.slow
def test_decompression_bomb(store: Runner, tmp_path: Path) -> None:
    """More than a gigabyte of zeros in a few megabytes of archive; the message states the limit."""
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as target, tarfile.open(fileobj=target, mode="w|") as tar:
        info = tarfile.TarInfo("zeros")
        info.size = 5 << 28
        with open("/dev/zero", "rb") as zeros:
            tar.addfile(info, zeros)
    before = kept(store)
    result = store("import", str(path), "bomb:1", check=1)
    assert "limit" in result.err
    assert kept(store) == before


@pytest.mark.slow
def test_a_million_entries(store: Runner, tmp_path: Path) -> None:
    """Refused by their number, whatever they are; a directory that is there is the fastest to unpack."""
    path = tmp_path / "many.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as target:
        target.write(directory_header() * 1_000_000)
        target.write(bytes(1024))
    before = kept(store)
    result = store("import", str(path), "many:1", check=1, timeout=110)
    assert "limit" in result.err
    assert kept(store) == before


def directory_header() -> bytes:
    info = tarfile.TarInfo("many")
    info.type = tarfile.DIRTYPE
    return info.tobuf(tarfile.USTAR_FORMAT)
