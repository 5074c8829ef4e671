"""A file that a command writes as a whole (``--output``): it appears when it is complete, or not at all.

Until then it has no name (man 2 open, O_TMPFILE), so nothing is left when the command is killed; on a file
system without such files it is a hidden one beside the target.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..content import files
from ..errors import InvalidArgument

_WRITE = os.O_WRONLY | os.O_CLOEXEC
_MODE = 0o600
_NO_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)


@contextmanager
def opened(target: str | int) -> Iterator[int]:
    """A descriptor to write to: ``target`` itself, or that of a file that then takes the place of the path.

    InvalidArgument, in Docker's words, for a path that no regular file can be at.
    """
    if isinstance(target, int):
        yield target
        return
    path = os.path.realpath(target)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise InvalidArgument(f'invalid output path: directory "{directory}" does not exist')
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise InvalidArgument(f'invalid output path: "{target}" must be a regular file')
    temporary = f"{directory}/.{os.path.basename(path)[:200]}.{os.getpid()}.tmp"
    try:
        descriptor, named = _create(directory, temporary)
    except OSError as error:
        raise InvalidArgument(f"cannot write to {target}: {(error.strerror or '').lower()}") from error
    try:
        try:
            yield descriptor
            os.fsync(descriptor)
            if not named:
                # linkat, which follows the link only when it is called with a directory
                os.link(f"/proc/self/fd/{descriptor}", temporary, src_dir_fd=descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = target  # the disk is full
        raise
    files.sync_directory(directory)


def _create(directory: str, temporary: str) -> tuple[int, bool]:
    """A new file, and whether it has a name, which is then ``temporary``."""
    try:
        return files.open_large(directory, _WRITE | os.O_TMPFILE, _MODE), False
    except OSError as error:
        if error.errno not in _NO_UNNAMED:
            raise
    return files.open_large(temporary, _WRITE | os.O_CREAT | os.O_TRUNC, _MODE), True
