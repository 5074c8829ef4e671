"""The device program against a plain reading of the rule list, in an interpreter of the eBPF that it uses.

That the kernel agrees is in ``tests/integration/cgroup/test_devices.py``.
"""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from mydocker.linux.bpf_device import DeviceRule, program

ACCESS = {"m": 1, "r": 2, "w": 4}
KIND = {"b": 1, "c": 2}


def run(code: bytes, access: int, kind: int, major: int, minor: int) -> int:
    """Interpret; every instruction that is not known here is an error, as is a jump backwards or outside."""
    context = struct.pack("=III", access << 16 | kind, major, minor)
    registers: list[int | bytes | None] = [None, context, *[None] * 9]
    place = 0
    for _ in range(len(code) // 8 + 1):
        opcode, registers_used, offset, immediate = struct.unpack_from("=BBhi", code, place * 8)
        target, source = registers_used & 15, registers_used >> 4
        place += 1
        assert offset >= 0
        if opcode == 0x61:  # load a word of the context
            assert source == 1
            registers[target] = struct.unpack_from("=I", context, offset)[0]
        elif opcode in (0xB4, 0xBC):
            registers[target] = immediate if opcode == 0xB4 else number(registers[source])
        elif opcode == 0x54:
            registers[target] = number(registers[target]) & immediate & 0xFFFFFFFF
        elif opcode == 0x74:
            registers[target] = number(registers[target]) >> immediate
        elif opcode in (0x15, 0x55):
            if (number(registers[target]) == immediate) == (opcode == 0x15):
                place += offset
        elif opcode == 0x95:
            return number(registers[0])
        else:
            raise AssertionError(f"unknown instruction {opcode:#x}")
    raise AssertionError("the program does not end")


def number(value: int | bytes | None) -> int:
    assert isinstance(value, int), "a register is read before it is set"
    return value


def decide(default: bool, rules: list[DeviceRule], access: int, kind: str, major: int, minor: int) -> bool:
    """Each requested access by itself: the last rule that speaks of it decides."""
    for letter, bit in ACCESS.items():
        if not access & bit:
            continue
        answer = default
        for allow, rule_kind, rule_major, rule_minor, rule_access in rules:
            if (
                rule_kind == kind
                and rule_major in (None, major)
                and rule_minor in (None, minor)
                and letter in rule_access
            ):
                answer = allow
        if not answer:
            return False
    return True


NUMBERS = st.sampled_from([0, 1, 5, 136, 1048575])
RULE = st.tuples(
    st.booleans(),
    st.sampled_from("bc"),
    st.none() | NUMBERS,
    st.none() | NUMBERS,
    st.sampled_from(["r", "w", "m", "rw", "rm", "wm", "rwm"]),
)


@settings(max_examples=500, deadline=None)
@given(st.booleans(), st.lists(RULE, max_size=8), st.integers(1, 7), st.sampled_from("bc"), NUMBERS, NUMBERS)
def test_decides_as_the_list_says(
    default: bool, rules: list[DeviceRule], access: int, kind: str, major: int, minor: int
) -> None:
    expected = decide(default, rules, access, kind, major, minor)
    assert run(program(default, rules), access, KIND[kind], major, minor) == int(expected)


def test_an_empty_list_is_its_default() -> None:
    assert run(program(True, []), 7, 2, 1, 3) == 1
    assert run(program(False, []), 7, 2, 1, 3) == 0


def test_grants_of_two_rules_add_up() -> None:
    rules: list[DeviceRule] = [(True, "c", 1, 3, "r"), (True, "c", 1, None, "w")]
    assert run(program(False, rules), 6, 2, 1, 3) == 1
    assert run(program(False, rules), 7, 2, 1, 3) == 0
