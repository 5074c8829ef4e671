"""``info``: the engine, its stores, and what the host offers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mydocker.cli import output
from mydocker.cli.command import Command, Invocation
from mydocker.cli.flags.pflag import text
from mydocker.cli.format.rows import Document
from mydocker.cli.format.units import bytes_size

_LABELS = (
    ("Containers", "Containers"),
    ("ContainersRunning", " Running"),
    ("ContainersPaused", " Paused"),
    ("ContainersStopped", " Stopped"),
    ("Images", "Images"),
    ("ServerVersion", "Server Version"),
    ("Driver", "Storage Driver"),
    ("LoggingDriver", "Logging Driver"),
    ("CgroupDriver", "Cgroup Driver"),
    ("CgroupVersion", "Cgroup Version"),
    ("DefaultRuntime", "Default Runtime"),
    ("SecurityOptions", "Security Options"),
    ("KernelVersion", "Kernel Version"),
    ("OperatingSystem", "Operating System"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("NCPU", "CPUs"),
    ("MemTotal", "Total Memory"),
    ("Name", "Name"),
    ("ID", "ID"),
    ("DockerRootDir", "Root Dir"),
)


def _shown(document: Mapping[str, Any]) -> str:
    lines = []
    for name, label in _LABELS:
        value = document.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, list):
            lines += [f"{label}:", *(f"  {item}" for item in value)]
            continue
        lines.append(f"{label}: {bytes_size(value) if name == 'MemTotal' else value}")
    return "\n".join(lines)


def run(invocation: Invocation) -> int:
    format = Document(invocation["format"])
    output.out(format.show(invocation.engine.info(), _shown))
    return 0


COMMAND = Command(
    "info [OPTIONS]",
    "Display system-wide information",
    run,
    flags=(text("format", "f", "Format output using a custom template: 'json' or a Go TEMPLATE"),),
)
