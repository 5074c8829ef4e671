"""Layers merged by a mount that nobody sees."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from mydocker import errors
from mydocker.runtime.rootfs import Overlay
from mydocker.snapshot import view

pytestmark = pytest.mark.root


@pytest.fixture
def layers(tmp_path: Path) -> list[str]:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for place in (upper, lower):
        (place / "directory").mkdir(parents=True)
    (lower / "directory/old").write_text("old")
    (lower / "gone").write_text("gone")
    (upper / "directory/new").write_text("new")
    os.mknod(upper / "gone", stat.S_IFCHR, os.makedev(0, 0))
    os.mknod(upper / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return [str(upper), str(lower)]


def old_kernel(_: Overlay) -> int:
    raise OSError(errno.EINVAL, "no lowerdir+ before Linux 6.8")


@pytest.mark.parametrize("old", [False, True], ids=["fsopen", "mount"])
def test_layers_are_merged(layers: list[str], old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old:
        monkeypatch.setattr(Overlay, "detached", old_kernel)
    with open("/proc/self/mountinfo") as file:
        before = file.read()
    with view.merged(layers) as directory:
        assert sorted(os.listdir(directory)) == ["directory", "null"]
        inner = os.open("directory", os.O_RDONLY, dir_fd=directory)
        assert sorted(os.listdir(inner)) == ["new", "old"]
        os.close(inner)
        with open("/proc/self/mountinfo") as file:
            assert file.read() == before
        with pytest.raises(PermissionError):
            os.open("null", os.O_RDONLY, dir_fd=directory)  # nodev
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir("x", dir_fd=directory)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.listdir(directory)


def test_one_directory_alone(layers: list[str]) -> None:
    with view.alone(layers[0]) as directory:
        assert sorted(os.listdir(directory)) == ["directory", "gone", "null"]
        with pytest.raises(PermissionError):
            os.open("null", os.O_RDONLY, dir_fd=directory)


@pytest.mark.parametrize("old", [False, True], ids=["fsopen", "mount"])
def test_what_cannot_be_merged(layers: list[str], old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old:
        monkeypatch.setattr(Overlay, "detached", old_kernel)
    with (
        pytest.raises(errors.NotSupported, match="lies inside of another one"),
        view.merged([layers[0], os.path.dirname(layers[0])]),
    ):
        pass
    with pytest.raises(FileNotFoundError), view.merged([layers[0], "/no/such/directory"]):
        pass
