"""Pages that are copied before they are written to, read back from the kernel's count of faults."""

from __future__ import annotations

import mmap
import os
import resource

import pytest

from mydocker.linux import memory

PAGES = 64


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_places", {})


def _write(area: mmap.mmap) -> None:
    for page in range(PAGES):
        area[page * mmap.PAGESIZE] = 1


def _faults_of_writing(area: mmap.mmap) -> int:
    """Minor faults in a child that has its pages, and then writes to each page of ``area``."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        memory.own_pages("writing")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        _write(area)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        os.write(writing, b"%d" % (after - before))
        os._exit(0)
    os.waitpid(pid, 0)
    found = int(os.read(reading, 16))
    os.close(reading)
    os.close(writing)
    return found


def test_pages_that_work_has_written_to_are_copied_ahead() -> None:
    with mmap.mmap(-1, PAGES * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        _write(area)
        assert _faults_of_writing(area) >= PAGES
        memory.learn("writing", lambda: _write(area))
        assert _faults_of_writing(area) < PAGES // 2


def test_work_that_fails_teaches_nothing() -> None:
    memory.learn("nothing", lambda: os._exit(1))
    assert memory._places == {"nothing": b""}
