"""How much room a directory takes, and how many bytes are in its files.

    usage      blocks of the file system, directories and holes as they really are: du(1)
    contents   bytes that reading every file and every symbolic link would give: the size of a layer, as
               Docker counts it (moby, pkg/directory)

A file with several names counts once. Nothing is followed, and what goes away while it is counted does not
count: containers and other commands may be at work.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import suppress

from ..linux.descent import DIRECTORY, Descent

BLOCK = 512
"""the unit of st_blocks, whatever the file system's own is (man 3 stat)"""


def usage(path: str) -> int:
    """Bytes on disk of ``path``, a file or a directory with everything in it; 0 if there is nothing."""
    return sum(status.st_blocks for status in _everything(path)) * BLOCK


def contents(path: str) -> int:
    """Bytes in what is below the directory ``path``, directories themselves left aside."""
    return sum(status.st_size for status in _everything(path) if not stat.S_ISDIR(status.st_mode))


def _everything(path: str) -> Iterator[os.stat_result]:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    yield status
    if not stat.S_ISDIR(status.st_mode):
        return
    seen: set[tuple[int, int]] = set()
    with suppress(FileNotFoundError, NotADirectoryError), Descent(os.open(path, DIRECTORY)) as way:
        left = [(yield from _entries(way.here, seen))]
        while left:
            if not left[-1]:
                left.pop()
                if left and not _leave(way):
                    return
                continue
            try:
                inner = os.open(left[-1].pop(), DIRECTORY, dir_fd=way.here)
            except (FileNotFoundError, NotADirectoryError):
                continue
            way.enter(inner)
            left.append((yield from _entries(inner, seen)))


def _leave(way: Descent) -> bool:
    """Whether one is back above; what was moved away with all that was left does not count."""
    try:
        way.leave()
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return False
    return True


def _entries(directory: int, seen: set[tuple[int, int]]) -> Generator[os.stat_result, None, list[str]]:
    """The statuses of what is in a directory; returns the names of the directories among it."""
    directories = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    directories.append(entry.name)
                elif status.st_nlink > 1:
                    key = status.st_dev, status.st_ino
                    if key in seen:
                        continue
                    seen.add(key)
                yield status
    except FileNotFoundError:
        pass  # it has just been removed
    return directories
