"""Copies between a container and this machine, with the rules of ``docker cp`` for names.

    destination is a directory      the source goes into it, under its own name (``SRC/.``: what is in it)
    destination does not exist      the source is copied under that name; ``DST/`` must be a directory
    destination is a file           a file takes its place; a directory cannot

The source side makes a tar in a thread and the other one unpacks it as it comes (``container/copy.py``,
``archive/extract.py``), so nothing is kept in memory or on disk.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from .. import errors
from ..archive.diff import pack_entry
from ..archive.extract import extract
from ..archive.stream import Stream
from ..archive.write import Writer
from ..container.copy import means_directory, stored_name
from ..content import files

if TYPE_CHECKING:
    from .containers import Container

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_CHUNK = 1 << 20


def copy_from(container: Container, path: str, local: str, *, follow: bool, owners: bool) -> int:
    """Copy out; returns the bytes of the archive. ``owners``: the container's, else the caller's."""
    parent = os.path.dirname(os.path.abspath(local))
    if not os.path.isdir(parent):
        raise errors.InvalidArgument(f'invalid output path: directory "{parent}" does not exist')
    if os.path.exists(local) and not os.path.isdir(local) and not os.path.isfile(local):
        raise errors.InvalidArgument(f'invalid output path: "{local}" must be a directory or a regular file')
    found = container.stat_path(path, follow=follow)
    end = os.path.realpath(local)
    directory, name = _placed(
        end,
        exists=os.path.exists(end),
        is_directory=os.path.isdir(end),
        strict=means_directory(local),
        source=stored_name(path),
        source_is_directory=found.is_directory,
    )

    def unpack(chunks: Iterable[bytes]) -> None:
        target = os.open(directory, _DIRECTORY)
        try:
            extract(Stream(iter(chunks)), target, b"", "the archive", owners=owners)
        finally:
            os.close(target)

    return _pumped(lambda writer: container.get_archive(path, writer, follow=follow, name=name), unpack)


def copy_to(container: Container, local: str, path: str, *, follow: bool) -> int:
    """Copy in; returns the bytes of the archive. Owners are those of the local files."""
    plain = local.rstrip("/") if not means_directory(local) else os.path.normpath(local)
    place = os.path.abspath(plain)
    try:
        status = os.stat(place) if follow or means_directory(local) else os.lstat(place)
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise errors.NotFound(f"lstat {os.path.abspath(local)}: {reason}") from error
    is_directory = stat.S_ISDIR(status.st_mode)
    if means_directory(local) and not is_directory:
        raise errors.InvalidArgument(f"{local}: not a directory")
    end, found = container.copy_destination(path)
    if found is not None and not (found.is_directory or stat.S_ISREG(found.mode)):
        raise errors.InvalidArgument(
            f'destination "{container.name}:{path}" must be a directory or regular file'
        )
    directory, name = _placed(
        end,
        exists=found is not None,
        is_directory=found is not None and found.is_directory,
        strict=means_directory(path),
        source=stored_name(local) if os.path.basename(local) == "." else os.path.basename(place) or ".",
        source_is_directory=is_directory,
    )
    if follow or means_directory(local):
        place = os.path.realpath(place)

    def pack(descriptor: int) -> None:
        writer = Writer(lambda piece: files.write_all(descriptor, piece))
        parent = os.open(place if is_directory else os.path.dirname(place), _DIRECTORY)
        try:
            inside = b"." if is_directory else os.fsencode(os.path.basename(place))
            pack_entry(parent, inside, writer, os.fsencode(name))
        finally:
            os.close(parent)
        writer.finish()

    return _pumped(pack, lambda chunks: container.put_archive(directory, chunks))


def _placed(
    end: str, *, exists: bool, is_directory: bool, strict: bool, source: str, source_is_directory: bool
) -> tuple[str, str]:
    """The directory to unpack into, and the first name in the archive."""
    if is_directory:
        return end, source
    if exists and (source_is_directory or strict):
        raise errors.InvalidArgument("cannot copy directory" if source_is_directory else "not a directory")
    if not exists and strict and not source_is_directory:
        raise errors.NotFound("no such directory")
    return os.path.dirname(end), os.path.basename(end)


class _Counted:
    """What comes out of a pipe, counted."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        while chunk := os.read(self._descriptor, _CHUNK):
            self.count += len(chunk)
            yield chunk


def _pumped(produce: Callable[[int], object], consume: Callable[[Iterable[bytes]], object]) -> int:
    """Have ``produce`` write into a pipe, in a thread, and ``consume`` take what comes; returns the bytes."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    counted = _Counted(reader)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            produce(writer)
        except BaseException as error:  # noqa: BLE001 - raised again by the other thread
            failed.append(error)
        finally:
            os.close(writer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        consume(counted)
    except errors.CorruptData:
        if not failed:  # else the archive is cut short, and this is why
            raise
    finally:
        os.close(reader)
        thread.join()
    if failed and not isinstance(failed[0], BrokenPipeError):
        raise failed[0]
    return counted.count
