"""Our commands beside docker's, flag by flag: what the docker client's own --help lists, and
whether we take it. As a program it writes docs/compatibility.md (``make compatibility``).

A flag that is understood and refused says why when it is given; that text goes into the table.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mydocker import errors
from mydocker.cli import table
from mydocker.cli.command import Command
from mydocker.cli.flags.pflag import Flag

Help = Callable[[tuple[str, ...]], str]
"""docker's help for the words of a command"""

GROUPS = ("container", "image", "manifest")
OTHER_COMMANDS = (
    ("events",), ("info",), ("inspect",), ("login",), ("logout",), ("search",), ("version",),
    ("system", "df"), ("system", "events"),
    ("system", "info"), ("system", "prune"), ("network", "connect"), ("network", "create"),
    ("network", "disconnect"), ("network", "inspect"), ("network", "ls"), ("network", "prune"),
    ("network", "rm"), ("volume", "create"), ("volume", "inspect"), ("volume", "ls"), ("volume", "prune"),
    ("volume", "rm"),
)  # fmt: skip
"""those that are not in docker's groups of ``GROUPS``"""

DIFFERENT = """
- Messages begin with `mydocker:` where docker says `Error response from daemon:`; the rest is Docker's.
- `cp -a` out of a container gives the local files their owners in the container, as docker's documentation
  says; docker itself leaves them to the caller.
- `cp` sees a container's tmpfs mounts while it runs, docker does not.
- `stats` without a terminal prints tables one after the other, without escape sequences.
- With a restart policy, `wait`, `attach`, `logs -f` and a `run` that is attached go on until the container
  has ended for good; docker's return at each exit.
- `wait --condition not-running|next-exit|removed` is docker's API, and ours alone on the command line.
- `port add` and `port rm` change the ports of a container, also while it runs; `run --egress` and
  `--network-opt` limit what it may do in its networks.
- `volume rename`, `clone`, `export` and `import` are ours, and so is `idmap` of `--mount type=bind`. Volumes
  with options are mounted in the containers that have them, and not on the host as well.
- `--mount type=image` is refused: a new volume begins with what the image has at its place.
- `run --explain`, `logs --clear`, and `--rootfs`, `--timeout` and `--health-on-failure` of `run` and `create`
  are ours.
- The log driver `json-file` rotates by default: 10 MB, 3 files.
"""


@dataclass(frozen=True)
class Row:
    command: str
    flag: str
    """as docker lists it: ``-a, --all``; empty for the command itself"""
    supported: bool
    remark: str = ""


def rows(help: Help) -> Iterator[Row]:
    for words in commands(help):
        command = " ".join(words)
        ours = our_command(words)
        if ours is None:
            yield Row(command, "", False, "there is no such command yet")
            continue
        yield Row(command, "", True)
        known = {flag.name: flag for flag in ours.flags}
        for short, name in flags(help(words)):
            shown = f"-{short}, --{name}" if short else f"--{name}"
            yield _row(command, shown, short, known.get(name))


def _row(command: str, shown: str, short: str, flag: Flag | None) -> Row:
    if flag is None:
        return Row(command, shown, False, "unknown")
    if short and flag.short != short:
        return Row(command, shown, False, f"unknown as -{short}")
    reason = refusal(flag)
    return Row(command, shown, not reason, reason)


def refusal(flag: Flag) -> str:
    """Why a flag is refused; empty if it is not."""
    if flag.help:
        return ""
    try:
        flag.parse(flag.implied or "x")
    except errors.NotSupported as error:
        return str(error).partition(": ")[2]
    except (ValueError, errors.Error):
        return ""
    return ""


def commands(help: Help) -> list[tuple[str, ...]]:
    """The words of docker's commands that are compared."""
    return [*((group, name) for group in GROUPS for name in members(help((group,)))), *OTHER_COMMANDS]


def members(text: str) -> list[str]:
    """The commands that the help of a group lists."""
    inside = re.search(r"^Commands:\n((?:  .*\n)+)", f"{text}\n", re.MULTILINE)
    assert inside is not None
    return [line.split()[0] for line in inside[1].splitlines() if re.match(r"  \w", line)]


def flags(text: str) -> Iterator[tuple[str, str]]:
    """Short and long names in a help text."""
    for short, name in re.findall(r"^  (?:-(\w), |    )--([\w-]+)", text, re.MULTILINE):
        if name != "help":
            yield short, name


def our_command(words: tuple[str, ...]) -> Command | None:
    try:
        _, entry, _ = table.find([*words])
    except (table.UnknownCommand, table.GroupCalled):
        return None
    return entry.load()


def page(found: list[Row], version: str) -> str:
    supported = sum(row.supported for row in found if row.flag)
    total = sum(1 for row in found if row.flag)
    lines = [
        "# Commands beside docker's",
        "",
        "Made by `make compatibility`, which asks the docker client for its `--help` and compares.",
        f"Client: {version}. Flags that we take: {supported} of {total}; the others are refused with the",
        "reason below, and none is ignored.",
        "",
        "| command | flag | here |",
        "|---|---|---|",
    ]
    for row in found:
        state = "yes" if row.supported else f"refused: {row.remark}"
        name = f"`{row.command}`" if not row.flag else ""
        lines.append(f"| {name} | {f'`{row.flag}`' if row.flag else ''} | {state} |")
    return "\n".join([*lines, "", "## Where we differ on purpose", DIFFERENT.strip(), ""])


def ask(program: str) -> Help:
    def help(words: tuple[str, ...]) -> str:
        done = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=False)
        return done.stdout

    return help


def main() -> None:
    program, path = sys.argv[1:]
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = list(rows(ask(program)))
    with open(path, "w") as file:
        file.write(page(found, version.partition(",")[0].strip()))


if __name__ == "__main__":
    main()
