"""``system check``: every kind of damage, done by hand, is found, named, and repaired where that is safe."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support import archives, terminal
from support.archives import Member, directory
from support.command import Runner

BOTTOM = archives.layer([directory("etc"), Member("etc/motd", b"hello\n"), Member("big", b"x" * 100_000)])
TOP = archives.layer([Member("top", b"of the stack")])


@dataclass(frozen=True)
class Stored:
    """A store with the image ``made:1`` of two layers, and the container ``one`` on it with a volume."""

    mydocker: Runner
    archive: str
    container: str

    @property
    def root(self) -> Path:
        return Path(self.mydocker.root)

    def blob(self, digest: str) -> Path:
        return Path(self.root, "image/blobs/sha256", digest.removeprefix("sha256:"))

    def entry(self) -> dict[str, Any]:
        entries: list[dict[str, Any]] = json.loads((self.root / "image/index.json").read_text())["manifests"]
        return entries[0]

    def manifest(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.blob(self.entry()["digest"]).read_text())
        return document

    def layer(self, number: int) -> Path:
        """0 is the lower one."""
        config = json.loads(self.blob(self.manifest()["config"]["digest"]).read_text())
        diff_ids = config["rootfs"]["diff_ids"]
        chain = [diff_ids[0], archives.digest(f"{diff_ids[0]} {diff_ids[1]}".encode())]
        return Path(self.root, "layer", chain[number].removeprefix("sha256:"))

    def record(self) -> Path:
        return self.root / "container" / self.container

    def volume(self) -> Path:
        (path,) = (self.root / "volume").iterdir()
        return path

    def check(self, *flags: str) -> tuple[int, list[dict[str, str]]]:
        """The exit status, and the faults."""
        result = self.mydocker("system", "check", "--format", "json", *flags, check=False)
        assert not result.err, result
        return result.code, [json.loads(line) for line in result.out.splitlines()]


@pytest.fixture
def stored(fresh: Runner, tmp_path: Path) -> Stored:
    archive = archives.docker_archive(
        str(tmp_path / "image.tar"), [BOTTOM, TOP], name="made:1", config={"Cmd": ["/none"]}
    )
    fresh("load", "--input", archive)
    container = fresh("create", "--name", "one", "--volume", "/data", "made:1").line
    return Stored(fresh, archive, container)


def test_nothing_wrong(stored: Stored) -> None:
    assert stored.check() == (0, [])
    said = stored.mydocker("system", "check").line
    assert said == "4 blobs, 1 image, 2 layers, 1 container, 1 volume: no faults"
    assert stored.mydocker("system", "check", "--repair").line == said


def test_an_empty_store(fresh: Runner) -> None:
    said = fresh("system", "check").line
    assert said == "0 blobs, 0 images, 0 layers, 0 containers, 0 volumes: no faults"


def test_a_progress_bar(stored: Stored) -> None:
    with terminal.opened(stored.mydocker) as person:
        person.run("system", "check")
        person.see("Verifying blobs")
        person.see("no faults")
        person.outside()


# Injections. Each returns nothing; what is expected stands beside it.


def spoil(path: Path) -> None:
    """Change one byte, and not the size."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def spoil_layer_blob(stored: Stored) -> None:
    spoil(stored.blob(stored.manifest()["layers"][0]["digest"]))


def spoil_manifest(stored: Stored) -> None:
    stored.blob(stored.entry()["digest"]).write_text("{}")


def spoil_config(stored: Stored) -> None:
    spoil(stored.blob(stored.manifest()["config"]["digest"]))


def lose_manifest(stored: Stored) -> None:
    stored.blob(stored.entry()["digest"]).unlink()


def lose_config(stored: Stored) -> None:
    stored.blob(stored.manifest()["config"]["digest"]).unlink()


def lose_layer_blob(stored: Stored) -> None:
    stored.blob(stored.manifest()["layers"][1]["digest"]).unlink()


def lie_about_size(stored: Stored) -> None:
    index = stored.root / "image/index.json"
    document = json.loads(index.read_text())
    document["manifests"][0]["size"] += 1
    index.write_text(json.dumps(document))


def spoil_index(stored: Stored) -> None:
    (stored.root / "image/index.json").write_text('{"manifests": 1}')


def lose_a_file(stored: Stored) -> None:
    (stored.layer(0) / "diff/etc/motd").unlink()


def grow_a_file(stored: Stored) -> None:
    with (stored.layer(1) / "diff/top").open("a") as file:
        file.write("more")


def lose_the_files(stored: Stored) -> None:
    shutil.rmtree(stored.layer(0) / "diff")


def lose_a_layer(stored: Stored) -> None:
    shutil.rmtree(stored.layer(0))


def lose_the_top_layer(stored: Stored) -> None:
    shutil.rmtree(stored.layer(1))


def lose_the_init_layer(stored: Stored) -> None:
    shutil.rmtree(stored.layer(1) / "init")


def lie_about_the_parent(stored: Stored) -> None:
    (stored.layer(1) / "parent").write_text("sha256:" + "0" * 64)


def spoil_the_size(stored: Stored) -> None:
    (stored.layer(1) / "size").write_text("many")


def leave_an_unpacking(stored: Stored) -> None:
    (stored.root / "layer/.new-99999-1/diff/dir").mkdir(parents=True)


def leave_a_removal(stored: Stored) -> None:
    (stored.root / "layer/.old-99999-1").mkdir()


def leave_a_file(stored: Stored) -> None:
    (stored.root / "image/index.json.99999.tmp").write_bytes(b"half")


def leave_a_blob(stored: Stored) -> None:
    data = b"nobody needs this"
    stored.blob(archives.digest(data)).write_bytes(data)


def leave_a_wrong_blob(stored: Stored) -> None:
    stored.blob("1" * 64).write_bytes(b"not what it says")


def leave_a_layer(stored: Stored) -> None:
    path = stored.root / "layer" / ("2" * 64)
    (path / "diff").mkdir(parents=True)
    (path / "parent").touch()
    (path / "size").write_text("0")


def end_the_monitor(stored: Stored) -> None:
    path = stored.record() / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps({**state, "Status": "running", "Pid": 1}))


def spoil_state(stored: Stored) -> None:
    (stored.record() / "state.json").write_text("{")


def lose_state(stored: Stored) -> None:
    (stored.record() / "state.json").unlink()


def spoil_record(stored: Stored) -> None:
    (stored.record() / "config.json").write_text("{}")


def lose_the_upper_directory(stored: Stored) -> None:
    shutil.rmtree(stored.record() / "rw/diff")


def lose_hosts(stored: Stored) -> None:
    (stored.record() / "hosts").unlink()


def lose_the_name(stored: Stored) -> None:
    (stored.root / "container/by-name/one").unlink()


def add_a_name(stored: Stored) -> None:
    (stored.root / "container/by-name/two").symlink_to(f"../{stored.container}")


def leave_a_name(stored: Stored) -> None:
    (stored.root / "container/by-name/gone").symlink_to(f"../{'3' * 64}")


def lose_the_volume(stored: Stored) -> None:
    shutil.rmtree(stored.volume())


def lose_the_volume_data(stored: Stored) -> None:
    shutil.rmtree(stored.volume() / "_data")


def lose_the_volume_config(stored: Stored) -> None:
    (stored.volume() / "config.json").unlink()


Damage = Callable[[Stored], None]

REPAIRED: list[tuple[Damage, str, str]] = [
    (lose_a_file, "layer", "its files have 100000 bytes, its archive has 100006"),
    (grow_a_file, "layer", "its files have 16 bytes, its archive has 12"),
    (lose_the_files, "layer", "it has no files, and container"),
    (lose_a_layer, "layer", "it has no files, and container"),
    (lose_the_top_layer, "layer", "it has no files, and container"),
    (lose_the_init_layer, "layer", "the init layer on top of it is missing"),
    (lie_about_the_parent, "layer", "it says that it stands on sha256:000"),
    (spoil_the_size, "layer", "what is noted about it cannot be read"),
    (leave_an_unpacking, "leftover", "nobody is at work on it"),
    (leave_a_removal, "leftover", "nobody is at work on it"),
    (leave_a_file, "leftover", "nobody is at work on it"),
    (leave_a_blob, "leftover", "no image needs it"),
    (leave_a_wrong_blob, "blob", "its contents have the digest"),
    (leave_a_layer, "leftover", "no image needs it"),
    (spoil_state, "container", "state.json"),
    (lose_the_name, "name", "does not lead to container"),
    (add_a_name, "name", "whose name is one"),
    (leave_a_name, "name", "which does not exist"),
]


@pytest.mark.parametrize(
    ("damage", "kind", "problem"), REPAIRED, ids=[damage.__name__ for damage, _, _ in REPAIRED]
)
def test_repaired(stored: Stored, damage: Damage, kind: str, problem: str) -> None:
    damage(stored)
    code, faults = stored.check()
    assert code == 1
    assert any(fault["Kind"] == kind and problem in fault["Problem"] for fault in faults), faults
    assert all(fault["Name"] and fault["Remedy"] and not fault["Outcome"] for fault in faults), faults
    code, again = stored.check("--repair")
    assert (code, [fault["Outcome"] for fault in again]) == (0, ["repaired"] * len(again)), again
    assert stored.check() == (0, [])


BROKEN: list[tuple[Damage, str, str]] = [
    (spoil_layer_blob, "blob", "its contents have the digest"),
    (spoil_manifest, "image", "is not what it should be"),
    (spoil_config, "image", "is not what it should be"),
    (lose_manifest, "image", "is missing"),
    (lose_config, "image", "is missing"),
    (lie_about_size, "image", "index.json has"),
    (spoil_record, "container", "config.json"),
]


@pytest.mark.parametrize(
    ("damage", "kind", "problem"), BROKEN, ids=[damage.__name__ for damage, _, _ in BROKEN]
)
def test_removed_only_when_told(stored: Stored, damage: Damage, kind: str, problem: str) -> None:
    damage(stored)
    for flags in ((), ("--repair",)):
        code, faults = stored.check(*flags)
        assert code == 1
        assert any(fault["Kind"] == kind and problem in fault["Problem"] for fault in faults), faults
    code, faults = stored.check("--repair", "--remove-broken")
    assert (code, {fault["Outcome"] for fault in faults}) <= (0, {"removed", "repaired"}), faults
    if damage is not spoil_record:
        stored.mydocker("rm", "--force", "--volumes", "one")
    stored.mydocker("load", "--input", stored.archive)
    for flags in (("--repair",), ()):
        code, faults = stored.check(*flags)
    assert (code, faults) == (0, [])


STANDS: list[tuple[Damage, str, str]] = [
    (lose_layer_blob, "image", "of a layer is missing"),
    (spoil_index, "image", "index.json"),
    (lose_the_upper_directory, "container", "rw/diff is missing"),
    (lose_hosts, "container", "hosts is missing"),
    (lose_the_volume, "volume", "_data is missing"),
    (lose_the_volume_data, "volume", "_data is missing"),
    (lose_the_volume_config, "volume", "its config.json is missing"),
]


@pytest.mark.parametrize(
    ("damage", "kind", "problem"), STANDS, ids=[damage.__name__ for damage, _, _ in STANDS]
)
def test_told_and_left(stored: Stored, damage: Damage, kind: str, problem: str) -> None:
    """What is lost is not made up: the way out is told, and the person goes it."""
    damage(stored)
    code, faults = stored.check()
    assert code == 1
    assert [fault["Kind"] for fault in faults] == [kind]
    assert problem in faults[0]["Problem"]
    code, after = stored.check("--repair", "--remove-broken")
    assert (code, after) == (1, faults)
    stored.mydocker("rm", "--force", "--volumes", "one")
    if damage is spoil_index:
        (stored.root / "image/index.json").unlink()
    stored.mydocker("load", "--input", stored.archive)
    assert stored.check() == (0, [])


def test_an_orphaned_volume(stored: Stored) -> None:
    """Without a container, a volume that cannot be used is removed when told."""
    lose_the_volume_config(stored)
    name = stored.volume().name
    stored.mydocker("rm", "one")
    code, faults = stored.check("--repair")
    assert (code, [(fault["Kind"], fault["Name"]) for fault in faults]) == (1, [("volume", name)])
    stored.check("--repair", "--remove-broken")
    assert stored.check() == (0, [])


@pytest.mark.parametrize("damage", [lose_manifest, lose_config])
def test_who_runs_into_damage_is_told_of_it(stored: Stored, damage: Damage) -> None:
    damage(stored)
    assert "`mydocker system check` tells" in stored.mydocker("images", check=1).err


def test_what_is_not_ours(stored: Stored) -> None:
    for place in ("layer/x", "container/x", "image/blobs/sha256/x"):
        (stored.root / place).mkdir()
    code, faults = stored.check("--repair", "--remove-broken")
    assert code == 1
    assert {fault["Kind"] for fault in faults} == {"leftover"}
    assert {os.path.relpath(fault["Name"], stored.root) for fault in faults} == {
        "layer/x", "container/x", "image/blobs/sha256/x",
    }  # fmt: skip


def test_nothing_under_a_running_container(fresh: Runner, busybox_tar: str) -> None:
    fresh("import", busybox_tar, "busybox:test")
    container, _ = fresh.start("busybox:test")
    (layer,) = Path(fresh.root, "layer").iterdir()
    (layer / "diff/etc/passwd").unlink()
    result = fresh("system", "check", "--repair", check=1)
    assert f"stop container {container[:12]}, which runs on it, then" in result.out
    assert fresh("exec", container, "echo", "runs").line == "runs"
    fresh("rm", "--force", container)
    fresh("system", "check", "--repair")
    assert fresh("run", "--rm", "busybox:test", "head", "-n1", "/etc/passwd").line.startswith("root:")


def test_text_and_flags(stored: Stored) -> None:
    leave_a_removal(stored)
    path = stored.root / "layer/.old-99999-1"
    lines = stored.mydocker("system", "check", check=1).out.splitlines()
    assert lines == [
        f"leftover {path}: nobody is at work on it any more (`mydocker system check --repair` removes it)",
        "4 blobs, 1 image, 2 layers, 1 container, 1 volume: 1 fault",
    ]
    table = stored.mydocker("system", "check", "--format", "table {{.Kind}}\t{{.Name}}", check=1).out
    assert table.split() == ["KIND", "NAME", "leftover", str(path)]
    result = stored.mydocker("system", "check", "--remove-broken", check=1)
    assert result.err == "mydocker: --remove-broken goes with --repair\n"


def test_what_the_next_command_sweeps_is_no_fault(stored: Stored) -> None:
    """A command that was killed has left a note, so what it has left is removed first, as by any other."""
    leave_an_unpacking(stored)
    (stored.root / "image/ingest/99999-1").write_bytes(b"half of a blob")
    (stored.root / "image/ingest/99999-0.note").touch()
    assert stored.check() == (0, [])
    assert os.listdir(stored.root / "image/ingest") == []
    assert len(os.listdir(stored.root / "layer")) == 2


def test_what_a_killed_command_has_left_of_a_container_is_no_fault(stored: Stored) -> None:
    end_the_monitor(stored)
    assert stored.check() == (0, [])
    state = stored.mydocker.inspect("one")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    lose_state(stored)
    assert stored.check() == (0, [])
    assert stored.mydocker.containers() == []


def test_a_committed_layer_in_its_blob(stored: Stored) -> None:
    """It has no directory until a container needs it; its blob must be good, then."""
    (stored.record() / "rw/diff/made").write_text("in the container")
    stored.mydocker("commit", "one", "committed:1")
    assert stored.check() == (0, [])
    config = stored.mydocker.inspect("committed:1")["RootFS"]["Layers"]
    spoil(stored.blob(config[-1]))
    code, faults = stored.check()
    assert (code, [(fault["Kind"], fault["Name"]) for fault in faults]) == (
        1, [("image", "committed:1"), ("blob", config[-1])],
    )  # fmt: skip
    stored.check("--repair", "--remove-broken")
    assert stored.check() == (0, [])
    assert "committed" not in stored.mydocker("images").out


def test_a_download_is_no_fault(stored: Stored) -> None:
    """What a pull that was killed will go on with."""
    path = stored.root / "image/download" / ("4" * 64)
    path.write_bytes(b"half of a layer")
    assert stored.check("--repair") == (0, [])
    assert path.exists()
