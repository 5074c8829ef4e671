"""A file that a command writes as a whole (``--output``): it appears when it is complete, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ..content import files
from ..errors import InvalidArgument


@contextmanager
def opened(target: str | int) -> Iterator[int]:
    """A descriptor to write to: ``target`` itself, or that of a file that then takes the place of the path.

    InvalidArgument, in Docker's words, for a path that no regular file can be at.
    """
    if isinstance(target, int):
        yield target
        return
    path = os.path.abspath(target)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise InvalidArgument(f'invalid output path: directory "{directory}" does not exist')
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise InvalidArgument(f'invalid output path: "{target}" must be a regular file')
    temporary = f"{directory}/.{os.path.basename(path)[:200]}.{os.getpid()}.tmp"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = files.open_large(temporary, flags, 0o600)
    except OSError as error:
        raise InvalidArgument(f"cannot write to {target}: {(error.strerror or '').lower()}") from error
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, os.path.realpath(path))
    except BaseException:
        os.unlink(temporary)
        raise
    files.sync_directory(directory)
