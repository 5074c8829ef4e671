"""The tree of an image as a container of ours shows it, in a form that compares with ``docker export``."""

from __future__ import annotations

from dataclasses import replace

from support import tree
from support.command import Runner

ENGINES_OWN = (
    ".dockerenv",
    "dev",
    "proc",
    "sys",
    "data",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/mtab",
)
"""What an engine puts into every container: mount points, and files that it mounts over."""


def comparable(found: tree.Tree) -> tree.Tree:
    found = tree.whole_seconds(tree.without(found, *ENGINES_OWN))
    # /etc has the time at which the engine put its own files there
    return {**found, "etc": replace(found["etc"], mtime=0)}


def of_image(mydocker: Runner, name: str) -> tree.Tree:
    """Run it, and read the container's root from outside, through its init process."""
    container = mydocker("run", "-d", "--user", "0", "--entrypoint", "/bin/sleep", name, "1000").line
    pid = mydocker.inspect(container)["State"]["Pid"]
    found = tree.from_directory(f"/proc/{pid}/root", skip=("dev", "proc", "sys"))
    mydocker("rm", "-f", container)
    return comparable(found)
