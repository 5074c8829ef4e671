"""The program that decides about device access on cgroup v2, which has no devices.allow and devices.deny.

The kernel runs it on every open and mknod of a device node, with ``struct bpf_cgroup_dev_ctx`` (linux/bpf.h):

    access_type:32 = access << 16 | kind     access: 1 mknod, 2 read, 4 write; kind: 1 block, 2 character
    major:32
    minor:32

and takes 1 for yes, 0 for no. Rules are an ordered list in which a later one overrules an earlier one, for
each of the three kinds of access separately. So the program walks them from the last to the first, and keeps
in a register which accesses nobody has decided yet:

    allow: what the rule grants is decided; nothing left -> yes
    deny:  something undecided is refused -> no
    end:   the default
"""

from .bpf import (
    BPF_ALU,
    BPF_AND,
    BPF_EXIT,
    BPF_JEQ,
    BPF_JMP,
    BPF_JNE,
    BPF_K,
    BPF_LDX,
    BPF_MEM,
    BPF_MOV,
    BPF_RSH,
    BPF_W,
    BPF_X,
    instruction,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

BPF_DEVCG_ACC_MKNOD = 1
BPF_DEVCG_ACC_READ = 2
BPF_DEVCG_ACC_WRITE = 4
BPF_DEVCG_DEV_BLOCK = 1
BPF_DEVCG_DEV_CHAR = 2

_KINDS = {"b": BPF_DEVCG_DEV_BLOCK, "c": BPF_DEVCG_DEV_CHAR}
_ACCESS = {"m": BPF_DEVCG_ACC_MKNOD, "r": BPF_DEVCG_ACC_READ, "w": BPF_DEVCG_ACC_WRITE}

_RESULT, _CONTEXT, _UNDECIDED, _KIND, _MAJOR, _MINOR, _SCRATCH = range(7)

DeviceRule = tuple[bool, str, int | None, int | None, str]
"""(allow, ``b`` or ``c``, major, minor, some of ``rwm``); None is any number."""


def program(default: bool, rules: "Sequence[DeviceRule]") -> bytes:
    """The instructions for an ordered rule list; ``default`` decides what no rule speaks of."""
    load = BPF_LDX | BPF_MEM | BPF_W
    code = [
        instruction(load, _UNDECIDED, _CONTEXT, 0),
        instruction(BPF_ALU | BPF_MOV | BPF_X, _KIND, _UNDECIDED),
        instruction(BPF_ALU | BPF_AND | BPF_K, _KIND, immediate=0xFFFF),
        instruction(BPF_ALU | BPF_RSH | BPF_K, _UNDECIDED, immediate=16),
        instruction(load, _MAJOR, _CONTEXT, 4),
        instruction(load, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rules):
        code += _rule(*rule)
    return b"".join(code + _answer(default))


def _rule(allow: bool, kind: str, major: int | None, minor: int | None, access: str) -> list[bytes]:
    bits = sum(_ACCESS[letter] for letter in set(access))
    wanted = [(_KIND, _KINDS[kind]), (_MAJOR, major), (_MINOR, minor)]
    conditions = [(register, number) for register, number in wanted if number is not None]
    if allow:
        decision = [
            instruction(BPF_ALU | BPF_AND | BPF_K, _UNDECIDED, immediate=~bits & 7),
            instruction(BPF_JMP | BPF_JNE | BPF_K, _UNDECIDED, offset=2, immediate=0),
        ]
    else:
        decision = [
            instruction(BPF_ALU | BPF_MOV | BPF_X, _SCRATCH, _UNDECIDED),
            instruction(BPF_ALU | BPF_AND | BPF_K, _SCRATCH, immediate=bits),
            instruction(BPF_JMP | BPF_JEQ | BPF_K, _SCRATCH, offset=2, immediate=0),
        ]
    decision += _answer(allow)
    length = len(conditions) + len(decision)
    # Each condition that does not hold jumps past the rest; an offset counts from the next instruction.
    tests = [
        instruction(BPF_JMP | BPF_JNE | BPF_K, register, offset=length - place - 1, immediate=number)
        for place, (register, number) in enumerate(conditions)
    ]
    return tests + decision


def _answer(yes: bool) -> list[bytes]:
    return [
        instruction(BPF_ALU | BPF_MOV | BPF_K, _RESULT, immediate=int(yes)),
        instruction(BPF_JMP | BPF_EXIT),
    ]
