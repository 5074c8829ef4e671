"""What must not end a monitor, and its container with it: long commands, many restarts, processes that are
traced, output without end, connections that say nothing."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mydocker.monitor import client
from mydocker.monitor.protocol import Kind
from support import hosts, killing, probe
from support.command import Runner
from support.waiting import wait_until

_PTRACE_SEIZE = 0x4206
_LONG = "x" * 30_000


def goes_on(mydocker: Runner, container: str) -> None:
    """Its monitor answers, and so does the container."""
    assert mydocker("exec", container, "echo", "here").line == "here"
    assert mydocker.inspect(container)["State"]["Running"]


def test_commands_as_long_as_a_request_may_be(mydocker: Runner, image: str) -> None:
    """Each is told of by its builder, remembered by the monitor, and listed by it."""
    container, _ = mydocker.start(image)
    for _ in range(8):
        assert mydocker("exec", container, "sh", "-c", "echo $#", "sh", _LONG, _LONG, _LONG).line == "3"
    running = mydocker.popen(
        "exec", container, "sh", "-c", "echo; sleep 1000", _LONG, stdin=subprocess.DEVNULL
    )
    assert running.stdout is not None
    running.stdout.readline()
    (identifier,) = mydocker.inspect(container)["ExecIDs"]
    assert len(identifier) == 64
    refused = mydocker("exec", container, "echo", *[_LONG] * 4, check=False)
    assert "the request is too long" in refused.err
    goes_on(mydocker, container)
    mydocker("rm", "-f", container)
    running.communicate(timeout=20)


def test_a_health_check_that_is_long(mydocker: Runner, image: str) -> None:
    flags = ("--health-cmd", f": {_LONG}{_LONG}", "--health-interval", "100ms")
    container, _ = mydocker.start(image, *flags)
    wait_until(lambda: mydocker.inspect(container)["State"]["Health"]["Status"] == "healthy")


def test_a_restart_leaves_no_descriptor(mydocker: Runner, image: str) -> None:
    container, pid = mydocker.start(image, "--restart", "always")
    monitor = killing.parent(pid)

    def descriptors() -> set[str]:
        return set(os.listdir(f"/proc/{monitor}/fd"))

    seen = []
    for count in range(1, 6):
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: mydocker.inspect(container)["RestartCount"] == count)  # noqa: B023
        wait_until(lambda: mydocker.inspect(container)["State"]["Status"] == "running")
        pid = mydocker.inspect(container)["State"]["Pid"]
        wait_until(lambda: killing.children(monitor) == [pid], "the end of the builder")  # noqa: B023
        seen.append(descriptors())
    # what was open each time, and not for a moment of one
    wait_until(lambda: descriptors() == set.intersection(*seen[1:]), "nothing to be open that was not")
    mydocker("rm", "-f", container)


def test_a_process_that_is_traced(mydocker: Runner, image: str) -> None:
    """When it has ended, nobody but the tracer can wait for it, until that has or lets go."""
    container, _ = mydocker.start(image)
    command = ("exec", container, "sh", "-c", "echo; read line; exit 3")
    attached = mydocker.popen(*command[:1], "-i", *command[1:], stdin=subprocess.PIPE)
    assert attached.stdout is not None
    assert attached.stdin is not None
    attached.stdout.readline()
    ids = mydocker("top", container, "-eo", "pid,comm").out.splitlines()[1:]
    traced = int(next(line.split()[0] for line in ids if line.split()[1] == "sh"))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(_PTRACE_SEIZE, traced, 0, 0) == 0, os.strerror(ctypes.get_errno())
    attached.stdin.write(b"\n")
    attached.stdin.flush()
    wait_until(lambda: "\nState:\tZ" in Path(f"/proc/{traced}/status").read_text())
    goes_on(mydocker, container)
    assert attached.poll() is None, "its exit code is not known yet"
    os.waitpid(traced, 0)
    assert attached.wait(20) == 3
    attached.communicate()


def test_an_init_that_is_traced(mydocker: Runner, image: str) -> None:
    """The same of the container's first process: nobody waits for its monitor meanwhile."""
    container, pid = mydocker.start(image)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(_PTRACE_SEIZE, pid, 0, 0) == 0, os.strerror(ctypes.get_errno())
    attached = mydocker.popen("attach", container, stdin=subprocess.DEVNULL)
    mydocker("kill", container)
    wait_until(lambda: "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text())
    mydocker.inspect(container)
    assert mydocker("exec", container, "true", check=1).err
    os.waitpid(pid, 0)
    assert attached.wait(20) == 137
    attached.communicate()
    assert mydocker("wait", container).line == "137"


def test_many_at_once(mydocker: Runner, image: str) -> None:
    """A monitor has as many descriptors as it may; what it starts keeps to what there was."""
    container, pid = mydocker.start(image)
    limits = Path(f"/proc/{pid}/limits").read_text()
    mydocker("exec", container, "true")
    monitor = killing.parent(pid)
    soft, hard = open_files(monitor)
    assert soft == hard
    added = mydocker("exec", container, "cat", "/proc/self/limits").out
    assert open_files(pid) == open_files_in(added) == open_files_in(limits)


def open_files(pid: int) -> tuple[str, str]:
    return open_files_in(Path(f"/proc/{pid}/limits").read_text())


def open_files_in(limits: str) -> tuple[str, str]:
    words = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()
    return words[3], words[4]


def test_output_of_others_goes_on(mydocker: Runner, image: str) -> None:
    """A process has ended, and its children write on and on: what is taken of that comes to an end."""
    container, _ = mydocker.start(image)
    attached = mydocker.popen(
        "exec", container, "sh", "-c", "yes & yes & yes & exit 3", stdin=subprocess.DEVNULL
    )
    attached.communicate(timeout=60)
    assert attached.returncode == 3
    goes_on(mydocker, container)


@pytest.mark.skipif(probe.program("nsenter") is None, reason="needs nsenter")
def test_messages_without_end_by_tcp(mydocker: Runner, image: str) -> None:
    """Nothing that a resolver is told keeps its container's monitor from the rest."""
    script = """
import socket, sys
for data in (bytes(65536), (b"\\0\\x11" + bytes(5) + b"\\1" + bytes(6) + b"\\0\\0\\1\\0\\1") * 3000):
    client = socket.create_connection(("127.0.0.11", 53), timeout=20)
    try:
        client.sendall(data)
        while client.recv(65536):
            pass
    except (ConnectionError, TimeoutError) as error:
        if isinstance(error, TimeoutError):
            raise
print("hung up")
"""
    with mydocker.network("named") as net:
        container, pid = mydocker.start(image, "--network", net)
        argv = hosts.Host(pid).argv(sys.executable, "-c", script)
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as told:
            goes_on(mydocker, container)
            assert told.communicate(timeout=60)[0] == b"hung up\n"
        goes_on(mydocker, container)


def test_a_size_that_is_none(mydocker: Runner, image: str) -> None:
    container = mydocker("run", "-dt", image, "sleep", "1000").line
    request = bytes((Kind.CONTROL,)) + json.dumps({"rows": 70_000, "columns": 80}).encode()
    with client.connect(f"{mydocker.state}/container/{container}") as connection:
        connection.send(request)
        assert connection.recv(1000)[0] == Kind.ERROR
    goes_on(mydocker, container)
