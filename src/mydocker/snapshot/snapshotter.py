"""What a way of stacking layers has to offer.

    prepare   layers -> a read-write layer on top of them, and an init layer if it takes one
    stack     what prepare returned, again
    remove    all of that

A container's directory before ``prepare`` exists and belongs to the container; ``prepare`` adds to it

    init/       mount targets (/etc/hosts, /proc, …) that the layers lack: in no diff, in no commit
    rw/diff     the read-write layer: what the container changed, deletions as whiteouts
    rw/work     overlayfs's workshop

and the caller has the result mounted by the container's init, in the container's mount namespace. Nothing
here mounts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Stack:
    """Directories for one overlay mount."""

    lowers: tuple[str, ...]
    """read-only layers, top first; the init layer is the first if there is one"""
    upper: str
    work: str


class Snapshotter(Protocol):
    def prepare(self, container: str, lowers: Sequence[str]) -> Stack:
        """Make the directories of a new container below ``container``, on ``lowers`` (top first)."""

    def stack(self, container: str, lowers: Sequence[str]) -> Stack:
        """The same again for a container that was prepared before."""

    def remove(self, container: str) -> None:
        """Remove what ``prepare`` made and the container filled; it is no error if it is gone."""
