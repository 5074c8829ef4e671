"""Unpack a tar into a directory of a root file system that somebody else may be rearranging (``cp``).

The counterpart of ``diff.pack_entry``, on the unpacker of layers (``apply``), with other rules, those of
``docker cp``:

    names         resolved below the root as a process in the container would, one openat2(2) with
                  RESOLVE_IN_ROOT each; a leading slash counts for nothing, ``..`` is refused
    what exists   a file or link is replaced, a directory is filled; neither takes the place of the other
    whiteouts     are files like others
    xattrs        left out where the file system has no room for them
    owners        as the archive says, or those of the caller
"""

from __future__ import annotations

import errno
import os
import stat

from .. import errors
from ..linux.path import RESOLVE_NO_XDEV, open_in_root, openat2
from . import tar
from .apply import Unpacker
from .compression import Limits
from .stream import Stream, Truncated

_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


def extract(stream: Stream, root: int, place: bytes, name: str, *, owners: bool, top: bool = False) -> None:
    """Unpack below the directory ``place`` of the root that ``root`` is open on.

    ``name`` stands for the archive in messages. ``top``: if the archive has an entry for the directory itself
    (``./``), it becomes what that says. Conflict for a file in the place of a directory or the other
    way round, HostileArchive and CorruptData as in ``apply``.
    """
    with _Extractor(stream, root, place.strip(b"/"), name, owners, top) as extractor:
        try:
            for entry in tar.Reader(stream):
                extractor.entry(entry)
            extractor.finish()
        except Truncated as error:
            raise errors.CorruptData(f"{name}: {error}") from error
    stream.drain()


class _Extractor(Unpacker):
    layer = False

    def __init__(self, stream: Stream, root: int, place: bytes, name: str, owners: bool, top: bool) -> None:
        super().__init__(stream, root, name, Limits(), True, None)
        self._below = place
        self._owners = owners
        self._takes_top = top

    def __enter__(self) -> _Extractor:
        return self

    def entry(self, entry: tar.Entry) -> None:
        if self._clean(entry, entry.name) == self._below and not self._takes_top:
            return  # the directory itself, which is as it is
        if not self._owners:
            entry.uid = entry.gid = -1  # man 2 chown: stays as it is
        super().entry(entry)

    def _clean(self, entry: tar.Entry, name: bytes) -> bytes:
        clean = super()._clean(entry, name.lstrip(b"/"))
        return b"/".join(part for part in (self._below, clean) if part)

    def _look_up(self, entry: tar.Entry, path: bytes) -> int:
        try:
            return open_in_root(self._root, os.fsdecode(path), _DIRECTORY)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._hostile(entry, "passes through a loop of symbolic links") from error
            raise

    def _implied_owner(self) -> tuple[int, int]:
        return (0, 0) if self._owners else (-1, -1)

    def _directory(self, entry: tar.Entry, parent: int, name: bytes, path: bytes) -> None:
        try:
            there = os.lstat(name, dir_fd=parent)
        except FileNotFoundError:
            there = None
        if there is not None and not stat.S_ISDIR(there.st_mode):
            raise errors.Conflict(f'cannot overwrite non-directory "/{os.fsdecode(path)}" with directory')
        super()._directory(entry, parent, name, path)

    def _replace(self, parent: int, name: bytes, path: bytes) -> None:
        if stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
            raise errors.Conflict(f'cannot overwrite directory "/{os.fsdecode(path)}" with non-directory')
        try:
            os.close(openat2(parent, os.fsdecode(name), _ENTRY, 0, RESOLVE_NO_XDEV))
        except OSError as error:
            # In a mount namespace that is not ours the kernel would unlink it, and undo the mount.
            if error.errno == errno.EXDEV:
                raise errors.Conflict(f"/{os.fsdecode(path)}: device or resource busy (a mount)") from error
            raise
        super()._replace(parent, name, path)

    def _xattrs(self, xattrs: dict[bytes, bytes], place: int | bytes) -> None:
        try:
            super()._xattrs(xattrs, place)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM):
                raise
