"""``version``: what this program and this machine are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import text
from mydocker.cli.format.rows import Document

_LABELS = {
    "Version": "Version",
    "ApiVersion": "API version",
    "MinAPIVersion": "Minimum API version",
    "PythonVersion": "Python version",
    "GitCommit": "Git commit",
    "KernelVersion": "Kernel version",
}


def _shown(document: Mapping[str, Any]) -> str:
    lines = ["Engine: mydocker"]
    lines += [
        f" {label + ':':<19}{document[name]}"
        for name, label in _LABELS.items()
        if document.get(name) and isinstance(document[name], str)
    ]
    lines.append(f" {'OS/Arch:':<19}{document['Os']}/{document['Arch']}")
    return "\n".join(lines)


def run(invocation: Invocation) -> int:
    format = Document(invocation["format"])
    version = invocation.engine.version()
    # Docker puts the engine's half below ``Server``; both ways of asking for it work.
    document = {**version, "Client": version, "Server": version}
    shown = version if invocation["format"] == "json" else document
    output.out(format.show(shown, _shown))
    return 0


COMMAND = Command(
    "version [OPTIONS]",
    "Show the version information",
    run,
    flags=(text("format", "f", "Format output using a custom template: 'json' or a Go TEMPLATE"),),
)
