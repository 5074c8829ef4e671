"""The ``linux.seccomp`` section of a container, turned into the filter that init loads as its last act.

In scope: checking the section (OCI runtime specification, config-linux.md, "Seccomp"), compiling it with
libseccomp, remembering the compiled program, and handing a listener to the agent that the section names. Out
of scope: which calls are allowed (``oci/seccomp_default.py``), and loading (``mydocker.linux.seccomp.load``).

What runc does and the specification leaves open is done here too, since policies are written against it:

- A name that libseccomp does not know is skipped.
- Several conditions on one argument are alternatives (libseccomp cannot express their conjunction);
  conditions on different arguments must all hold.
- A call that is newer than every call named in the policy fails with ENOSYS, whatever the default action, so
  that C libraries fall back to an older call instead of failing with EPERM.
- Where ``flags`` is absent, SECCOMP_FILTER_FLAG_SPEC_ALLOW is set.

The cache is a directory that belongs to the caller alone (0700). A file's name is a checksum of what was
compiled; the file begins with that text in full, so a collision is a miss and never a wrong filter:

    mydocker seccomp filter 1 \\n libseccomp 2.5.4 \\n x86_64 \\n the section, as Python prints it \\0
    CRC-32 of the program, 4 bytes
    the program
"""

from __future__ import annotations

import binascii
import errno
import os
import stat

from mydocker.errors import Forbidden, InvalidArgument, NotSupported
from mydocker.linux import seccomp as linux
from mydocker.oci.seccomp import ACTIONS_WITH_ERRNO, OPERATORS, check, notifies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_ACTIONS = {
    "SCMP_ACT_KILL": linux.SCMP_ACT_KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": linux.SCMP_ACT_KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": linux.SCMP_ACT_KILL_PROCESS,
    "SCMP_ACT_TRAP": linux.SCMP_ACT_TRAP,
    "SCMP_ACT_ERRNO": linux.SCMP_ACT_ERRNO,
    "SCMP_ACT_TRACE": linux.SCMP_ACT_TRACE,
    "SCMP_ACT_LOG": linux.SCMP_ACT_LOG,
    "SCMP_ACT_ALLOW": linux.SCMP_ACT_ALLOW,
    "SCMP_ACT_NOTIFY": linux.SCMP_ACT_NOTIFY,
}
_PERMISSIVE = ("SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE")
"""default actions that let a newer system call reach the kernel, or a tracer, which know best"""
_OPERATORS = {name: number for number, name in enumerate(OPERATORS, 1)}
_FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": linux.SECCOMP_FILTER_FLAG_TSYNC,
    "SECCOMP_FILTER_FLAG_LOG": linux.SECCOMP_FILTER_FLAG_LOG,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": linux.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": linux.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
}
_OPTIMIZE_FROM = 32
"""from so many rules on a binary tree of calls beats a list; libseccomp before 2.6 fails on a tree of none"""
_CACHED_FILTERS = 64


class Filter:
    """A compiled section: the program, the flags to load it with, and where a listener's descriptor goes."""

    __slots__ = ("flags", "listener_metadata", "listener_path", "program")

    def __init__(self, program: bytes, flags: int, listener_path: str | None, listener_metadata: str) -> None:
        self.program = program
        self.flags = flags
        self.listener_path = listener_path
        self.listener_metadata = listener_metadata

    def load(self) -> int | None:
        """Load it into this process (see ``mydocker.linux.seccomp.load``), for good."""
        return linux.load(self.program, self.flags)

    @property
    def instructions(self) -> int:
        return len(self.program) // linux.SOCK_FILTER_SIZE


def compile(section: Mapping[str, Any], cache_dir: str | None = None) -> Filter:
    """Compile ``section``, or take the program that ``cache_dir`` holds for it.

    Raises ``InvalidArgument`` naming the field, ``NotSupported`` without libseccomp or for an action or an
    architecture that it lacks, ``Forbidden`` if others can write to ``cache_dir``.
    """
    program = None
    if cache_dir is None:
        check(section)
        program = _program(section)
    else:
        maker = f"mydocker seccomp filter 1\nlibseccomp {linux.library_version()}\n{os.uname().machine}"
        key = f"{maker}\n{section!r}\0".encode("utf-8", "surrogatepass")
        path = os.path.join(cache_dir, f"{binascii.crc32(key):08x}.bpf")
        _own_directory(cache_dir)
        program = _recall(path, key)
        if program is None:
            check(section)
            program = _program(section)
            _remember(path, key, program)
    return Filter(
        program,
        _flags(section),
        section["listenerPath"] if notifies(section) else None,
        section.get("listenerMetadata") or "",
    )


def supported_flags() -> list[str]:
    """The flags that this kernel knows, as a section names them."""
    listening = linux.SECCOMP_FILTER_FLAG_NEW_LISTENER
    alone = {linux.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: listening}  # of no use without a listener
    return [name for name, flag in _FLAGS.items() if linux.flags_available(flag | alone.get(flag, 0))]


def send_listener(filter: Filter, fd: int, state: Mapping[str, Any], pid: int) -> None:
    """Give the listener ``fd`` to the agent at ``listenerPath``, with the container process state.

    OCI runtime specification, config-linux.md, "The Container Process State"; ``state`` is the container's,
    as the ``state`` command prints it. Raises ``OSError`` naming the socket.
    """
    import json
    import socket
    from array import array

    if filter.listener_path is None:
        raise InvalidArgument("linux.seccomp.listenerPath: missing, but a rule has SCMP_ACT_NOTIFY")
    message: dict[str, object] = {"ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": pid}
    if filter.listener_metadata:
        message["metadata"] = filter.listener_metadata
    message["state"] = dict(state)
    text = json.dumps(message).encode()
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]).tobytes())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as agent:
            agent.connect(filter.listener_path)
            sent = agent.sendmsg([text], [rights])
            if sent < len(text):  # an empty send would be told of an agent that has all and has left
                agent.sendall(text[sent:])
    except OSError as error:
        raise OSError(error.errno, f"seccomp agent: {error.strerror}", filter.listener_path) from error


# ---------------------------------------------------------------------------- the section, which is checked


def _flags(section: Mapping[str, Any]) -> int:
    names = section.get("flags")
    flags = linux.SECCOMP_FILTER_FLAG_SPEC_ALLOW if names is None else 0
    for name in names or ():
        flags |= _FLAGS[name]
    if notifies(section):
        flags |= linux.SECCOMP_FILTER_FLAG_NEW_LISTENER
        if flags & linux.SECCOMP_FILTER_FLAG_TSYNC:
            flags |= linux.SECCOMP_FILTER_FLAG_TSYNC_ESRCH  # both have a result; this tells them apart
    return flags


def _action(name: str, number: int | None) -> int:
    if name in ACTIONS_WITH_ERRNO:
        return _ACTIONS[name] | (errno.EPERM if number is None else number)
    return _ACTIONS[name]


def _program(section: Mapping[str, Any]) -> bytes:
    default = _action(section["defaultAction"], section.get("defaultErrnoRet"))
    with linux.Context(default) as context:
        architectures = [linux.seccomp_arch_native()]
        for index, name in enumerate(section.get("architectures") or ()):
            architecture = linux.seccomp_arch_resolve_name(name.removeprefix("SCMP_ARCH_").lower())
            if not architecture:
                raise NotSupported(
                    f"linux.seccomp.architectures[{index}]: "
                    f"libseccomp {linux.library_version()} does not know {name}"
                )
            if architecture not in architectures:
                context.arch_add(architecture)
                architectures.append(architecture)
        newest = dict.fromkeys(architectures, -1)
        rules = 0
        for index, call in enumerate(section.get("syscalls") or ()):
            rules += _add(context, f"linux.seccomp.syscalls[{index}]", call, default, newest)
        if rules > _OPTIMIZE_FROM:
            context.attr_set(linux.SCMP_FLTATR_CTL_OPTIMIZE, 2)
        program = context.export_bpf()
    if section["defaultAction"] not in _PERMISSIVE and default != linux.SCMP_ACT_ERRNO | errno.ENOSYS:
        program = _enosys_for_newer(newest) + program
    count = len(program) // linux.SOCK_FILTER_SIZE
    if count > linux.BPF_MAXINSNS:
        raise InvalidArgument(
            f"linux.seccomp.syscalls: compiled, they have {count} instructions, and the kernel takes at most "
            f"{linux.BPF_MAXINSNS}"
        )
    return program


def _add(
    context: linux.Context, field: str, call: Mapping[str, Any], default: int, newest: dict[int, int]
) -> int:
    """Add the rules of one entry of ``syscalls``, and return how many; ``newest`` learns its numbers."""
    action = _action(call["action"], call.get("errnoRet"))
    alternatives = _conditions(call.get("args") or ())
    added = 0
    for name in call["names"]:
        number = linux.seccomp_syscall_resolve_name(name)
        if number is None:
            continue
        for architecture in newest:
            own = linux.seccomp_syscall_resolve_name(name, architecture)
            if own is not None:
                newest[architecture] = max(newest[architecture], own)
        if action == default:
            continue  # says nothing new, and libseccomp refuses it
        for conditions in alternatives:
            try:
                context.rule_add(action, number, conditions)
            except OSError as error:
                raise InvalidArgument(
                    f"{field}: libseccomp refuses the rule for {name}: {error.strerror}"
                ) from error
            added += 1
    return added


def _conditions(args: Sequence[Mapping[str, Any]]) -> list[list[tuple[int, int, int, int]]]:
    """The alternatives of an entry, each a list of conditions that must all hold."""
    conditions = [(arg["index"], _OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo", 0)) for arg in args]
    if len({condition[0] for condition in conditions}) < len(conditions):
        return [[condition] for condition in conditions]
    return [conditions]


def _enosys_for_newer(newest: Mapping[int, int]) -> bytes:
    """Instructions to go before a filter: ENOSYS for a number above the architecture's newest named call.

    An architecture without a named call is left to the filter, and so is one that the filter has not.
    """
    x32 = linux.seccomp_arch_resolve_name("x32")
    refuse = linux.sock_filter(linux.BPF_RET_K, linux.SCMP_ACT_ERRNO | errno.ENOSYS)
    sections = []
    for architecture, number in newest.items():
        if architecture == x32 or number < 0:
            continue
        body = [linux.sock_filter(linux.BPF_LD_W_ABS, linux.SECCOMP_DATA_NR)]
        if architecture == linux.AUDIT_ARCH_X86_64:
            # x32: over the comparison of x86_64, to its own, or out of here if the policy has no x32.
            body.append(linux.sock_filter(linux.BPF_JMP_JSET_K, linux.X32_SYSCALL_BIT, 3, 0))
            body.append(linux.sock_filter(linux.BPF_JMP_JGT_K, number, 0, 1))
            body.append(refuse)
            body.append(b"leave")
            if newest.get(x32, -1) >= 0:
                body.append(linux.sock_filter(linux.BPF_JMP_JGT_K, newest[x32], 0, 1))
                body.append(refuse)
        else:
            body.append(linux.sock_filter(linux.BPF_JMP_JGT_K, number, 0, 1))
            body.append(refuse)
        body.append(b"leave")
        sections.append([linux.sock_filter(linux.BPF_JMP_JEQ_K, architecture, 0, len(body)), *body])
    program = [linux.sock_filter(linux.BPF_LD_W_ABS, linux.SECCOMP_DATA_ARCH)]
    for section in sections:
        program += section
    end = len(program)
    return b"".join(
        linux.sock_filter(linux.BPF_JMP_JA, end - at - 1) if instruction == b"leave" else instruction
        for at, instruction in enumerate(program)
    )


# ------------------------------------------------------------------------------------------------ the cache


def _own_directory(path: str) -> None:
    if not os.path.lexists(path):
        os.makedirs(path, mode=0o700, exist_ok=True)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise Forbidden(
            f"seccomp cache {path}: not a directory that uid {os.geteuid()} alone can write to "
            f"(mode {stat.filemode(status.st_mode)}, owner {status.st_uid}; remove it)"
        )


def _recall(path: str, head: bytes) -> bytes | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    with open(fd, "rb", buffering=0) as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return None
        content = file.readall()
    program = content[len(head) + 4 :]
    whole = content.startswith(head) and content[len(head) : len(head) + 4] == _checksum(program)
    return program if program and whole else None


def _remember(path: str, head: bytes, program: bytes) -> None:
    """Write the file in one step: nameless until it is whole, so that a killed process leaves nothing.

    Not fsynced: after a crash the checksum tells. A directory that cannot take it (full, read-only, no
    O_TMPFILE) costs the next container a compilation, and is no reason to refuse this one.
    """
    directory, name = os.path.split(path)
    try:
        at = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=at)
            with open(fd, "wb", buffering=0) as file:
                file.write(head + _checksum(program) + program)
                known = os.listdir(directory)
                for old in known if len(known) >= _CACHED_FILTERS else [name]:
                    _unlink(old, at)
                # Given a directory descriptor Python calls linkat(2) with AT_SYMLINK_FOLLOW, else link(2).
                os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=at)
        finally:
            os.close(at)
    except FileExistsError:
        pass  # another process was faster, with the same program
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EOPNOTSUPP, errno.EISDIR):
            raise


def _unlink(name: str, at: int) -> None:
    try:
        os.unlink(name, dir_fd=at)
    except FileNotFoundError:
        pass


def _checksum(program: bytes) -> bytes:
    return binascii.crc32(program).to_bytes(4, "big")
