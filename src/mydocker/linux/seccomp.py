"""seccomp: filters made by libseccomp, and their loading into the kernel.

In scope: a thin binding of the part of ``libseccomp.so.2`` that turns rules into a BPF program
(seccomp_init(3) .. seccomp_export_bpf(3)), and seccomp(2), which loads such a program. libseccomp is opened
at its first use, since a container whose filter is in the cache needs nothing of it but its version, and one
without a filter nothing at all. Out of scope: what the rules are (``oci/``), and the cache
(``runtime/seccomp.py``).

libseccomp's own loader is not used: it would set no_new_privs and choose flags by itself, and the program has
to be made in the parent, whereas the filter binds the process that loads it.
"""

from __future__ import annotations

import errno
import os
import struct

from mydocker.errors import NotSupported
from mydocker.linux.syscall import syscall

from . import native as ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_GET_ACTION_AVAIL = 2
SECCOMP_FILTER_FLAG_TSYNC = 1 << 0
SECCOMP_FILTER_FLAG_LOG = 1 << 1
SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1 << 2
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 1 << 4
SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 1 << 5

# seccomp.h of libseccomp, which takes the kernel's values (linux/seccomp.h, SECCOMP_RET_*)
SCMP_ACT_KILL_PROCESS = 0x80000000
SCMP_ACT_KILL_THREAD = 0x00000000
SCMP_ACT_TRAP = 0x00030000
SCMP_ACT_ERRNO = 0x00050000
SCMP_ACT_NOTIFY = 0x7FC00000
SCMP_ACT_TRACE = 0x7FF00000
SCMP_ACT_LOG = 0x7FFC0000
SCMP_ACT_ALLOW = 0x7FFF0000

SCMP_FLTATR_CTL_OPTIMIZE = 8
SCMP_ARCH_NATIVE = 0
_NR_SCMP_ERROR = -1

# linux/filter.h
BPF_MAXINSNS = 4096
SOCK_FILTER_SIZE = 8
BPF_LD_W_ABS = 0x20
BPF_JMP_JA = 0x05
BPF_JMP_JEQ_K = 0x15
BPF_JMP_JGT_K = 0x25
BPF_JMP_JSET_K = 0x45
BPF_RET_K = 0x06


# struct seccomp_data, what a program looks at
SECCOMP_DATA_NR = 0
SECCOMP_DATA_ARCH = 4

AUDIT_ARCH_X86_64 = 0xC000003E
X32_SYSCALL_BIT = 0x40000000
"""arch/x86: x32 shares the architecture of x86_64, and differs in this bit of the call's number"""


def sock_filter(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    """One instruction of classic BPF (linux/filter.h); ``jt`` and ``jf``: how many instructions to skip."""
    return struct.pack("=HBBI", code, jt, jf, k)


class sock_fprog(ctypes.Structure):  # noqa: N801 (the kernel's name)
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


class scmp_arg_cmp(ctypes.Structure):  # noqa: N801 (the name in seccomp.h)
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


class _scmp_version(ctypes.Structure):  # noqa: N801
    _fields_ = (("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint))


_library: ctypes.PyDLL | None = None


def _libseccomp() -> ctypes.PyDLL:
    global _library
    if _library is not None:
        return _library
    try:
        library = ctypes.PyDLL("libseccomp.so.2")
    except OSError as error:
        raise NotSupported(
            f"seccomp filter: the library libseccomp.so.2 cannot be opened: {error} "
            "(install libseccomp2, or run without a filter: --security-opt seccomp=unconfined)"
        ) from error
    context, uint32 = ctypes.c_void_p, ctypes.c_uint32
    prototypes = {
        "seccomp_version": (ctypes.POINTER(_scmp_version),),
        "seccomp_init": (context, uint32),
        "seccomp_release": (None, context),
        "seccomp_arch_resolve_name": (uint32, ctypes.c_char_p),
        "seccomp_arch_native": (uint32,),
        "seccomp_arch_add": (ctypes.c_int, context, uint32),
        "seccomp_attr_set": (ctypes.c_int, context, ctypes.c_int, uint32),
        "seccomp_syscall_resolve_name_arch": (ctypes.c_int, uint32, ctypes.c_char_p),
        "seccomp_rule_add_array": (
            ctypes.c_int,
            context,
            uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(scmp_arg_cmp),
        ),
        "seccomp_export_bpf": (ctypes.c_int, context, ctypes.c_int),
    }
    for name, (result, *arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    _library = library
    return library


def library_version() -> str:
    """The version of libseccomp, ``2.5.4``. Raises ``NotSupported`` if it is not installed."""
    version = _libseccomp().seccomp_version().contents
    return f"{version.major}.{version.minor}.{version.micro}"


def seccomp_arch_resolve_name(name: str) -> int:
    """The AUDIT_ARCH value (or libseccomp's own, for x32) of ``x86_64``, ``aarch64`` …; 0 if it has none."""
    return int(_libseccomp().seccomp_arch_resolve_name(name.encode()))


def seccomp_arch_native() -> int:
    return int(_libseccomp().seccomp_arch_native())


def seccomp_syscall_resolve_name(name: str, arch: int = SCMP_ARCH_NATIVE) -> int | None:
    """The number of a system call on ``arch``; ``None`` if this libseccomp has never heard of it.

    A call that only other architectures have has a pseudo-number below -1 (seccomp_syscall_resolve_name(3)).
    """
    number = int(_libseccomp().seccomp_syscall_resolve_name_arch(arch, name.encode()))
    return None if number == _NR_SCMP_ERROR else number


class Context:
    """A ``scmp_filter_ctx``: rules that become a program. To be used with ``with``.

    Architectures are added before the rules, which libseccomp translates for each of them; the native one is
    there from the beginning.
    """

    __slots__ = ("_ctx", "_lib")

    def __init__(self, default_action: int) -> None:
        self._lib = _libseccomp()
        self._ctx = self._lib.seccomp_init(default_action)
        if not self._ctx:
            raise OSError(errno.EINVAL, f"seccomp_init: the default action {default_action:#x} is refused")

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ctx:
            self._lib.seccomp_release(self._ctx)
            self._ctx = None

    def arch_add(self, arch: int) -> None:
        code = self._lib.seccomp_arch_add(self._ctx, arch)
        if code != -errno.EEXIST:
            _check(code)

    def attr_set(self, attribute: int, value: int) -> None:
        _check(self._lib.seccomp_attr_set(self._ctx, attribute, value))

    def rule_add(
        self, action: int, number: int, conditions: Sequence[tuple[int, int, int, int]] = ()
    ) -> None:
        """``action`` for system call ``number`` if all ``conditions`` hold.

        A condition is (index of the argument, SCMP_CMP operator, a, b);
        ``b`` matters to SCMP_CMP_MASKED_EQ alone, where ``a`` is the mask. Raises ``OSError``: EINVAL for a
        combination that libseccomp cannot express (two conditions on one argument, for example).
        """
        array = (scmp_arg_cmp * len(conditions))(*(scmp_arg_cmp(*condition) for condition in conditions))
        _check(self._lib.seccomp_rule_add_array(self._ctx, action, number, len(conditions), array))

    def export_bpf(self) -> bytes:
        """The program: an array of ``struct sock_filter``."""
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            _check(self._lib.seccomp_export_bpf(self._ctx, fd))
            size = os.fstat(fd).st_size
            return os.pread(fd, size, 0)
        finally:
            os.close(fd)


def _check(code: int) -> None:
    if code < 0:
        raise OSError(-code, os.strerror(-code))


def load(program: bytes, flags: int = 0) -> int | None:
    """Put this process, and all that it starts, under ``program``; seccomp(2), SECCOMP_SET_MODE_FILTER.

    Wants no_new_privs, or CAP_SYS_ADMIN in the process's own user namespace (EACCES without either). Returns
    the listener's descriptor if ``flags`` has SECCOMP_FILTER_FLAG_NEW_LISTENER. What the filter forbids is
    forbidden from the moment this returns, to the Python code that follows as well.
    """
    count, rest = divmod(len(program), SOCK_FILTER_SIZE)
    if rest or not 0 < count <= BPF_MAXINSNS:
        raise OSError(errno.EINVAL, f"a seccomp program of {len(program)} bytes")
    instructions = ctypes.create_string_buffer(program, len(program))
    fprog = sock_fprog(count, ctypes.addressof(instructions))
    result = syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(fprog))
    return result if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER else None


def action_available(action: int) -> bool:
    """Whether this kernel knows ``action`` (SECCOMP_GET_ACTION_AVAIL); false too where it has no seccomp."""
    value = ctypes.c_uint32(action)
    try:
        syscall("seccomp", SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(value))
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return False
        raise
    return True


def flags_available(flags: int) -> bool:
    """Whether this kernel knows all of the ``flags``: that is what it looks at before it reads a program."""
    try:
        syscall("seccomp", SECCOMP_SET_MODE_FILTER, flags, None)
    except OSError as error:
        if error.errno not in (errno.EFAULT, errno.EINVAL, errno.ENOSYS):
            raise
        return error.errno == errno.EFAULT
    raise AssertionError("seccomp(2) has taken a program from nowhere")
