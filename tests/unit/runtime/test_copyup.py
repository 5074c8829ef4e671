"""What fills a tmpfs that hides a directory of the image."""

from __future__ import annotations

import os
from pathlib import Path

from mydocker.linux.descent import DIRECTORY
from mydocker.runtime.copyup import copy
from support import deep


def test_however_deep(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    with deep.nested(tmp_path / "source", 1500), deep.few_descriptors():
        source, target = (os.open(tmp_path / name, DIRECTORY) for name in ("source", "target"))
        copy(source, target)
        os.close(source)
        os.close(target)
        assert deep.depth(tmp_path / "target") == 1500
