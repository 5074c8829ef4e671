"""A file of lines that any process may add to, and any process may follow.

    <path>      the lines, oldest first
    <path>.1    the file before this one: what is full is renamed, and what was there before is forgotten

A line is one write(2) with O_APPEND, so lines of several writers never mix, and a writer that is killed has
written all of it or nothing. Nobody waits for anybody: a writer takes no lock, but for the one who renames a
full file, and it only tries. A writer that opened the file just before that writes into the old one, which a
reader therefore looks at once more before it goes on to the new one.

Nothing is synchronised to the disk: a journal tells what happens, and is not where the truth is kept. Out of
scope: what a line says.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator

LIMIT = 1 << 20
"""bytes from which on a file is full"""
POLL = 0.05
"""seconds between two looks of a reader: one stat(2) each, and no watch that could miss a renaming"""


class Journal:
    def __init__(self, path: str, *, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit

    def append(self, line: bytes) -> None:
        """Add a line; ``OSError`` when that is not possible."""
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line + b"\n")
            if os.fstat(descriptor).st_size >= self._limit:
                self._rotate(descriptor)
        finally:
            os.close(descriptor)

    def _rotate(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else does it
        if self._is_current(descriptor):
            os.rename(self._path, f"{self._path}.1")

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def read(self, going_on: Callable[[], bool] | None = None, *, history: bool = True) -> Iterator[bytes]:
        """The lines, oldest first; without ``history`` only those that are added from now on.

        ``going_on`` is asked before each look for new ones, and when it says no there is one last look.
        Without it the lines that there are end it.
        """
        descriptor = self._open(self._path)
        before = self._open(f"{self._path}.1") if history else -1
        if descriptor >= 0 and not history:
            os.lseek(descriptor, 0, os.SEEK_END)
        return self._lines(before, descriptor, going_on)

    def _lines(self, before: int, descriptor: int, going_on: Callable[[], bool] | None) -> Iterator[bytes]:
        rest = [b""]
        try:
            if before >= 0 and not (descriptor >= 0 and os.path.sameopenfile(before, descriptor)):
                yield from _whole(before, [b""])
            while True:
                last = going_on is None or not going_on()
                if descriptor < 0:
                    descriptor = self._open(self._path)
                if descriptor >= 0:
                    yield from _whole(descriptor, rest)
                if last:
                    return
                moved = descriptor >= 0 and not self._is_current(descriptor)
                time.sleep(POLL)
                if moved:
                    yield from _whole(descriptor, rest)
                    os.close(descriptor)
                    descriptor = self._open(self._path)
                    rest = [b""]
        finally:
            for opened in (before, descriptor):
                if opened >= 0:
                    os.close(opened)

    @staticmethod
    def _open(path: str) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1


def _whole(descriptor: int, rest: list[bytes]) -> Iterator[bytes]:
    """The lines from here to the end; what has no newline yet stays in ``rest``."""
    while block := os.read(descriptor, 1 << 16):
        *lines, rest[0] = (rest[0] + block).split(b"\n")
        yield from lines
