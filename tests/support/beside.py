"""The same words to docker and to us, and what both say made comparable.

Docker's messages lost their capitals and some of their words between 20.10 and 28; what is compared is what
they have in common.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Any

from support.command import Result, Runner
from support.peers import Tool


@dataclass(frozen=True)
class Both:
    """The same words to docker and to us; ``texts`` are what both said, made comparable."""

    docker: Tool
    ours: Runner

    def __call__(
        self, *words: str, cwd: str | None = None, stdin: bytes | None = None
    ) -> tuple[Result, Result]:
        options: dict[str, Any] = {"check": False, "cwd": cwd}
        theirs = self.docker(*words, **options, **({"input": stdin} if stdin is not None else {}))
        return theirs, self.ours(*words, **options, stdin=stdin)

    def run(self, *words: str) -> None:
        for result in self(*words):
            assert result.code == 0, result


def comparable(text: str) -> str:
    text = re.sub(r"[0-9a-f]{64}", "<id>", text)
    text = re.sub(r"\b[0-9a-f]{12}\b", "<id>", text)
    lines = []
    for line in text.splitlines():
        if not line or line.startswith(("IPv4 forwarding", "Error: failed to", "time=", "See '", "Run '")):
            continue  # a warning of the host, a repetition, a log of the client's, where the help is
        line = line.removeprefix("docker: ").removeprefix("mydocker: ")
        line = line.removeprefix("Error response from daemon: ").removeprefix("Error: ").removesuffix(".")
        line = re.sub(
            r"No such container:path: (\w+):(\S+)", r"Could not find the file \2 in container \1", line
        )
        lines.append(line.lower().rstrip())
    return "\n".join(sorted(lines))


def assert_same(both: Both, line: str, cwd: str | None = None) -> None:
    theirs, ours = both(*shlex.split(line), cwd=cwd)
    assert comparable(ours.out) == comparable(theirs.out), line
    assert comparable(ours.err) == comparable(theirs.err), line
    assert ours.code == theirs.code, line
