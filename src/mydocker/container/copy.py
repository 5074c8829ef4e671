"""``cp``: parts of a container's file system as a tar, and a tar into one.

Paths are those of a process in the container: relative ones count from its root, ``..`` ends there, links are
followed inside. As in Docker, the last name of a path is not followed when it is a link, unless a ``/`` or a
``/.`` comes after it; the latter means what is in a directory, without the directory's own name. Volumes and
bind mounts are seen; of the kernel's file systems (/proc) and the engine's /dev only the directories.

Out of scope: what is on the other side (``engine/copy.py``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .. import errors
from ..archive.compression import Limits, inflated
from ..archive.diff import pack_entry
from ..archive.extract import extract
from ..archive.stream import Stream
from ..archive.write import Writer
from ..content import files
from ..linux.path import open_in_root
from . import events, filesystem
from .record import Record
from .store import Store

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = 40


class PathStat(NamedTuple):
    """What is at a path; ``mode`` with the type, as of stat(2). ``target``: of a link, where it leads."""

    name: str
    size: int
    mode: int
    mtime_ns: int
    target: str = ""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


def clean(path: str) -> str:
    """``a/../b/./`` as ``/b``; what ends in a slash or in ``/.`` is another matter, see ``means_inside``."""
    if not path:
        raise errors.InvalidArgument("bad parameter: path cannot be empty")
    if "\0" in path:
        raise errors.InvalidArgument("a path cannot have a zero byte in it")
    return os.path.normpath("/" + path.lstrip("/"))


def means_directory(path: str) -> bool:
    """Whether only a directory can be meant, which makes a link before it one to follow."""
    return path.endswith("/") or os.path.basename(path) == "."


def stored_name(path: str) -> str:
    """The first name in the archive of ``path``: ``.`` for ``/a/.`` and for ``/``."""
    if os.path.basename(path) == ".":
        return "."
    return os.path.basename(clean(path)) or "."


def look(store: Store, record: Record, path: str, *, follow: bool = False) -> PathStat:
    """``NotFound``, in Docker's words, if there is nothing. ``follow``: links at the end too."""
    with filesystem.opened(store, record) as root, _finding(record, path):
        return _look(root, path, follow)


def read(
    store: Store, record: Record, path: str, descriptor: int, *, follow: bool = False, name: str = ""
) -> PathStat:
    """Write what is at ``path`` to ``descriptor`` as a tar, whose first name is ``name`` or its own."""
    writer = Writer(lambda piece: files.write_all(descriptor, piece))
    with filesystem.opened(store, record) as root, _finding(record, path):
        found = _look(root, path, follow)
        place = _end_of_links(root, clean(path)) if follow else clean(path)
        stored = os.fsencode(name or stored_name(path if means_directory(path) else place))
        leave = filesystem.leaves(root)
        if means_directory(path) or place == "/":
            with _opened(root, place) as directory:
                pack_entry(directory, b".", writer, stored, leave)
        else:
            with _opened(root, os.path.dirname(place)) as directory:
                pack_entry(directory, os.fsencode(os.path.basename(place)), writer, stored, leave)
        writer.finish()
    events.container(store, record, "archive-path")
    return found


def write(store: Store, record: Record, path: str, chunks: Iterable[bytes], *, owners: bool = True) -> None:
    """Unpack the tar that ``chunks`` make up, compressed or not, into the directory ``path``.

    ``owners``: as the archive says, else the caller's. ``NotFound`` and ``InvalidArgument`` if ``path`` is no
    directory, ``Forbidden`` if it cannot be written to, ``Conflict`` for what is in the way.
    """
    with filesystem.opened(store, record) as root:
        with _finding(record, path):
            place = _end_of_links(root, clean(path))
            if not _look(root, place, True).is_directory:
                raise errors.InvalidArgument(f'destination "{path}" must be a directory')
            with _opened(root, place) as directory:
                _check_writable(root, directory)
        plain = inflated(iter(chunks), Limits(), "the archive")
        extract(Stream(plain), root, os.fsencode(place), "the archive", owners=owners)
    events.container(store, record, "extract-to-dir")


def destination(store: Store, record: Record, path: str) -> tuple[str, PathStat | None]:
    """Where a copy to ``path`` goes: links at its end are followed, also one that leads to nothing yet."""
    with filesystem.opened(store, record) as root:
        place = _end_of_links(root, clean(path))
        try:
            return place, _look(root, place, False)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                raise
            return place, None


def _look(root: int, path: str, follow: bool) -> PathStat:
    place = clean(path)
    if follow or means_directory(path):
        handle = open_in_root(root, place, os.O_PATH | (os.O_DIRECTORY if means_directory(path) else 0))
    else:
        with _opened(root, os.path.dirname(place)) as directory:
            handle = os.open(os.path.basename(place) or ".", _ENTRY, dir_fd=directory)
    try:
        status = os.fstat(handle)
        target = os.readlink("", dir_fd=handle) if stat.S_ISLNK(status.st_mode) else ""
    finally:
        os.close(handle)
    name = os.path.basename(place) or "/"
    return PathStat(name, status.st_size, status.st_mode, status.st_mtime_ns, target)


def _end_of_links(root: int, place: str) -> str:
    """``place`` without a link at its end. The kernel follows those before it, whenever it is used."""
    for _ in range(_LINKS):
        try:
            found = _look(root, place, False)
        except (FileNotFoundError, NotADirectoryError):
            return place
        if not found.is_link:
            return place
        place = clean(os.path.join(os.path.dirname(place), found.target))
    raise errors.InvalidArgument(f"{place}: too many levels of symbolic links")


def _check_writable(root: int, directory: int) -> None:
    if not os.fstatvfs(directory).f_flag & os.ST_RDONLY:
        return
    if os.fstat(directory).st_dev == os.fstat(root).st_dev:
        raise errors.Forbidden("container rootfs is marked read-only")
    raise errors.Forbidden("mounted volume is marked read-only")


@contextmanager
def _opened(root: int, path: str) -> Iterator[int]:
    descriptor = open_in_root(root, path, _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _finding(record: Record, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise errors.NotFound(f"Could not find the file {path} in container {record.name}") from error
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            reason = os.strerror(error.errno).lower()
            raise errors.InvalidArgument(f"{path} in container {record.name}: {reason}") from error
        raise
