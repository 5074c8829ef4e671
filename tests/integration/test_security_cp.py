"""``cp`` and a container that tries to lead it astray (CVE-2018-15664, CVE-2019-14271).

Whatever the container makes of its paths, and however fast it changes them, a copy stays inside of it:
nothing of the host is read, and nothing outside of the container is written.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import archives
from support.archives import Member, symlink
from support.command import Runner

SECRET = "a secret of the host"


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory of the host whose path leads nowhere in the container."""
    with tempfile.TemporaryDirectory(prefix="md-outside-", dir="/") as place:
        Path(place, "secret").write_text(SECRET)
        yield Path(place)


def start(runner: Runner, image: str, script: str) -> str:
    container, _ = runner.start(image, command=("sh", "-c", f"{script}; echo ready; sleep 1000"))
    runner.wait_for_log(container, "ready")
    return container


@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.parametrize(
    "target", ["{}", "../../../../../..{}", "/proc/1/root{}", "/proc/self/root{}", "/proc/self/cwd/..{}"]
)
def test_links_of_the_container_end_in_it(
    mydocker: Runner, image: str, outside: Path, tmp_path: Path, state: str, target: str
) -> None:
    link = target.format(outside)
    container = start(mydocker, image, f"ln -s {link} /dir; ln -s {link}/secret /file")
    if state == "stopped":
        mydocker("kill", container)
        mydocker("wait", container)
    for path, follow in (("/dir/secret", ()), ("/file", ("-L",)), ("/dir/", ()), ("/dir/.", ())):
        result = mydocker("cp", *follow, f"{container}:{path}", str(tmp_path / "got"), check=False)
        assert result.code == 1
        assert not (tmp_path / "got").exists()
    (tmp_path / "mine").write_text("mine")
    for path in ("/dir", "/dir/", "/dir/new", "/file"):
        mydocker("cp", str(tmp_path / "mine"), f"{container}:{path}", check=False)
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_text() == SECRET


def test_a_link_that_is_exchanged_again_and_again(mydocker: Runner, image: str, outside: Path) -> None:
    """The attack of CVE-2018-15664: a directory that is, at some instants, a link to the root."""
    inside = f"/swap{outside}"
    script = (
        f"mkdir -p {inside} /other; cd /other; echo inside > {inside}/secret; ln -s / link; "
        "while :; do mv /swap dir; mv link /swap; mv /swap link; mv dir /swap; done & :"
    )
    container = start(mydocker, image, script)
    archive = archives.layer([Member("planted", b"planted")])
    seen = set()
    for _ in range(40):
        result = mydocker("cp", f"{container}:{inside}/secret", "-", check=False)
        if result.code == 0:
            with tarfile.open(fileobj=io.BytesIO(result.stdout)) as tar:
                file = tar.extractfile("secret")
                assert file is not None
                seen.add(file.read())
        mydocker("cp", "-", f"{container}:{inside}", stdin=archive, check=False)
    assert seen == {b"inside\n"}
    assert os.listdir(outside) == ["secret"]


def test_an_archive_cannot_lead_out_either(mydocker: Runner, image: str, outside: Path) -> None:
    container = start(mydocker, image, ":")
    for members in (
        [symlink("l", str(outside)), Member("l/planted", b"x")],
        [symlink("l", "/proc/1/root"), Member(f"l{outside}/planted", b"x")],
        [Member(f"../../../../..{outside}/planted", b"x")],
    ):
        mydocker("cp", "-", f"{container}:/tmp", stdin=archives.layer(members), check=False)
    assert os.listdir(outside) == ["secret"]


def test_a_container_cannot_write_beside_the_destination(
    mydocker: Runner, image: str, outside: Path, tmp_path: Path
) -> None:
    """What comes out of a container stays in the directory that it was copied to."""
    container = start(mydocker, image, f"mkdir /d; ln -s {outside} /d/link")
    target = tmp_path / "target"
    (target / "d").mkdir(parents=True)
    mydocker("cp", f"{container}:/d", str(target))
    mydocker("exec", container, "sh", "-c", "rm /d/link; mkdir /d/link; echo x > /d/link/planted")
    refused = mydocker("cp", f"{container}:/d", str(target), check=1)
    assert "cannot overwrite non-directory" in refused.err
    assert os.listdir(outside) == ["secret"]
