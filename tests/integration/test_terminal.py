"""A real terminal: what a person types, sees and is left with."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from support import leaks, probe, terminal
from support.command import Runner
from support.terminal import DETACH, INSIDE, OUTSIDE, Terminal, is_foreground
from support.waiting import wait_until

pytestmark = [
    pytest.mark.both_ways,
    pytest.mark.skipif(probe.program("stty") is None, reason="needs stty"),
]

RUN = ("run", "-it", "-e", f"PS1={INSIDE}")


@pytest.fixture
def screen(mydocker: Runner) -> Iterator[Terminal]:
    mydocker("version")  # so that a forkserver is there, or starting
    with terminal.opened(mydocker) as opened:
        yield opened


def test_window_size(screen: Terminal, image: str) -> None:
    screen.inside(*RUN, "--rm", image, "sh")
    assert screen.ask("stty size", INSIDE) == "31 87"
    screen.resize(45, 111)
    wait_until(lambda: screen.ask("stty size", INSIDE) == "45 111", "SIGWINCH")
    screen.type("exit 3")
    screen.outside()
    assert screen.status() == 3


def test_a_size_known_before_the_first_instruction(screen: Terminal, image: str) -> None:
    screen.run("run", "-it", "--rm", image, "stty", "size")
    screen.see("31 87")


def test_it_is_a_controlling_terminal(screen: Terminal, image: str) -> None:
    screen.inside(*RUN, "--rm", image, "sh")
    assert screen.ask("tty", INSIDE) == "/dev/pts/0"
    assert screen.ask("sh -c 'echo through > /dev/tty'", INSIDE) == "through"
    assert screen.ask("test -c /dev/console && echo yes", INSIDE) == "yes"


def test_interrupt_reaches_the_foreground_only(screen: Terminal, image: str) -> None:
    screen.inside(*RUN, "--rm", image, "sh")
    screen.type("sleep 1000")
    screen.see("sleep 1000\r\n")
    wait_until(lambda: is_foreground("sleep"))
    screen.press("\x03")
    screen.see(INSIDE)
    assert screen.ask("echo $?", INSIDE) == "130"


def test_job_control(screen: Terminal, image: str) -> None:
    screen.inside(*RUN, "--rm", image, "sh")
    screen.type("sleep 1000")
    screen.see("sleep 1000\r\n")
    wait_until(lambda: is_foreground("sleep"))
    screen.press("\x1a")
    screen.see("Stopped")
    screen.see(INSIDE)
    assert "Stopped" in screen.ask("jobs", INSIDE)
    screen.type("bg")
    screen.see(INSIDE)
    assert "Running" in screen.ask("jobs", INSIDE)
    screen.type("fg")
    screen.see("sleep 1000\r\n")
    wait_until(lambda: is_foreground("sleep"))
    screen.press("\x03")
    screen.see(INSIDE)


def test_end_of_file(screen: Terminal, image: str) -> None:
    screen.inside(*RUN, "--rm", image, "sh")
    screen.press("\x04")
    screen.outside()
    assert screen.status() == 0


def test_vi(screen: Terminal, image: str) -> None:
    screen.inside(*RUN, "--name", "term-vi", image, "sh")
    screen.type("vi /note")
    screen.see("/note")
    screen.press("iwritten by hand")
    screen.see("written by hand")
    screen.press("\x1b")
    time.sleep(0.3)  # or it is the beginning of an arrow key
    screen.press(":wq\r")
    screen.see(INSIDE)
    assert screen.ask("cat /note", INSIDE) == "written by hand"


def test_top(screen: Terminal, image: str) -> None:
    screen.inside(*RUN, "--rm", image, "sh")
    screen.type("top")
    screen.see_match(r"PID.*COMMAND")
    screen.see("top")
    screen.press("q")
    screen.see(INSIDE)


def test_stty_inside_is_not_stty_outside(screen: Terminal, image: str) -> None:
    before = screen.modes()
    screen.inside(*RUN, "--rm", image, "sh")
    screen.ask("stty -echo; stty intr ^A", INSIDE)
    screen.type("exit")
    screen.outside()
    assert screen.modes() == before


# The terminal is given back


def _exit(screen: Terminal, _: Runner) -> None:
    screen.type("exit 0")


def _detach(screen: Terminal, _: Runner) -> None:
    screen.press(DETACH)


def _kill_container(_: Terminal, mydocker: Runner) -> None:
    mydocker("kill", "term-modes")


def _kill_client(screen: Terminal, mydocker: Runner) -> None:
    # The oldest: monitor and guard are forked from it when there is no forkserver, and are called the same.
    os.kill(terminal.clients("run", "term-modes", mydocker.root)[0], signal.SIGKILL)
    _wait_for_the_guard(screen)


def _wait_for_the_guard(screen: Terminal) -> None:
    """A carriage return that is typed before it has been there stays one."""
    wait_until(lambda: not screen.is_raw(), "the guard")


@pytest.mark.parametrize("leave", [_exit, _detach, _kill_container, _kill_client])
def test_modes_are_restored(screen: Terminal, mydocker: Runner, image: str, leave: object) -> None:
    assert callable(leave)
    before = screen.modes()
    screen.inside(*RUN, "--name", "term-modes", image, "sh")
    leave(screen, mydocker)
    screen.outside()
    assert screen.modes() == before


def test_modes_are_restored_after_sigkill_of_every_client(
    screen: Terminal, mydocker: Runner, image: str
) -> None:
    """Worker and launcher at once: only the guard is left to do it."""
    container, _ = mydocker.start(image, "-it", command=("sh",))
    before = screen.modes()
    screen.run("attach", container)
    screen.see("/ # ")
    wait_until(
        lambda: {0} in _streams_on(screen).values(), "the guard, which has the terminal as its input only"
    )
    holder = max(pid for pid, streams in _streams_on(screen).items() if streams == {0, 1})
    for pid in {terminal.clients("attach", container)[0], holder}:
        os.kill(pid, signal.SIGKILL)
    screen.see(OUTSIDE)
    _wait_for_the_guard(screen)
    assert screen.modes() == before
    assert mydocker.inspect(container)["State"]["Running"]


def _streams_on(screen: Terminal) -> dict[int, set[int]]:
    """Whose input and output, 0 and 1, the terminal is, apart from the shell's."""
    name = os.readlink(f"/proc/{screen.child.pid}/fd/0")
    found: dict[int, set[int]] = {}
    for pid in leaks.pids():
        for number in (0, 1):
            with suppress(OSError):
                if pid != screen.child.pid and os.readlink(f"/proc/{pid}/fd/{number}") == name:
                    found.setdefault(pid, set()).add(number)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_exec_with_the_terminal_restored(
    screen: Terminal, mydocker: Runner, image: str, number: signal.Signals
) -> None:
    container, _ = mydocker.start(image)
    before = screen.modes()
    screen.inside("exec", "-it", "-e", f"PS1={INSIDE}", container, "sh")
    os.kill(terminal.clients("exec", container)[0], number)
    screen.outside()
    assert screen.status() == 128 + number
    assert screen.modes() == before


def test_failure_to_start_leaves_the_terminal_alone(screen: Terminal, image: str) -> None:
    before = screen.modes()
    screen.run("run", "-it", "--rm", image, "no-such-command")
    screen.see("no-such-command")
    screen.outside()
    assert screen.status() == 127
    assert screen.modes() == before


def test_suspended_from_outside(screen: Terminal, image: str) -> None:
    before = screen.modes()
    screen.inside(*RUN, "--rm", "--name", "term-stop", image, "sh")
    os.kill(terminal.clients("run", "term-stop")[0], signal.SIGTSTP)
    screen.outside()
    assert screen.modes() == before
    screen.resize(44, 101)
    screen.type("fg")
    wait_until(screen.is_raw)
    wait_until(lambda: screen.ask("stty size", INSIDE) == "44 101", "SIGWINCH")


# Detach and attach


def test_detach_and_attach(screen: Terminal, mydocker: Runner, image: str) -> None:
    screen.inside(*RUN, "--name", "term-back", image, "sh")
    screen.ask("kept=here", INSIDE)
    screen.press("\x10")
    time.sleep(0.3)
    screen.press("\x11")
    screen.outside()
    assert screen.status() == 0
    assert mydocker.inspect("term-back")["State"]["Running"]
    screen.run("attach", "term-back")
    screen.see(INSIDE)
    assert "here" in screen.ask("echo $kept", INSIDE)
    screen.type("exit 9")
    screen.outside()
    assert screen.status() == 9


def test_half_of_the_detach_keys_is_input(screen: Terminal, image: str) -> None:
    screen.inside(*RUN, "--rm", image, "sh")
    screen.type("cat -v")
    screen.see("cat -v\r\n")
    wait_until(lambda: is_foreground("cat"))
    screen.press("\x10x\x16\x10y\r")
    screen.see("^Px^Py\r\n")


def test_detach_keys_of_ones_own(screen: Terminal, mydocker: Runner, image: str) -> None:
    screen.inside(*RUN, "--rm", "--detach-keys", "ctrl-e,z", "--name", "term-keys", image, "sh")
    screen.press(DETACH)
    assert screen.ask("echo still inside", INSIDE).endswith("still inside")
    screen.press("\x05z")
    screen.outside()
    assert mydocker.inspect("term-keys")["State"]["Running"]


def test_detach_from_exec(screen: Terminal, mydocker: Runner, image: str) -> None:
    container, _ = mydocker.start(image)
    screen.inside("exec", "-it", "-e", f"PS1={INSIDE}", container, "sh")
    screen.press(DETACH)
    screen.see("read escape sequence")
    screen.outside()
    assert screen.status() == 1


def test_attach_draws_the_screen_again(screen: Terminal, mydocker: Runner, image: str) -> None:
    """A program that waits for nothing but a change of size has to hear of one."""
    script = "trap 'echo drawn $(stty size)' WINCH; echo ready; while :; do sleep 0.05; done"
    mydocker("run", "-dit", "--name", "term-redraw", image, "sh", "-c", script)
    mydocker.wait_for_log("term-redraw", "ready\r\n")
    screen.run("attach", "term-redraw")
    screen.see("drawn 31 87")


def test_two_on_one_terminal(screen: Terminal, mydocker: Runner, image: str) -> None:
    screen.inside(*RUN, "--rm", "--name", "term-both", image, "sh")
    with terminal.opened(mydocker) as other:
        other.run("attach", "term-both")
        other.see(INSIDE)
        screen.type("echo typed in one")
        other.see("typed in one\r\n")
        other.press(DETACH)
        other.outside()
    screen.see(INSIDE)


# Without a terminal


def test_refused_without_a_terminal(mydocker: Runner, image: str) -> None:
    for command in (("run", "-it", "--rm", image), ("exec", "-it", "x", "sh")):
        refused = mydocker(*command, check=False, stdin=b"")
        assert refused.code != 0
        if command[0] == "run":
            assert "the input device is not a TTY" in refused.err
    assert mydocker.containers() == []


def test_terminal_without_input(mydocker: Runner, image: str) -> None:
    """``-t`` alone in a pipeline is allowed, and makes the ends of lines a terminal's."""
    assert mydocker("run", "-t", "--rm", image, "echo", "line").stdout == b"line\r\n"


def test_colours_of_explain_only_on_a_terminal(screen: Terminal, mydocker: Runner, image: str) -> None:
    screen.run("run", "--rm", "--explain", image, "true")
    screen.see("\x1b[1m")
    screen.outside()
    assert "\x1b" not in mydocker("run", "--rm", "--explain", image, "true").err
