"""The small init as process 1 of a PID namespace, with a shell as its command."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pty
import select
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from mydocker.linux.process import clone3, default_signals, ignored_signals
from mydocker.runtime.reaper import become_init
from support.terminal import is_foreground
from support.waiting import wait_until

pytestmark = pytest.mark.root

CLONE_NEWPID = 0x20000000


libc = ctypes.CDLL(None, use_errno=True)


def drop_capabilities() -> None:
    header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capset(header, none) == 0


class Init:
    """Process 1 with a shell below it, seen from outside."""

    def __init__(self, script: str, terminal: bool = False, powerless: bool = False) -> None:
        self.master, slave = pty.openpty() if terminal else (-1, -1)
        self.reader, writer = os.pipe()
        self.pid, self.pidfd = clone3(CLONE_NEWPID)
        if self.pid == 0:
            try:
                if terminal:
                    os.login_tty(slave)
                else:
                    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
                os.dup2(writer, 1)
                arguments = ["sh", "-c", script]
                if powerless:
                    drop_capabilities()
                become_init(arguments)
                default_signals(ignored_signals())
                os.execv("/bin/sh", arguments)
            finally:
                os._exit(99)
        os.close(writer)
        if terminal:
            os.close(slave)

    def expect(self, text: bytes, fd: int | None = None) -> bytes:
        """Read until ``text`` has come."""
        seen = b""
        until = time.monotonic() + 10
        source = self.reader if fd is None else fd
        while text not in seen:
            if not select.select([source], [], [], max(0, until - time.monotonic()))[0]:
                raise AssertionError(f"{text!r} has not come, only {seen!r}")
            data = os.read(source, 1000)
            if not data:
                raise AssertionError(f"ended before {text!r}: {seen!r}")
            seen += data
        return seen

    def wait(self) -> int:
        assert select.select([self.pidfd], [], [], 10)[0], "it does not end"
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def proc(self, name: str) -> bytes:
        with open(f"/proc/{self.pid}/{name}", "rb") as file:
            return file.read()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for fd in (self.reader, self.pidfd, self.master):
            if fd >= 0:
                os.close(fd)


Start = Callable[..., Init]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Init] = []

    def one(script: str, terminal: bool = False, powerless: bool = False) -> Init:
        started.append(Init(script, terminal, powerless))
        return started[-1]

    yield one
    for init in started:
        init.close()


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_it_ends_with_the_status_of_the_command(start: Start, status: int) -> None:
    assert start(f"exit {status}").wait() == status


def test_death_by_a_signal_is_128_and_the_signal(start: Start) -> None:
    assert start("kill -USR1 $$").wait() == 128 + signal.SIGUSR1


def test_the_command_is_not_process_1_and_process_1_is_ours(start: Start) -> None:
    init = start("echo $$ $PPID; read x < /dev/zero; sleep 60")
    assert init.expect(b"\n") == b"2 1\n"
    assert init.proc("comm") == b"mydocker-init\n"
    assert init.proc("cmdline").rstrip(b"\0").split(b"\0")[0] == b"mydocker-init"
    assert not init.proc("environ").strip(b"\0")
    wait_until(lambda: os.listdir(f"/proc/{init.pid}/fd") == [])


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1", "WINCH", "CONT", "RTMIN+3"])
def test_signals_are_passed_on(start: Start, name: str) -> None:
    init = start(f"trap 'echo got; exit 7' {name}; echo ready; while :; do sleep 0.05; done")
    init.expect(b"ready")
    number = signal.SIGRTMIN + 3 if "RT" in name else signal.Signals[f"SIG{name}"]
    signal.pidfd_send_signal(init.pidfd, number)
    init.expect(b"got")
    assert init.wait() == 7


def test_a_command_without_handlers_can_be_stopped(start: Start) -> None:
    init = start("echo ready; exec sleep 60")
    init.expect(b"ready")
    signal.pidfd_send_signal(init.pidfd, signal.SIGTERM)
    assert init.wait() == 128 + signal.SIGTERM


def test_signals_go_to_the_command_and_not_to_its_children(start: Start) -> None:
    init = start(
        "trap 'echo mine' TERM; sh -c 'trap \"echo stray\" TERM; echo ready; sleep 2; echo over' ; echo end"
    )
    init.expect(b"ready")
    signal.pidfd_send_signal(init.pidfd, signal.SIGTERM)
    assert b"stray" not in init.expect(b"end")


def test_orphans_are_reaped(start: Start) -> None:
    init = start("for i in 1 2 3 4 5 6 7 8; do (sh -c 'exit 3' &) ; done; sleep 0.5; echo ready; sleep 60")
    init.expect(b"ready")
    until = time.monotonic() + 5
    with open(f"/proc/{init.pid}/task/{init.pid}/children") as file:
        while time.monotonic() < until:
            file.seek(0)
            if len(file.read().split()) == 1:
                return
            time.sleep(0.05)
    pytest.fail("there are still zombies")


def test_a_pipe_is_closed_when_the_command_closes_it(start: Start) -> None:
    init = start("exec >/dev/null; sleep 60")
    assert select.select([init.reader], [], [], 10)[0]
    assert os.read(init.reader, 1) == b""


def test_ctrl_c_reaches_the_command_once(start: Start) -> None:
    init = start(
        "trap 'echo int' INT; echo ready; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done; echo end",
        True,
    )
    init.expect(b"ready")
    os.write(init.master, b"\x03")
    assert init.expect(b"end").count(b"int") == 1


def test_job_control_works_on_its_terminal(start: Start) -> None:
    init = start("set -m; sleep 30; echo stopped $?; jobs; kill %1; fg; echo end", True)
    wait_until(lambda: is_foreground("sleep"))
    os.write(init.master, b"\x1a")
    seen = init.expect(b"end")
    assert b"stopped 148" in seen
    assert b"Stopped" in seen


def test_the_end_of_the_terminal_is_passed_on(start: Start) -> None:
    init = start("trap 'echo hup; exit 5' HUP; echo ready; while :; do sleep 0.05; done", True)
    init.expect(b"ready")
    os.close(init.master)
    init.master = -1
    init.expect(b"hup")
    assert init.wait() == 5


def test_it_cannot_be_traced(start: Start) -> None:
    """By one like itself, a process with its user and capabilities: that is what its container is."""
    init = start("echo ready; sleep 60", powerless=True)
    init.expect(b"ready")
    pid = os.fork()
    if pid == 0:
        try:
            drop_capabilities()
            libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: changed capabilities may have cleared it
            try:
                open(f"/proc/{init.pid}/mem", "rb")  # noqa: SIM115
            except PermissionError:
                attached = libc.ptrace(16, init.pid, 0, 0) == 0  # PTRACE_ATTACH
                os._exit(1 if attached else 0)
            os._exit(2)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
