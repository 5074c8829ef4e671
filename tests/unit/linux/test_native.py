"""The C half of ctypes does what ctypes does."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from mydocker.linux import native

NAMES = (
    *("c_byte", "c_char", "c_char_p", "c_int", "c_long", "c_uint"),
    *("c_uint32", "c_uint64", "c_ulong", "c_ushort", "c_void_p"),
)


def test_ctypes_itself_is_not_loaded() -> None:
    place = native.__file__.rsplit("/mydocker/", 1)[0]
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import mydocker.linux.mount, mydocker.linux.process, "
    )
    script += "mydocker.runtime.create; print('ctypes' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, place], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", NAMES)
def test_sizes_and_values(name: str) -> None:
    ours, theirs = getattr(native, name), getattr(ctypes, name)
    assert native.sizeof(ours) == ctypes.sizeof(theirs)
    value = {"c_char": b"x", "c_char_p": b"text"}.get(name, 100)
    assert ours(value).value == theirs(value).value


def test_structures() -> None:
    class Pair(native.Structure):
        _fields_ = (("short", native.c_ushort), ("wide", native.c_uint64))

    pair = Pair(5, 1 << 40)
    assert (pair.short, pair.wide, native.sizeof(pair)) == (5, 1 << 40, 16)
    assert native.addressof(pair) != 0


@pytest.mark.parametrize("init", [b"abc", 5])
def test_buffers(init: bytes | int) -> None:
    ours, theirs = native.create_string_buffer(init), ctypes.create_string_buffer(init)
    assert bytes(ours) == bytes(theirs)
    assert bytes(native.create_string_buffer(b"a\0b", 3)) == b"a\0b"


def test_functions_and_errno() -> None:
    libc = native.PyDLL(None, use_errno=True)
    assert libc.getpid() == os.getpid()
    assert libc.close(native.c_int(-1)) == -1
    assert native.get_errno() == 9
    length = libc.strlen
    length.restype = native.c_ulong
    assert length(b"four") == 4
    with pytest.raises(AttributeError):
        _ = libc.no_such_function_at_all
