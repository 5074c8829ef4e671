"""The digest is right, whatever the pieces, and a piece may be reused when the next is taken."""

from __future__ import annotations

import hashlib
import os
import threading

from hypothesis import given
from hypothesis import strategies as st

from mydocker.content.hashing import Hasher


@given(st.lists(st.integers(0, 200_000), max_size=8))
def test_pieces_of_any_size(sizes: list[int]) -> None:
    hasher, expected = Hasher(), hashlib.sha256()
    buffers = [bytearray(200_000), bytearray(200_000)]
    for number, size in enumerate(sizes):
        buffer = buffers[number % 2]
        buffer[:size] = data = os.urandom(size)
        hasher.update(memoryview(buffer)[:size])
        expected.update(data)
    assert hasher.hexdigest() == expected.hexdigest()
    hasher.close()


def test_the_thread_ends() -> None:
    before = threading.active_count()
    hasher = Hasher()
    hasher.update(bytes(1 << 20))
    assert threading.active_count() == before + 1
    hasher.close()
    assert threading.active_count() == before
    assert hasher.hexdigest() == hashlib.sha256(bytes(1 << 20)).hexdigest()
