"""Copy a directory that somebody may be writing to: the files of a volume.

It is walked by descriptors and never follows a link (man 2 openat, O_NOFOLLOW). What vanishes meanwhile was
not there; of a file that changes, some moment between is copied.

Out of scope: what is copied of each file, and writing it (``snapshot/copy.py``).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from ..linux.descent import DIRECTORY, Descent
from ..snapshot.copy import Target


def clone(source: int, target: int) -> None:
    """Copy what the directory ``source`` has into ``target``, an empty one, and its own looks."""
    with Descent(os.open(".", DIRECTORY, dir_fd=source)) as way, Target(target) as made:
        left = [os.listdir(way.here)]
        while left:
            if left[-1]:
                with suppress(FileNotFoundError):
                    _entry(left[-1].pop(), way, made, left)
                continue
            left.pop()
            made.leave(way.here, os.fstat(way.here))
            if left:
                way.leave()


def _entry(name: str, way: Descent, made: Target, left: list[list[str]]) -> None:
    status = os.lstat(name, dir_fd=way.here)
    if not stat.S_ISDIR(status.st_mode):
        # for calls that take no descriptor of a directory; the last part is not followed
        made.add(name, f"/proc/self/fd/{way.here}/{name}", status)
        return
    directory = os.open(name, DIRECTORY, dir_fd=way.here)
    try:
        names = os.listdir(directory)
        made.enter(name)
    except BaseException:
        os.close(directory)
        raise
    way.enter(directory)
    left.append(names)
