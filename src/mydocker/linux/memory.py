"""The pages that a process shares with the one it was forked from (fork(2), "copy-on-write").

The first write to such a page is a fault and a copy, some microseconds each, and Python writes to objects
that it only reads (reference counts). A process that waits for its work can have the copies made before: not
of all pages, which would take longer than most work does, but of those that such work has written to before.
"""

from __future__ import annotations

import marshal
import os
from collections.abc import Callable

from . import native as ctypes
from .syscall import libc

_MADV_POPULATE_WRITE = 23
_PAGE = os.sysconf("SC_PAGE_SIZE")
_EXCLUSIVE = 1 << 56  # of an entry of /proc/<pid>/pagemap: no other process has the page

_places: list[tuple[int, int]] = []


def learn(work: Callable[[], object]) -> None:
    """Do ``work`` in a child, and remember which pages it has written to, for ``own_pages``."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            with open(writing, "wb") as file:
                file.write(marshal.dumps(_exclusive()))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        found = file.read()
    os.waitpid(pid, 0)
    _places[:] = marshal.loads(found) if found else []


def own_pages() -> None:
    """Have the pages copied now that are likely to be written to: those of ``learn``, here or in an ancestor.

    Before Linux 5.14 (madvise(2), MADV_POPULATE_WRITE) nothing happens, and they are copied one by one later.
    """
    for address, length in _places:
        libc.madvise(ctypes.c_void_p(address), ctypes.c_ulong(length), _MADV_POPULATE_WRITE)


def _exclusive() -> list[tuple[int, int]]:
    """(address, length) of all writable memory of this process that no other process shares."""
    with open("/proc/self/maps", "rb") as file:
        mappings = [line.split(b" ", 1)[0].split(b"-") for line in file if b" rw-p " in line]
    found: list[tuple[int, int]] = []
    with open("/proc/self/pagemap", "rb", buffering=0) as file:
        for first, last in mappings:
            start, end = int(first, 16), int(last, 16)
            file.seek(start // _PAGE * 8)
            entries = memoryview(file.read((end - start) // _PAGE * 8)).cast("Q")
            for number, entry in enumerate(entries):
                if not entry & _EXCLUSIVE:
                    continue
                address = start + number * _PAGE
                if found and sum(found[-1]) == address:
                    found[-1] = found[-1][0], found[-1][1] + _PAGE
                else:
                    found.append((address, _PAGE))
    return found
