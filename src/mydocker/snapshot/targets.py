"""The init layer: what a container's mounts need and its image lacks, as in Docker.

    directories   /dev /dev/pts /dev/shm /proc /sys
    files         /.dockerenv /dev/console /etc/hostname /etc/hosts /etc/resolv.conf
    links         /etc/mtab -> /proc/mounts

Where the image has something else in such a place (resolv.conf is often a symbolic link), the init layer
hides it. Directories on the way have the attributes of the image's own, because overlayfs shows those of the
uppermost layer. Nothing in it is ever written to, so all containers of an image share one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from . import lookup
from .attributes import copy_attributes

DIRECTORY, FILE = "directory", "file"
# A parent stands before what is in it. What is neither of the two words is the target of a link.
TARGETS = {
    "dev": DIRECTORY,
    "dev/pts": DIRECTORY,
    "dev/shm": DIRECTORY,
    "dev/console": FILE,
    "proc": DIRECTORY,
    "sys": DIRECTORY,
    "etc": DIRECTORY,
    "etc/hostname": FILE,
    "etc/hosts": FILE,
    "etc/resolv.conf": FILE,
    "etc/mtab": "/proc/mounts",
    ".dockerenv": FILE,
}


class Targets:
    """What of TARGETS a stack of layers lacks, and how the directories look that it is to go into."""

    def __init__(self, lowers: Sequence[str]) -> None:
        self.root = lookup.top(lowers)
        self._found: dict[str, lookup.Found | None] = {"": self.root}
        self.missing: list[str] = []
        for path, kind in TARGETS.items():
            parent, _, name = path.rpartition("/")
            here = lookup.child(self._found[parent], name)
            if kind == DIRECTORY:
                self._found[path] = here if here is not None and here.is_directory else None
                present = self._found[path] is not None
            else:
                present = here is not None and (here.is_regular or kind != FILE)
            if not present:
                self.missing.append(path)

    def make(self, layer: str) -> None:
        """Put what is missing into ``layer``, an existing directory."""
        made = {""}
        copied: list[tuple[lookup.Found, str]] = []
        for path in self.missing:
            parent = path.rpartition("/")[0]
            place = f"{layer}/{path}"
            if parent not in made:
                made.add(parent)
                os.mkdir(f"{layer}/{parent}", 0o755)
                original = self._found[parent]
                if original is not None:
                    copied.append((original, f"{layer}/{parent}"))
            kind = TARGETS[path]
            if kind not in (DIRECTORY, FILE):
                os.symlink(kind, place)
                continue
            if kind == DIRECTORY:
                made.add(path)
                os.mkdir(place, 0o755)
            else:
                os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))
            os.chmod(place, 0o755)  # whatever the umask of the caller
        for original, place in copied:  # at the end, for what was put into them has changed their times
            copy_attributes(original.path, original.status, place)


def make_init_layer(layer: str, lowers: Sequence[str]) -> None:
    """Make the directory ``layer``: an init layer for the stack ``lowers`` (top first, may be none)."""
    os.mkdir(layer, 0o755)
    os.chmod(layer, 0o755)
    targets = Targets(lowers or [layer])
    targets.make(layer)
    if lowers:
        copy_attributes(targets.root.path, targets.root.status, layer)
