"""The ``bpf`` system call, as far as cgroup programs need it, and instructions to make one.

In scope: load a program, attach it to a cgroup, detach it, ask which are attached (man 2 bpf; ``union
bpf_attr`` in linux/bpf.h), and encode instructions (Documentation/bpf/standardization/instruction-set.rst).
Out of scope: what a program decides; ``bpf_device`` writes the one for device access. No compiler is needed:
a program is bytes, eight per instruction.

    opcode:8  dst:4 src:4  offset:16 (signed)  immediate:32 (signed)
"""

import ctypes
import errno
import os
import struct

from .syscall import syscall

# linux/bpf.h: enum bpf_cmd, bpf_prog_type, bpf_attach_type and the flags of BPF_PROG_ATTACH
BPF_PROG_LOAD = 5
BPF_PROG_ATTACH = 8
BPF_PROG_DETACH = 9
BPF_PROG_GET_FD_BY_ID = 13
BPF_PROG_QUERY = 16
BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 1 << 1
BPF_F_REPLACE = 1 << 2

# linux/bpf_common.h and linux/bpf.h: classes, sizes, modes and operations of an opcode
BPF_LDX = 0x01
BPF_ALU = 0x04
BPF_JMP = 0x05
BPF_W = 0x00
BPF_MEM = 0x60
BPF_K = 0x00
BPF_X = 0x08
BPF_AND = 0x50
BPF_RSH = 0x70
BPF_MOV = 0xB0
BPF_JEQ = 0x10
BPF_JNE = 0x50
BPF_EXIT = 0x90

_INSTRUCTION = struct.Struct("=BBhi")
_LOG_SIZE = 65536
_MOST_PROGRAMS = 64  # BPF_CGROUP_MAX_PROGS, linux/bpf-cgroup-defs.h


def instruction(
    opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0
) -> bytes:
    """One instruction; registers are numbers from 0 to 10."""
    return _INSTRUCTION.pack(opcode, source << 4 | destination, offset, immediate)


def _bpf(command: int, attributes: bytes) -> bytes:
    """Make the call; returns the attributes as the kernel left them, with its result in front (8 bytes)."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = syscall("bpf", command, buffer, len(attributes))
    return struct.pack("=q", result) + buffer.raw


def load(program: bytes, kind: int = BPF_PROG_TYPE_CGROUP_DEVICE) -> int:
    """Have the kernel verify a program; returns its descriptor (close-on-exec, as the kernel makes it).

    When the verifier refuses, the error ends with the last line of its log.
    """
    code = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"MIT")

    count = len(program) // _INSTRUCTION.size

    def attributes(log: int, size: int) -> bytes:
        addresses = (ctypes.addressof(code), ctypes.addressof(licence))
        return struct.pack("=IIQQIIQ", kind, count, *addresses, 1 if log else 0, size, log)

    try:
        return int(struct.unpack("=q", _bpf(BPF_PROG_LOAD, attributes(0, 0))[:8])[0])
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EACCES):
            raise
        refusal = error
    # Once more, now with the log: it costs 64 kB, which a program that is right does not need.
    log = ctypes.create_string_buffer(_LOG_SIZE)
    try:
        return int(
            struct.unpack("=q", _bpf(BPF_PROG_LOAD, attributes(ctypes.addressof(log), _LOG_SIZE))[:8])[0]
        )
    except OSError:
        lines = log.value.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else os.strerror(refusal.errno or 0)
        raise OSError(refusal.errno, f"the kernel refuses the BPF program: {reason}") from None


def query(cgroup: int, attach_type: int = BPF_CGROUP_DEVICE) -> list[int]:
    """Ids of the programs that are attached to this very cgroup, not those above it."""
    ids = (ctypes.c_uint32 * _MOST_PROGRAMS)()
    answer = _bpf(
        BPF_PROG_QUERY,
        struct.pack("=IIIIQI4x", cgroup, attach_type, 0, 0, ctypes.addressof(ids), _MOST_PROGRAMS),
    )
    (count,) = struct.unpack_from("=I", answer, 8 + 24)
    return list(ids[:count])


def program_by_id(number: int) -> int:
    """A descriptor of a loaded program (close-on-exec)."""
    return int(struct.unpack("=q", _bpf(BPF_PROG_GET_FD_BY_ID, struct.pack("=III", number, 0, 0))[:8])[0])


def attach(
    cgroup: int, program: int, *, replace: int | None = None, attach_type: int = BPF_CGROUP_DEVICE
) -> None:
    """Attach ``program`` to a cgroup v2 directory; ``replace`` is a program there whose place it takes.

    BPF_F_ALLOW_MULTI lets programs of cgroups below be added to this one: all must agree.
    """
    flags = BPF_F_ALLOW_MULTI | (0 if replace is None else BPF_F_REPLACE)
    _bpf(BPF_PROG_ATTACH, struct.pack("=IIIII", cgroup, program, attach_type, flags, replace or 0))


def detach(cgroup: int, program: int, *, attach_type: int = BPF_CGROUP_DEVICE) -> None:
    _bpf(BPF_PROG_DETACH, struct.pack("=IIII", cgroup, program, attach_type, 0))


def put(cgroup: int, program: bytes | None, attach_type: int = BPF_CGROUP_DEVICE) -> None:
    """Make ``program`` the only one of this type on a cgroup; None takes away what there is.

    With one program before, the kernel exchanges the two in one step, so no moment is without either.
    """
    old = []
    try:
        for number in query(cgroup, attach_type):
            old += [program_by_id(number)]
        if program is not None:
            new = load(program)
            try:
                attach(cgroup, new, replace=old[0] if len(old) == 1 else None, attach_type=attach_type)
            finally:
                os.close(new)
        if program is None or len(old) > 1:
            for descriptor in old:
                detach(cgroup, descriptor, attach_type=attach_type)
    finally:
        for descriptor in old:
            os.close(descriptor)
