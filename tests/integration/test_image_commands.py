"""tag, history, images, rmi, prune and df at the command line, and the same from Python."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.engine import Config, Engine
from support import archives, command
from support.archives import Member
from support.command import Runner


@pytest.fixture
def images(fresh: Runner, tmp_path: Path) -> Runner:
    """``old:1`` and ``new:1`` share a layer; ``new:1`` was something else before."""
    shared = archives.layer([Member("shared", b"x" * 50_000)])
    for number, (name, top, label) in enumerate(
        (("old:1", "old", "a"), ("new:1", "before", "b"), ("new:1", "new", "c"))
    ):
        layers = [shared, archives.layer([Member(top, top.encode() * 5000)])]
        path = archives.docker_archive(
            str(tmp_path / f"{number}.tar"), layers, name=name, config={"Labels": {label: "yes"}}
        )
        fresh("load", "--quiet", "--input", path)
    return fresh


def test_tag_and_images(images: Runner) -> None:
    images("tag", "old:1", "registry.example:5000/x/y")
    images("image", "tag", images("images", "--quiet", "new").line, "copy")
    lines = images("images", "--format", "{{.Repository}}:{{.Tag}}").out.split()
    assert sorted(lines) == [
        "<none>:<none>", "copy:latest", "new:1", "old:1", "registry.example:5000/x/y:latest",
    ]  # fmt: skip
    assert images("images", "--format", "{{.Repository}}", "registry.example:5000/*/*").line.endswith("x/y")
    assert (
        images("images", "--quiet", "--filter", "dangling=true").line
        == images("images", "--quiet", "--filter", "label=b").line
    )
    assert len(images("images", "--quiet").out.split()) == 5, "one line for each name"
    assert (
        images("images", "--filter", "until=1h", "--quiet").out.split() == images("images", "-q").out.split()
    )
    images("import", "-", "now:1", stdin=archives.layer([Member("x")]))
    assert "now:1" in images("images", "--filter", "since=old:1", "--format", "{{.Repository}}:{{.Tag}}").out
    assert images("images", "--filter", "until=1h", "--quiet", "now").out == ""
    assert images("images", "--filter", "until=2000-01-01T00:00:00Z", "--quiet", "now").out == ""
    refused = images("images", "--filter", "until=soon", check=1)
    assert 'failed to parse value as time or duration: "soon"' in refused.err
    assert "must be lowercase" in images("tag", "old:1", "Upper", check=1).err
    assert "no such image: none" in images("tag", "none", "x", check=1).err


def test_history(fresh: Runner, busybox_tar: str) -> None:
    fresh("import", "--message", "from a tar", busybox_tar, "imported:1")
    table = fresh("history", "imported:1").out.splitlines()
    assert table[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert table[1].endswith("from a tar")
    assert fresh("history", "--quiet", "--no-trunc", "imported:1").line == fresh.inspect("imported:1")["Id"]
    size = fresh("history", "--human=false", "--format", "{{.Size}}", "imported:1").line
    assert int(size) == fresh.inspect("imported:1")["Size"] > 0
    missing = fresh("history", "--platform", "linux/s390x", "imported:1", check=1)
    assert "does not match the specified platform: wanted linux/s390x, actual: linux/" in missing.err


def test_what_cannot_be_read(fresh: Runner) -> None:
    """Docker's statuses and words."""
    done = fresh("image", "nothing", check=1)
    assert done.err.splitlines() == [
        "mydocker: unknown command: mydocker image nothing", "", "Usage:  mydocker image", "",
        "Run 'mydocker image --help' for more information",
    ]  # fmt: skip
    for words in (("image", "inspect"), ("inspect",), ("info",), ("version",)):
        assert "unclosed action" in fresh(*words, "--format", "{{.Id", *("x",) * ("inspect" in words),
                                          check=64).err  # fmt: skip
    assert "unclosed action" in fresh("images", "--format", "{{.Id", check=1).err


def test_rmi(images: Runner) -> None:
    images("tag", "old:1", "other:2")
    identifier = images("images", "--quiet", "--no-trunc", "old").line
    short = identifier[7:19]
    refused = images("rmi", short, check=1)
    assert f"unable to delete {short} (must be forced) - image is referenced in multiple" in refused.err
    missing = images("rmi", "--platform", "linux/s390x", "old:1", check=1)
    assert "does not match the specified platform" in missing.err
    done = images("rmi", "--platform", "linux/amd64", "old:1", "nope", check=1)
    assert done.out == "Untagged: old:1\n"
    assert "no such image: nope" in done.err
    container = images("create", "other:2", "x").line
    for name, word in (("other:2", "must force"), (short, "must be forced")):
        assert word in images("rmi", name, check=1).err
        assert container[:12] in images("rmi", name, check=1).err
    lines = images("rmi", "--force", "--no-prune", short).out.splitlines()
    assert lines == ["Untagged: other:2", f"Deleted: {identifier}"]
    assert images("rmi", "--force", "nope").err.startswith("mydocker: no such image: nope")
    images("rm", container)
    new = images("rmi", "new:1").out.splitlines()
    assert new[0] == "Untagged: new:1"
    assert len(new) == 4, "its own layer, and that which the container stood on; another image has the third"


def test_image_prune(images: Runner) -> None:
    dangling = images("images", "--quiet", "--no-trunc", "--filter", "dangling=true").line
    assert images("image", "prune", stdin=b"n\n").out.endswith("continue? [y/N] ")
    assert images("image", "prune", "--force", "--filter", "label=a").out == "Total reclaimed space: 0B\n"
    said = images("image", "prune", stdin=b"Y\n").out
    assert said.startswith("WARNING! This will remove all dangling images.\nAre you sure")
    assert f"\ndeleted: {dangling}\n" in said
    container = images("create", "new:1", "x").line
    before = used(images)
    said = images("image", "prune", "--all", "--force").out
    assert "untagged: old:1" in said
    assert "new:1" not in said
    freed = re.search(r"Total reclaimed space: ([\d.]+)kB\n", said)
    assert freed
    assert abs(float(freed[1]) * 1000 - (before - used(images))) < 100, "measured, and shown with four digits"
    assert images("rm", container)


def used(runner: Runner) -> int:
    """Bytes that the images take, by du(1)."""
    os.sync()
    paths = [os.path.join(runner.root, "image/blobs"), os.path.join(runner.root, "layer")]
    blobs = [os.path.join(place, name) for place, _, names in os.walk(paths[0]) for name in names]
    layers = [os.path.join(paths[1], name) for name in os.listdir(paths[1])]
    lines = command.run(["du", "--summarize", "--block-size=1", *blobs, *layers]).out.splitlines()
    return sum(int(line.split()[0]) for line in lines)


def test_system_prune(fresh: Runner, busybox_tar: str) -> None:
    fresh("import", busybox_tar, "kept:1")
    fresh("import", "--change", "LABEL a=b", busybox_tar, "unused:1")
    stopped = fresh("create", "--volume", "/data", "kept:1", "true").line
    running, _ = fresh.start("kept:1", "--volume", "/data")
    download = Path(fresh.root, "image/download", "1" * 64)
    download.write_bytes(b"half of a layer")
    asked = fresh("system", "prune", "--all", "--volumes", "--filter", "label=z", stdin=b"\n").out
    assert [line for line in asked.splitlines() if line.startswith("  ")] == [
        "  - all stopped containers",
        "  - all networks not used by at least one container",
        "  - all anonymous volumes not used by at least one container",
        "  - all images without at least one container associated to them",
        "  - downloads that were broken off",
        "  Items to be pruned will be filtered with:",
        "  - label=z",
    ]
    assert "not supported with" in fresh("system", "prune", "--volumes", "--filter", "until=1h", check=1).err
    said = fresh("system", "prune", "--force").out
    assert said.startswith(f"Deleted Containers:\n{stopped}\n\nTotal reclaimed space: ")
    assert fresh.containers() == [running]
    assert not download.exists()
    assert len(os.listdir(Path(fresh.root, "volume"))) == 2, "volumes go only when asked for"
    began = repr(time.time())
    said = fresh("system", "prune", "--force", "--all", "--volumes").out
    told = fresh(
        "events", "--since", began, "--until", "0s", "--filter", "event=prune",
        "--format", "{{.Type}} {{.Actor.Attributes.reclaimed}}",
    ).out.split()  # fmt: skip
    assert told[::2] == ["container", "network", "volume", "image"]
    assert told[1] == told[3] == "0"
    assert int(told[7]) > 0, "an image went"
    assert re.search(
        r"\ADeleted Volumes:\n[0-9a-f]{64}\n\nDeleted Images:\nuntagged: unused:1\ndeleted: ", said
    )
    assert fresh("images", "--format", "{{.Repository}}").line == "kept"
    assert fresh("exec", running, "ls", "/data").code == 0
    fresh("rm", "--force", "--volumes", running)
    fresh("system", "prune", "--force", "--all", "--volumes")
    assert fresh("system", "df", "--format", "{{.TotalCount}} {{.Size}}").out.split() == ["0", "0B"] * 4


def test_df(images: Runner) -> None:
    container = images("create", "--volume", "/data", "new:1", "x").line
    rows = {
        line["Type"]: line
        for line in map(json.loads, images("system", "df", "--format", "json").out.splitlines())
    }
    assert (rows["Images"]["TotalCount"], rows["Images"]["Active"]) == ("3", "1")
    assert (rows["Containers"]["TotalCount"], rows["Containers"]["Active"]) == ("1", "0")
    assert (rows["Local Volumes"]["TotalCount"], rows["Local Volumes"]["Active"]) == ("1", "1")
    assert rows["Local Volumes"]["Reclaimable"] == "0B (0%)"
    assert rows["Images"]["Size"] == human(used(images))
    document = images("system", "df", "--verbose", "--format", "json").json()
    assert [one["Containers"] for one in document["Images"]].count("1") == 1
    assert len({one["SharedSize"] for one in document["Images"]}) == 1, "all three have the one layer"
    assert document["Containers"][0]["ID"] == container
    assert document["Volumes"][0]["Links"] == "1"
    assert document["BuildCache"] == []
    template = images(
        "system", "df", "--verbose", "--format", "{{range .Images}}{{.Repository}} {{end}}"
    ).line
    assert sorted(template.split()) == ["<none>", "new", "old"]
    table = images("system", "df", "--verbose").out
    assert table.count(" space usage:\n\n") == 3
    images("rm", "--volumes", container)


def human(size: int) -> str:
    from mydocker.cli.format.units import human_size

    return human_size(size)


def test_system_info(fresh: Runner) -> None:
    assert fresh("system", "info", "--format", "{{.Images}}").line == "0"
    assert "df " in fresh("system").err
    assert "df " in fresh("system", "--help").out


def test_inspect_for_a_platform(images: Runner) -> None:
    for wanted in ("linux/amd64", "amd64", "linux"):
        images("image", "inspect", "--platform", wanted, "old:1")
    assert images("image", "inspect", "--platform", "linux/arm64", "old:1", check=1).out == "[]\n"
    data = images.inspect("old:1")["GraphDriver"]["Data"]
    assert os.listdir(data["UpperDir"]) == ["old"]
    assert os.listdir(data["LowerDir"]) == ["shared"]


def test_from_python(images: Runner) -> None:
    engine = Engine(root=images.root, state=images.state)
    engine.images.tag("old:1", "again:1")
    assert [image.repo_tags for image in engine.images.list({"label": ["a"]})] == [["again:1", "old:1"]]
    assert engine.images.history("old:1") == []
    container = engine.containers.create(Config(image="old:1", cmd=["x"]))
    usage = engine.df()
    assert usage.images.total == used(images)
    assert [one.container.id for one in usage.containers] == [container.id]
    assert engine.images.prune({"dangling": ["false"], "label!": ["c"]}).removals != []
    assert sorted(tag for image in engine.images.list() for tag in image.repo_tags) == [
        "again:1", "new:1", "old:1",
    ]  # fmt: skip
    pruned = engine.prune(all=True)
    assert pruned.containers == [container.id]
    assert pruned.reclaimed > pruned.images.reclaimed > 0
    assert engine.check().faults == []
    with pytest.raises(errors.InvalidArgument, match="invalid filter 'before'"):
        engine.images.prune({"before": ["x"]})
