"""Which images go, what that gives back, and that nothing goes that somebody is about to use."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.image import usage
from mydocker.image.prune import prune
from mydocker.image.store import ImageStore, Removal, Use
from support import command
from support.layout import files, layer

pytestmark = pytest.mark.root

Archive = Callable[..., str]
ONE, TWO, THREE = layer("one"), layer("two"), layer("three")
ALL = {"dangling": ["false"]}


def on_disk(store: ImageStore) -> int:
    """Bytes in blobs and layers, by du(1)."""
    os.sync()
    blobs = os.path.join(store.content.root, "blobs/sha256")
    paths = [os.path.join(place, name) for place in (blobs, store.layers.root) for name in os.listdir(place)]
    if not paths:
        return 0
    lines = command.run(["du", "--summarize", "--block-size=1", *paths]).out.splitlines()
    return sum(int(line.split()[0]) for line in lines)


def test_only_dangling(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:1", [ONE]))
    gone = store.resolve("a:1")
    store.load(archive("a:1", [ONE, TWO]))
    before = on_disk(store)
    pruned = prune(store, {})
    assert pruned.removals == [Removal(deleted=gone.id)]
    assert pruned.reclaimed == before - on_disk(store) > 0
    assert not pruned.deferred
    assert [image.repo_tags for image in store.list()] == [["a:1"]]
    assert prune(store, {}).removals == []


def test_all(store: ImageStore, archive: Archive, uses: list[Use]) -> None:
    store.load(archive("a:1", [ONE, TWO]))
    store.load(archive("b:1", [ONE, THREE]))
    store.tag("a:1", "a:2")
    a, b = store.resolve("a:1"), store.resolve("b:1")
    uses.append(Use(b.id, "c" * 64, running=False))
    before = on_disk(store)
    pruned = prune(store, ALL)
    assert pruned.removals == [
        Removal(untagged="a:1"), Removal(untagged="a:2"), Removal(deleted=a.id), Removal(deleted=a.chain[1]),
    ]  # fmt: skip
    assert pruned.reclaimed == before - on_disk(store) > 0
    assert [os.listdir(path) for path in b.layers] == [["three"], ["one"]]
    uses.clear()
    prune(store, ALL)
    assert [name for name in files(store) if not name.endswith((".json", "oci-layout"))] == []


def test_filters(store: ImageStore, archive: Archive) -> None:
    store.load(archive("a:1", [ONE], config={"Labels": {"keep": ""}}))
    store.load(archive("b:1", [TWO]))
    with pytest.raises(errors.InvalidArgument, match="invalid filter 'before'"):
        prune(store, {"before": ["a:1"]})
    prune(store, {**ALL, "label!": ["keep"]})
    assert [image.repo_tags for image in store.list()] == [["a:1"]]


def test_what_is_taken_in_stays(store: ImageStore, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a load is at work nothing is collected; it does that itself afterwards."""
    monkeypatch.setattr("mydocker.image.prune._PATIENCE", 0)
    store.load(archive("a:1", [ONE]))
    image = store.resolve("a:1")
    with store.ingest():
        blob = store.content.add(b"on its way in")
        child = os.fork()
        if child == 0:
            pruned = prune(store, ALL)
            os._exit(0 if pruned.deferred and pruned.reclaimed == 0 else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.content.has(blob)
        assert os.listdir(image.layers[0]) == ["one"]
    assert store.list() == []
    assert list(store.layers.all()) == []


def test_between_resolving_and_recording(store: ImageStore, archive: Archive, tmp_path: Path) -> None:
    """Who makes a container holds the index still until its record is there: a prune waits, and sees it."""
    store.load(archive("a:1", [ONE]))
    record = tmp_path / "record"
    store.used = lambda: [Use(record.read_text(), "c" * 64, running=True)] if record.exists() else []
    reader, writer = os.pipe()
    child = os.fork()  # before the locks are taken: a child would keep those that it inherits
    if child == 0:
        os.read(reader, 1)
        os._exit(len(prune(store, ALL).removals))
    with store.hold():
        with store.locked(shared=True):
            image = store.resolve("a:1")
            os.write(writer, b"x")
            assert not ended(child, 0.2), "it waits"
            record.write_text(image.id)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.resolve("a:1").id == image.id
    assert os.listdir(image.layers[0]) == ["one"]


def ended(child: int, seconds: float) -> bool:
    time.sleep(seconds)
    return os.waitpid(child, os.WNOHANG) != (0, 0)


def test_usage(store: ImageStore, archive: Archive, uses: list[Use]) -> None:
    store.load(archive("a:1", [ONE, TWO]))
    store.load(archive("b:1", [ONE, THREE]))
    a, b = store.resolve("a:1"), store.resolve("b:1")
    uses.append(Use(b.id, "c" * 64, running=False))
    found = usage.measure(store)
    one = {each.image.id: each for each in found.images}
    assert found.total == on_disk(store)
    assert (one[a.id].containers, one[b.id].containers, found.active) == (0, 1, 1)
    assert one[a.id].shared == one[b.id].shared > 0
    assert found.total == one[a.id].unique + one[b.id].unique + one[a.id].shared
    assert found.reclaimable == one[a.id].unique
    store.remove("b:1", force=True)
    assert prune(store, ALL).removals[0] == Removal(untagged="a:1")
    left = usage.measure(store)
    assert (left.images, left.reclaimable) == ([], 0), "the container stands on what is left"
    assert left.total == on_disk(store) > 0
