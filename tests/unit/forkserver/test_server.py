"""What a server does before it serves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mydocker.forkserver import server


def test_a_sweep_beside_a_server_that_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes its own socket away after it was found not to answer."""
    (tmp_path / "forkserver-0.sock").touch()

    def leave(path: str) -> bool:
        os.unlink(path)
        return False

    monkeypatch.setattr(server, "_answers", leave)
    server.sweep(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
