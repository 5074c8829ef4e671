"""The pages that a process shares with the one it was forked from (fork(2), "copy-on-write").

The first write to such a page is a fault and a copy, some microseconds each, and Python writes to objects
that it only reads (reference counts). A process that waits for its work can have the copies made before: not
of all pages, which would take longer than most work does, but of those that such work has written to before.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from io import FileIO

from . import native as ctypes
from .syscall import libc, syscall

_MADV_POPULATE_WRITE = 23
_PIDFD_SELF = -10000
_PAGE = os.sysconf("SC_PAGE_SIZE")
_EXCLUSIVE = 1 << 56  # of an entry of /proc/<pid>/pagemap: no other process has the page
_PLACE = struct.Struct("QQ")  # struct iovec
_KEPT = 200
_PLACES_AT_ONCE = 1024  # UIO_MAXIOV

_places: dict[str, bytes] = {}
"""one after the other, for each kind of work"""


def learn(kind: str, *works: Callable[[], object]) -> None:
    """Do the ``works`` in a child, and remember which pages it has written to, for ``own_pages``.

    They may leave the child in a root and with an identity of its own, and replace descriptors below 200.
    What fails has written to pages until then.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            mappings = _writable()
            pages = os.open("/proc/self/pagemap", os.O_RDONLY)
            kept, told = (fcntl.fcntl(each, fcntl.F_DUPFD, _KEPT) for each in (pages, writing))
            with suppress(Exception):
                for work in works:
                    work()
            with open(kept, "rb", buffering=0) as found, open(told, "wb") as file:
                file.write(b"".join(_PLACE.pack(*place) for place in _exclusive(mappings, found)))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        _places[kind] = file.read()
    os.waitpid(pid, 0)


def own_pages(kind: str) -> None:
    """Have the pages copied now that such work writes to, if it was learned here or in an ancestor.

    With one call (process_madvise(2)) from Linux 6.15 on, with one for each place before. Before 5.14
    (madvise(2), MADV_POPULATE_WRITE) nothing happens, and they are copied one by one later.
    """
    step = _PLACES_AT_ONCE * _PLACE.size
    places = _places.get(kind, b"")
    for first in range(0, len(places), step):
        some = places[first : first + step]
        count = len(some) // _PLACE.size
        try:
            done = syscall("process_madvise", _PIDFD_SELF, some, count, _MADV_POPULATE_WRITE, 0)
        except OSError:
            done = 0
        for address, length in _PLACE.iter_unpack(some) if done < _length(some) else ():
            if done >= length:
                done -= length
            else:
                libc.madvise(ctypes.c_void_p(address), ctypes.c_ulong(length), _MADV_POPULATE_WRITE)


def _length(places: bytes) -> int:
    return sum(length for _, length in _PLACE.iter_unpack(places))


def _writable() -> list[tuple[int, int]]:
    """(start, end) of each private mapping that this process may write to."""
    with open("/proc/self/maps", "rb") as file:
        mappings = [line.split(b" ", 1)[0].split(b"-") for line in file if b" rw-p " in line]
    return [(int(start, 16), int(end, 16)) for start, end in mappings]


def _exclusive(mappings: list[tuple[int, int]], pages: FileIO) -> list[tuple[int, int]]:
    """(address, length) of all memory in ``mappings`` that no other process shares, as the pagemap says."""
    found: list[tuple[int, int]] = []
    for start, end in mappings:
        pages.seek(start // _PAGE * 8)
        entries = memoryview(pages.read((end - start) // _PAGE * 8)).cast("Q")
        for number, entry in enumerate(entries):
            if not entry & _EXCLUSIVE:
                continue
            address = start + number * _PAGE
            if found and sum(found[-1]) == address:
                found[-1] = found[-1][0], found[-1][1] + _PAGE
            else:
                found.append((address, _PAGE))
    return found
