"""``system check`` beside others: what they are about to remove is no fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from mydocker.container.store import Store
from mydocker.content.lock import Lock
from mydocker.engine.check import check
from mydocker.image.store import ImageStore
from support import archives
from support.archives import Member

pytestmark = pytest.mark.root


def test_what_was_unnamed_a_moment_ago(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prune has taken the name away, and the check is the first to have the store for itself."""
    root = str(tmp_path / "root")
    images = ImageStore(root)
    layer = archives.layer([Member("one", b"1")])
    images.load(archives.docker_archive(str(tmp_path / "image.tar"), [layer], name="a:1"))
    acquire = Lock.acquire_within

    def unnamed_first(lock: Lock, patience: float) -> bool:
        image = images.resolve("a:1")
        with images.hold(), images.locked():
            images.content.note()
            images.unname(image, set(image.names), drop=True)
        monkeypatch.undo()
        return acquire(lock, patience)

    monkeypatch.setattr(Lock, "acquire_within", unnamed_first)
    checked = check(
        Store(root, str(tmp_path / "state")), images, repair=False, remove_broken=False, progress=None
    )
    assert checked.faults == []
    assert (checked.images, checked.blobs, checked.layers) == (0, 0, 0)
