"""The engine's own program, reached from a container by /proc/<pid>/exe, cannot be changed (CVE-2019-5736).

Opening it for writing fails anyway while somebody executes it (ETXTBSY), which here is always; so it is
opened for reading, and its mode changed through that descriptor. That asks the mount alone.
"""

from __future__ import annotations

import os
import sys

import pytest

from support.command import Runner

PYTHON = os.path.realpath(sys.executable)
EROFS = 30

pytestmark = [
    pytest.mark.both_ways,
    pytest.mark.skipif(
        os.stat(PYTHON).st_dev != os.stat("/").st_dev,
        reason="the interpreter is on another file system than /, which --rootfs / does not show",
    ),
]

CHANGE = """
import os, sys
def change(path):
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        return f"open {error.errno}"
    try:
        os.fchmod(fd, os.fstat(fd).st_mode & 0o7777)
        return f"CHANGED {os.fstat(fd).st_dev}:{os.fstat(fd).st_ino}"
    except OSError as error:
        return f"fchmod {error.errno}"
    finally:
        os.close(fd)
"""


def own_program() -> str:
    """As ``change`` would tell of it, if it could change it."""
    status = os.stat(PYTHON)
    return f"{status.st_dev}:{status.st_ino}"


def script(path: str) -> str:
    return f"{CHANGE}print(change({path!r}))"


@pytest.mark.parametrize("flags", [[], ["--privileged"], ["--cap-add", "ALL"]], ids=" ".join)
def test_the_program_that_executes_itself(mydocker: Runner, flags: list[str]) -> None:
    """A command of /proc/self/exe executes the engine's interpreter, inside: the attack as published."""
    arguments = ["/proc/self/exe", "-I", "-S", "-c", script("/proc/self/exe")]
    run = mydocker("run", "--rm", "--rootfs", "/", *flags, *arguments, check=False)
    assert run.line == f"fchmod {EROFS}", run
    container = mydocker("run", "-d", *flags, "--rootfs", "/", "sleep", "1000").line
    execed = mydocker("exec", container, *arguments, check=False)
    assert execed.line == f"fchmod {EROFS}", execed


def test_it_is_the_engines_program_that_was_tried(mydocker: Runner) -> None:
    """The control: the file behind it is the host's interpreter."""
    text = "import os; s = os.stat('/proc/self/exe'); print(f'{s.st_dev}:{s.st_ino}')"
    line = mydocker("run", "--rm", "--rootfs", "/", "/proc/self/exe", "-I", "-S", "-c", text).line
    assert line == own_program()


@pytest.mark.parametrize("flags", [[], ["--cap-add", "SYS_PTRACE"], ["--privileged"]], ids=" ".join)
def test_the_small_init(mydocker: Runner, flags: list[str]) -> None:
    """Process 1 of ``--init`` is the interpreter for as long as the container runs."""
    command = [PYTHON, "-I", "-S", "-c", script("/proc/1/exe")]
    found = mydocker("run", "--rm", "--init", "--rootfs", "/", *flags, *command).line
    assert found == (f"fchmod {EROFS}" if flags else "open 13")


def test_the_memory_of_the_small_init_is_closed(mydocker: Runner) -> None:
    """Without CAP_SYS_PTRACE; there is an interpreter's memory in it, with what that has seen."""
    text = (
        f"{CHANGE}\nfor name in ('mem', 'environ', 'maps', 'cwd', 'root', 'exe', 'auxv'):\n"
        " try:\n"
        "  fd = os.open(f'/proc/1/{name}', os.O_RDONLY)\n"
        "  print(name, 'OPENED', os.read(fd, 64) if name not in ('cwd', 'root') else '')\n"
        " except OSError as error: print(name, error.errno)\n"
    )
    out = mydocker("run", "--rm", "--init", "--rootfs", "/", PYTHON, "-I", "-S", "-c", text).out
    assert "OPENED" not in out


def test_an_added_process_on_its_way(mydocker: Runner) -> None:
    """A privileged container looks at every process that comes by; each is the engine's until it executes."""
    watch = f"""{CHANGE}
import time
seen, end = {{}}, time.monotonic() + 20
print("ready", flush=True)
while time.monotonic() < end and not os.path.exists("/stop"):
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid() and pid != "1":
            answer = change(f"/proc/{{pid}}/exe")
            seen[answer] = seen.get(answer, 0) + 1
print(seen)
"""
    command = ["sh", "-c", '"$0" -I -S -c "$1"; sleep 1000', PYTHON, watch]
    container = mydocker("run", "-d", "--privileged", "--rootfs", "/", *command).line
    mydocker.wait_for_log(container, "ready")
    for _ in range(30):
        mydocker("exec", container, "/bin/true")
    mydocker("exec", container, "touch", "/stop")
    mydocker.wait_for_log(container, "}", patience=30)
    seen = mydocker("logs", container).out
    assert f"'CHANGED {own_program()}'" not in seen
    assert f"'fchmod {EROFS}'" in seen, "none was met, so nothing was tried"
