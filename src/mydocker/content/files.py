"""Replace a file so that a reader, or a machine that loses power, sees the old one or the new one.

Write, fsync, rename, fsync of the directory. Out of scope: locks between writers; whoever calls has one.
"""

from __future__ import annotations

import os
import select


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data``, also to a pipe that somebody has made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def sync_directory(path: str) -> None:
    """Make renames and removals in ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes, mode: int = 0o644) -> None:
    """Give ``path`` the contents ``data``."""
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))
