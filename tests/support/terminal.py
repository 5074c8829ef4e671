"""A person's terminal: a pseudo-terminal with a shell on it, from which commands are run and looked at."""

from __future__ import annotations

import os
import re
import shlex
import termios
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect

from support import leaks
from support.command import Runner

OUTSIDE = "OUTSIDE> "
INSIDE = "INSIDE> "
TIMEOUT = 30
DETACH = "\x10\x11"


class Terminal:
    """``type`` sends a line, ``see`` waits for text; the window has ``rows`` and ``columns``."""

    def __init__(self, runner: Runner, rows: int, columns: int) -> None:
        self._runner = runner
        self.child = pexpect.spawn(
            "/bin/sh",
            ["-i"],
            dimensions=(rows, columns),
            timeout=TIMEOUT,
            encoding="utf-8",
            codec_errors="replace",
            env={**runner.env(), "PS1": OUTSIDE, "TERM": "xterm"},
        )
        self.see(OUTSIDE)

    def type(self, text: str) -> None:
        self.child.send(text + "\r")

    def press(self, keys: str) -> None:
        self.child.send(keys)

    def see(self, text: str) -> str:
        """Wait for ``text``; return what came before it."""
        self.child.expect_exact(text)
        before = self.child.before
        assert isinstance(before, str)
        return before

    def see_match(self, pattern: str) -> re.Match[str]:
        self.child.expect(pattern)
        match = self.child.match
        assert isinstance(match, re.Match)
        return match

    def run(self, *arguments: str) -> None:
        """Type a command of ours at the shell; come back at once."""
        self.type(shlex.join(self._runner.argv(*arguments)))

    def ask(self, command: str, prompt: str = OUTSIDE) -> str:
        """Type a shell command and return the lines that it wrote."""
        self.type(f"{command}; echo e''nd")
        answer = self.see("end\r\n")
        self.see(prompt)
        return answer.partition("e''nd\r\n")[2].strip()

    def inside(self, *arguments: str) -> None:
        """Type a command of ours that starts a shell in a container, and wait for its prompt."""
        self.run(*arguments)
        self.see_match(r"(?<!PS1=)" + INSIDE)  # not in the echo of what was typed

    def outside(self) -> None:
        self.see(OUTSIDE)

    def status(self) -> int:
        """Exit status of the last command."""
        return int(self.ask("echo $?"))

    def modes(self) -> str:
        """Every setting of the terminal, as stty(1) saves them."""
        return self.ask("stty -g")

    def is_raw(self) -> bool:
        """Whether what is typed arrives as it is: bytes and not lines."""
        local_modes: int = termios.tcgetattr(self.child.child_fd)[3]
        return not local_modes & termios.ICANON

    def resize(self, rows: int, columns: int) -> None:
        self.child.setwinsize(rows, columns)


@contextmanager
def opened(runner: Runner, rows: int = 31, columns: int = 87) -> Iterator[Terminal]:
    terminal = Terminal(runner, rows, columns)
    try:
        yield terminal
    finally:
        terminal.child.close(force=True)


def is_foreground(command: str) -> bool:
    """Whether a process of this name is in the foreground of its terminal: keys are for it."""
    for pid in leaks.pids():
        try:
            with open(f"/proc/{pid}/stat") as file:
                name, _, rest = file.read().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, _, group, _, _, foreground = rest.split()[:6]
        if name == command and state in "RS" and group == foreground:
            return True
    return False


def clients(*words: str) -> list[int]:
    """PIDs of processes with all of these words among their arguments, oldest first."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                arguments = file.read().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if all(word in arguments for word in words):
            found.append(int(name))
    return sorted(found)
