"""Pages that say what to type and show what comes out, and a shell that checks it.

Only fenced blocks marked ``console`` are run, all of a page in one shell, from top to bottom:

    $ command              a line to type
    > more of it           its continuation
    output                 what must come out, standard output and error together, line by line
    ...                    any number of lines
    <name>                 any word; the same name later on the page must be the same word
    [exit 137]             the exit status, when it is not 0
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

END = "end-of-the-output-of-a-command"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PLACE = re.compile(r"<([a-z][a-z0-9-]*)>")
STATUS = re.compile(r"\[exit (\d+)\]")


@dataclass(frozen=True)
class Step:
    command: str
    expected: tuple[str, ...]
    status: int
    line: int


def steps(page: Path) -> Iterator[Step]:
    text = page.read_text()
    for block in BLOCK.finditer(text):
        first = text[: block.start(1)].count("\n") + 1
        command: list[str] = []
        expected: list[str] = []
        begun = first
        for number, line in enumerate([*block.group(1).splitlines(), "$ "], first):
            if line.startswith("$ "):
                if command:
                    yield _step(command, expected, begun)
                command, expected, begun = [line[2:]], [], number
            elif line.startswith("> ") and not expected:
                command.append(line[2:])
            else:
                expected.append(line)


def _step(command: list[str], expected: list[str], line: int) -> Step:
    status = 0
    if expected and (found := STATUS.fullmatch(expected[-1])):
        status = int(found.group(1))
        expected = expected[:-1]
    return Step("\n".join(command), tuple(expected), status, line)


def matches(expected: tuple[str, ...], found: list[str], words: dict[str, str]) -> bool:
    """Whether the output is what the page shows; fills ``words`` with what the placeholders stand for."""
    pattern = ""
    fresh: list[str] = []
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
            continue
        for position, part in enumerate(PLACE.split(line)):
            if position % 2 == 0:
                pattern += re.escape(part)
            elif part in words:
                pattern += re.escape(words[part])
            elif part in fresh:
                pattern += f"(?P=w_{part.replace('-', '_')})"
            else:
                fresh.append(part)
                pattern += rf"(?P<w_{part.replace('-', '_')}>\S+?)"
        pattern += r"\n"
    match = re.fullmatch(pattern, "".join(line + "\n" for line in found))
    if match is None:
        return False
    words.update({name: match.group(f"w_{name.replace('-', '_')}") for name in fresh})
    return True


def run(page: Path, directory: str, environment: Mapping[str, str]) -> int:
    """Type the whole page into one bash; AssertionError at the first difference. Returns how many."""
    words: dict[str, str] = {}
    done = 0
    with subprocess.Popen(
        ["bash", "--noprofile", "--norc"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        text=True,
        errors="surrogateescape",
    ) as shell:
        for step in steps(page):
            found, status = _type(shell, step.command)
            place = f"{page.name}:{step.line}: $ {step.command}\n"
            shown = "\n".join(found)
            assert status == step.status, f"{place}exit status {status}, not {step.status}\n{shown}"
            assert matches(step.expected, found, words), (
                f"{place}expected:\n" + "\n".join(step.expected) + f"\nfound:\n{shown}\nwords: {words}"
            )
            done += 1
        assert shell.stdin is not None
        shell.stdin.close()
    return done


def _type(shell: subprocess.Popen[str], command: str) -> tuple[list[str], int]:
    assert shell.stdin is not None
    assert shell.stdout is not None
    shell.stdin.write(f"{{ {command}\n}} < /dev/null\nprintf '%s %d\\n' {END} $?\n")
    shell.stdin.flush()
    found: list[str] = []
    for line in shell.stdout:
        before, mark, status = line.rstrip("\n").partition(END + " ")
        if mark:
            if before:
                found.append(before)
            return found, int(status)
        found.append(before)
    raise AssertionError(f"the shell ended in: {command}\n" + "\n".join(found))
