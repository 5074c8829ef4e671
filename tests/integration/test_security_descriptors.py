"""No descriptor of the host crosses execve, and no working directory is outside (CVE-2024-21626)."""

from __future__ import annotations

import os

import pytest

from support.command import Runner

pytestmark = pytest.mark.both_ways

SHOW = "for fd in /proc/self/fd/*; do echo ${fd##*/}; done"
"""The shell expands it and has nothing open for it but the directory, which is closed when echo comes."""


def numbers(text: str) -> set[int]:
    return {int(word) for word in text.split()}


def own(found: set[int]) -> set[int]:
    """Without the one that the shell itself had open on /proc/self/fd: the lowest that was free."""
    return found - {3}


def inherited() -> list[int]:
    """Descriptors that the command gets from its caller: a directory of the host, a file, a socket."""
    opened = [os.open("/", os.O_RDONLY | os.O_DIRECTORY), os.open("/etc/passwd", os.O_RDONLY), *os.pipe()]
    for fd in opened:
        os.set_inheritable(fd, True)
    return opened


@pytest.mark.parametrize("flags", [[], ["--init"], ["--privileged"], ["-i"]], ids=" ".join)
def test_a_container_has_its_streams_and_no_more(mydocker: Runner, image: str, flags: list[str]) -> None:
    opened = inherited()
    try:
        process = mydocker.popen("run", "--rm", *flags, image, "sh", "-c", SHOW, pass_fds=opened)
        out, error = process.communicate(b"", timeout=60)
    finally:
        for fd in opened:
            os.close(fd)
    assert process.returncode == 0, error
    assert own(numbers(out.decode())) == {0, 1, 2}


def test_an_added_process_has_its_streams_and_no_more(mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image)
    opened = inherited()
    try:
        process = mydocker.popen("exec", "-i", container, "sh", "-c", SHOW, pass_fds=opened)
        out, error = process.communicate(b"", timeout=60)
    finally:
        for fd in opened:
            os.close(fd)
    assert process.returncode == 0, error
    assert own(numbers(out.decode())) == {0, 1, 2}


def test_seen_from_the_host(mydocker: Runner, image: str) -> None:
    """What the kernel says that process 1 has open: pipes, /dev/null or its own terminal, nothing else."""
    for flags in ([], ["-t"], ["--init"], ["-i"]):
        container, pid = mydocker.start(image, *flags)
        targets = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert len(targets) == (0 if "--init" in flags else 3), (flags, targets)
        for target in targets:
            assert target.startswith(("pipe:", "socket:", "/dev/null", "/dev/pts/")), (flags, target)
        mydocker("rm", "-f", container)


@pytest.mark.parametrize(
    "path", [*(f"/proc/self/fd/{fd}" for fd in range(3, 16)), "/proc/1/cwd/..", "/proc/1/root"]
)
def test_a_working_directory_through_a_descriptor(mydocker: Runner, image: str, path: str) -> None:
    """``-w /proc/self/fd/7`` was a directory of the host, while runc still had descriptor 7 open.

    Refused, or harmless: a directory that the kernel can name inside of the container.
    """
    script = "pwd -P; readlink /proc/self/cwd; cat ../../../../../etc/os-release"
    result = mydocker("run", "--rm", "-w", path, image, "sh", "-c", script, check=False)
    if result.code == 0:
        first, second, system, *_ = result.out.splitlines()
        assert first == second
        assert system == "ID=busybox"
    else:
        assert result.code in (125, 126, 127)
        assert path in result.err


def test_a_working_directory_through_a_link_in_the_image(mydocker: Runner, image: str) -> None:
    """The same by way of the image: its own symbolic link leads there, for ``run`` and for ``exec``."""
    links = "; ".join(f"ln -s /proc/self/fd/{fd} /link{fd}" for fd in range(3, 16))
    container = mydocker("run", "-d", image, "sh", "-c", f"{links}; echo done; sleep 1000").line
    mydocker.wait_for_log(container, "done")
    for fd in range(3, 16):
        result = mydocker("exec", "-w", f"/link{fd}", container, "readlink", "/proc/self/cwd", check=False)
        if result.code == 0:
            assert result.line.startswith("/")
            assert "unreachable" not in result.line
        else:
            assert f"/link{fd}" in result.err


def test_the_working_directory_of_the_caller_is_not_the_containers(mydocker: Runner, image: str) -> None:
    result = mydocker("run", "--rm", image, "readlink", "/proc/self/cwd", cwd="/usr")
    assert result.line == "/"
