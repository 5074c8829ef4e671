"""Names that somebody is about to use: what they lead to is not pruned.

    <root>/image/reserved/<pid>-<n>   a full name; its flock is held by who reserved it, so that one whose
                                      lock is free was left by somebody who was killed

Who pulls an image and then makes a container from it holds a reservation from before the pull until the
container's record is there. Without it the image would be nobody's in between, and a prune could take it. A
removal by name or id is not kept back: somebody has asked for it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..content.lock import locked

_serial = itertools.count()


@contextmanager
def reserved(root: str, name: str) -> Iterator[None]:
    """Around whatever needs the image that ``name`` leads to, now or in a moment."""
    path = os.path.join(_directory(root), f"{os.getpid()}-{next(_serial)}")
    os.makedirs(_directory(root), mode=0o700, exist_ok=True)
    descriptor = locked(path)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, name.encode())
        yield
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
        os.close(descriptor)


def names(root: str) -> set[str]:
    """All names that are reserved now. What the killed have left is removed."""
    found = set()
    try:
        files = os.listdir(_directory(root))
    except FileNotFoundError:
        return set()
    for file in files:
        path = os.path.join(_directory(root), file)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                os.unlink(path)
        except BlockingIOError:
            found.add(os.read(descriptor, 4096).decode())
        finally:
            os.close(descriptor)
    return found


def _directory(root: str) -> str:
    return os.path.join(root, "reserved")
