"""The session: namespaces of its own, markers, and the fixtures that every test may ask for."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

from support import command, isolation, leaks, probe, rootfs

# Before anything is collected, so that even an import cannot touch the host's mounts. See support.isolation.
if isolation.refusal() is None and not isolation.entered():
    isolation.enter()


def pytest_report_header() -> str:
    refusal = isolation.refusal()
    own = "mount, PID, network, IPC and cgroup, of the session's own"
    return f"namespaces: {f'the caller, {refusal}' if refusal else own}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with the reason what needs root; all of integration/ and peers/ does."""
    refusal = probe.missing_root()
    for item in items:
        place = item.path.parts
        if {"integration", "peers", "systemd"} & {*place}:
            item.add_marker("root")
        if "peers" in place:
            item.add_marker("peer")
        if refusal and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason=refusal))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("both_ways"):
        metafunc.parametrize("forkserver", ["forkserver", "cold"], indirect=True)


@pytest.fixture
def forkserver(request: pytest.FixtureRequest) -> str:
    """The value of MYDOCKER_FORKSERVER that commands get; ``both_ways`` sets it."""
    way: str = getattr(request, "param", "")
    return {"forkserver": "1", "cold": "0"}.get(way, os.environ.get("MYDOCKER_FORKSERVER", "1"))


@pytest.fixture(scope="session")
def short_directory() -> Iterator[str]:
    """A directory with a short name, on a real file system: socket names end at 107 bytes (man 7 unix)."""
    directory = tempfile.mkdtemp(prefix="mdt-")
    os.chmod(directory, 0o711)  # the root of a user namespace is nobody here, and has to get through
    yield directory
    leaks.unmount_below(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def pristine_rootfs(short_directory: str) -> str:
    """A directory with a busybox system that nothing is ever run on."""
    return rootfs.build(os.path.join(short_directory, "busybox"))


@pytest.fixture(scope="module")
def busybox_rootfs(short_directory: str, pristine_rootfs: str) -> Iterator[str]:
    """A copy for each module: a bundle that runs on it may leave mount points and device nodes in it."""
    directory = tempfile.mkdtemp(prefix="rootfs-", dir=short_directory)
    copy = os.path.join(directory, "busybox")
    shutil.copytree(pristine_rootfs, copy, symlinks=True)
    os.chown(os.path.join(copy, "home/alice"), 1000, 1000)
    yield copy
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def busybox_tar(short_directory: str, pristine_rootfs: str) -> str:
    """The same as a tar archive, for ``mydocker import``."""
    return rootfs.pack(pristine_rootfs, os.path.join(short_directory, "busybox.tar"))


@pytest.fixture(scope="session")
def session_runner(short_directory: str) -> Iterator[command.Runner]:
    """The command with the one pair of directories that the session shares, so that an image loads once."""
    runner = command.Runner(
        command.installed("mydocker"),
        os.path.join(short_directory, "root"),
        os.path.join(short_directory, "run"),
    )
    yield runner
    runner.leave()
    stop_forkservers()


@pytest.fixture
def mydocker(session_runner: command.Runner, forkserver: str) -> Iterator[command.Runner]:
    """``mydocker("run", "--rm", image, "true")``; containers that a test leaves are removed after it."""
    runner = command.Runner(
        session_runner.program, session_runner.root, session_runner.state, {"MYDOCKER_FORKSERVER": forkserver}
    )
    yield runner
    runner.remove_all()


@pytest.fixture
def fresh(forkserver: str) -> Iterator[command.Runner]:
    """The command with empty directories of its own, for tests that count what is in them."""
    directory = tempfile.mkdtemp(prefix="mdf-")
    runner = command.Runner(
        command.installed("mydocker"),
        os.path.join(directory, "root"),
        os.path.join(directory, "run"),
        {"MYDOCKER_FORKSERVER": forkserver},
    )
    yield runner
    runner.leave()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def image(session_runner: command.Runner, busybox_tar: str) -> str:
    """Reference of an imported busybox image."""
    session_runner("import", busybox_tar, "busybox:test")
    return "busybox:test"


def stop_forkservers() -> None:
    """A forkserver may be killed at any time; the last test is over, so this is the time."""
    for pid in leaks.forkservers():
        with contextlib.suppress(ProcessLookupError):  # a spare worker leaves when its server does
            os.kill(pid, 9)
