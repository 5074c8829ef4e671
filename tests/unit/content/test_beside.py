"""The result is right, whatever the pieces, and a piece may be reused when the next is taken."""

from __future__ import annotations

import errno
import hashlib
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mydocker.content.beside import Beside


@given(st.lists(st.integers(0, 200_000), max_size=8))
def test_pieces_of_any_size(sizes: list[int]) -> None:
    found, expected = hashlib.sha256(), hashlib.sha256()
    beside = Beside(found.update)
    buffers = [bytearray(200_000), bytearray(200_000)]
    for number, size in enumerate(sizes):
        buffer = buffers[number % 2]
        buffer[:size] = data = os.urandom(size)
        beside.put(memoryview(buffer)[:size])
        expected.update(data)
    beside.wait()
    assert found.digest() == expected.digest()
    beside.close()


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_an_error_comes_out(size: int) -> None:
    def fail(_: bytes | memoryview) -> None:
        raise OSError(errno.ENOSPC, "no space")

    beside = Beside(fail)

    def use() -> None:
        beside.put(bytes(size))
        beside.wait()

    with pytest.raises(OSError, match="no space"):
        use()
    beside.close()


def test_it_goes_on_beside_the_caller() -> None:
    """The producer has its hands free while a piece is under way, and waits with the next."""
    started, finish = threading.Event(), threading.Event()

    def consume(_: bytes | memoryview) -> None:
        started.set()
        assert finish.wait(10)

    beside = Beside(consume)
    beside.put(bytes(1 << 20))
    assert started.wait(10)
    finish.set()
    beside.put(bytes(1 << 20))
    beside.close()


def test_the_thread_ends() -> None:
    before = threading.active_count()
    beside = Beside(len)
    beside.put(bytes(1 << 20))
    assert threading.active_count() == before + 1
    beside.close()
    assert threading.active_count() == before
