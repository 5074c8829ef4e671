"""Locks that the kernel releases when their holder is gone (man 2 flock)."""

from __future__ import annotations

import fcntl
import os
import time

_PAUSE = 0.01
"""seconds between two attempts to take a lock that others pass among themselves"""


class Lock:
    """``with Lock(path):`` holds it exclusively, ``with Lock(path, shared=True):`` beside other readers.

    The file stays: removing it would let two holders lock two files of one name.
    """

    def __init__(self, path: str, *, shared: bool = False) -> None:
        self._path = path
        self._operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        self._descriptor = -1

    def __enter__(self) -> Lock:
        self._open()
        try:
            fcntl.flock(self._descriptor, self._operation)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)
        self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def acquire_now(self) -> bool:
        """Take it if nobody holds it; true if it is held now, to be released by ``release``."""
        return self.acquire_within(0)

    def acquire_within(self, patience: float) -> bool:
        """The same, asking again for so many seconds."""
        self._open()
        taken = False
        try:
            taken = take_within(self._descriptor, patience, self._operation)
        finally:
            if not taken:
                self.__exit__()
        return taken

    def release(self) -> None:
        self.__exit__()


def take_within(descriptor: int, patience: float, operation: int = fcntl.LOCK_EX) -> bool:
    """Lock an open file or directory, asking again for so many seconds; whether it is held now."""
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(_PAUSE)
        else:
            return True


def locked(path: str) -> int:
    """A descriptor of the file at ``path``, made if it is not there, with its lock held.

    For files that whoever has the lock may remove: it is the file that has the name by then.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
