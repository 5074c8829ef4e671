"""Filters are loaded into forked children, and asked by making the system calls."""

from __future__ import annotations

import array
import binascii
import ctypes
import errno
import fcntl
import json
import mmap
import os
import pickle
import platform
import signal
import socket
import stat
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mydocker.errors import Forbidden, InvalidArgument, NotSupported
from mydocker.linux import native
from mydocker.linux import seccomp as linux
from mydocker.oci.capabilities import DEFAULT_CAPABILITIES
from mydocker.oci.seccomp_default import default_seccomp
from mydocker.runtime import seccomp

PR_SET_NO_NEW_PRIVS = 38
ODD = 77
"""an errno that no system call of these tests fails with by itself"""

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="system call numbers of x86_64")


def number(name: str) -> int:
    resolved = linux.seccomp_syscall_resolve_name(name)
    assert resolved is not None
    return resolved


def call(nr: int | str, *args: int) -> int:
    """The errno of a system call, 0 if it succeeds."""
    if isinstance(nr, str):
        nr = number(nr)
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(nr), *(ctypes.c_long(arg) for arg in args))
    return ctypes.get_errno() if result == -1 else 0


def calls(*wanted: tuple[int | str, ...]) -> Callable[[], list[int]]:
    """For ``under``: make these calls, each (name or number, argument...), numbers known before."""
    resolved = [(number(n) if isinstance(n, str) else n, *args) for n, *args in wanted]
    return lambda: [call(*one) for one in resolved]  # type: ignore[arg-type]


def under(section: dict[str, Any], action: Callable[[], Any]) -> Any:
    """What ``action`` returns in a child under the filter; its wait status if it does not live to tell."""
    filter = seccomp.compile(section)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            linux.load(filter.program, filter.flags)
            os.write(writer, pickle.dumps(action()))
        finally:
            os._exit(99)
    os.close(writer)
    with open(reader, "rb") as file:
        content = file.read()
    _, status = os.waitpid(pid, 0)
    return pickle.loads(content) if content else os.waitstatus_to_exitcode(status)


def rule(name: str, action: str = "SCMP_ACT_ERRNO", **more: Any) -> dict[str, Any]:
    return {"names": [name], "action": action, **more}


def allow_all_but(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules)}


def arg(index: int, op: str, value: int, two: int = 0) -> dict[str, Any]:
    return {"index": index, "op": f"SCMP_CMP_{op}", "value": value, "valueTwo": two}


def test_errno_of_a_rule_and_without_one_it_is_eperm() -> None:
    section = allow_all_but(rule("getpgid", errnoRet=ODD), rule("getsid"))
    assert under(section, calls(("getpgid", 0), ("getsid", 0), ("getppid",))) == [ODD, errno.EPERM, 0]


def test_errno_of_the_default_action() -> None:
    section: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": ODD, "syscalls": []}
    section["syscalls"].append({"names": ["write", "exit_group", "futex"], "action": "SCMP_ACT_ALLOW"})
    section["syscalls"].append(
        rule("getsid", errnoRet=ODD)
    )  # the default again, which libseccomp would refuse
    assert under(section, calls(("getsid", 0), ("exit_group", 5))) == 5


@pytest.mark.parametrize("action", ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"])
def test_actions_that_end_the_process(action: str) -> None:
    assert (
        under(allow_all_but(rule("getpgid", f"SCMP_ACT_{action}")), calls(("getpgid", 0))) == -signal.SIGSYS
    )


def test_trace_without_a_tracer_is_enosys_and_log_lets_pass() -> None:
    section = allow_all_but(rule("getpgid", "SCMP_ACT_TRACE", errnoRet=3), rule("getsid", "SCMP_ACT_LOG"))
    assert under(section, calls(("getpgid", 0), ("getsid", 0))) == [errno.ENOSYS, 0]


OPERATORS: dict[str, Callable[[int, int, int], bool]] = {
    "NE": lambda x, a, _: x != a,
    "LT": lambda x, a, _: x < a,
    "LE": lambda x, a, _: x <= a,
    "EQ": lambda x, a, _: x == a,
    "GE": lambda x, a, _: x >= a,
    "GT": lambda x, a, _: x > a,
    "MASKED_EQ": lambda x, a, b: x & a == b,
}
words = st.one_of(
    st.integers(0, 4), st.integers(0, 2**64 - 1), st.sampled_from([2**31, 2**32, 2**63, 2**64 - 1])
)


@pytest.mark.parametrize("op", OPERATORS)
@settings(max_examples=15, deadline=None)
@given(value=words, two=words, given_=st.lists(words, min_size=4, max_size=8))
def test_operators_compare_all_64_bits(op: str, value: int, two: int, given_: list[int]) -> None:
    if op == "MASKED_EQ":
        two &= value  # bits outside the mask can never be equal
    else:
        two = 0
    section = allow_all_but(rule("getpgid", args=[arg(0, op, value, two)], errnoRet=ODD))
    asked = [*given_, value, (value + 1) % 2**64]
    answers = under(section, calls(*(("getpgid", x) for x in asked)))
    assert [answer == ODD for answer in answers] == [OPERATORS[op](x, value, two) for x in asked]


def test_conditions_on_different_arguments_must_all_hold() -> None:
    section = allow_all_but(rule("getpriority", args=[arg(0, "EQ", 0), arg(1, "EQ", 0)], errnoRet=ODD))
    assert under(section, calls(("getpriority", 0, 0), ("getpriority", 1, 0))) == [ODD, 0]


def test_conditions_on_one_argument_are_alternatives() -> None:
    section = allow_all_but(rule("getpriority", args=[arg(0, "EQ", 0), arg(0, "EQ", 1)], errnoRet=ODD))
    answers = under(section, calls(("getpriority", 0, 0), ("getpriority", 1, 0), ("getpriority", 2, 0)))
    assert answers == [ODD, ODD, 0]


def test_unknown_names_are_skipped() -> None:
    section = allow_all_but(rule("no_such_call_ever"), rule("getpgid", errnoRet=ODD))
    assert under(section, calls(("getpgid", 0))) == [ODD]


def test_calls_newer_than_the_policy_are_enosys() -> None:
    section: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": ODD}
    section["syscalls"] = [
        rule(name, "SCMP_ACT_ALLOW") for name in ("write", "exit_group", "futex", "openat2")
    ]
    newest = number("openat2")
    answers = under(section, calls(("getpgid", 0), (newest - 1,), (newest + 1,), (newest + 200,)))
    assert answers == [ODD, ODD, errno.ENOSYS, errno.ENOSYS]


@x86_64
def test_a_kill_policy_does_not_kill_newer_calls_but_others() -> None:
    section: dict[str, Any] = {"defaultAction": "SCMP_ACT_KILL_PROCESS"}
    section["syscalls"] = [rule(name, "SCMP_ACT_ALLOW") for name in ("write", "exit_group", "futex")]
    assert under(section, calls((2000,))) == [errno.ENOSYS]
    assert under(section, calls(("getppid",))) == -signal.SIGSYS


def ia32(nr: int, first: int = 0) -> int:
    """The errno of a call by way of ``int 0x80``, which the kernel takes for one of a 32-bit program."""
    # push rbx; mov ebx, esi; mov eax, edi; int 0x80; pop rbx; ret
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("53 89f3 89f8 cd80 5b c3"))
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(
        ctypes.addressof(ctypes.c_char.from_buffer(code))
    )
    result = function(nr, first)
    return -result if -4096 < result < 0 else 0


@x86_64
def test_a_policy_holds_for_the_architectures_it_names() -> None:
    getppid, umask, getpgid = 64, 60, 132
    section = allow_all_but(rule("getpgid", errnoRet=ODD), rule("umask", errnoRet=ODD))
    section["architectures"] = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    if under(section, lambda: ia32(getppid)):
        pytest.skip("this kernel runs no 32-bit programs")
    assert under(section, lambda: [ia32(getppid), ia32(umask), ia32(getpgid)]) == [0, ODD, ODD]
    x32 = linux.X32_SYSCALL_BIT
    assert under(section, lambda: [call(x32 | 95), call(95)]) == [ODD, ODD]
    section["architectures"] = []
    assert under(section, lambda: ia32(getppid)) == -signal.SIGSYS


@x86_64
def test_newer_calls_are_enosys_on_every_architecture_of_the_policy() -> None:
    section = default_seccomp(DEFAULT_CAPABILITIES, (6, 18), "x86_64")
    answers = under(section, lambda: [ia32(2000), call(2000), call(linux.X32_SYSCALL_BIT | 2000), ia32(21)])
    assert answers == [errno.ENOSYS] * 3 + [errno.EPERM]


HOSTS_BUSINESS = """
    mount umount2 unshare setns keyctl add_key request_key bpf perf_event_open userfaultfd pivot_root swapon
    init_module kexec_load reboot settimeofday acct quotactl open_by_handle_at io_uring_setup"""


def test_default_policy_denies() -> None:
    section = default_seccomp(DEFAULT_CAPABILITIES, (6, 18), platform.machine())
    names = HOSTS_BUSINESS.split()
    answers = under(section, calls(*((name,) for name in names)))
    assert dict(zip(names, answers, strict=True)) == dict.fromkeys(names, errno.EPERM)


def test_default_policy_by_argument() -> None:
    section = default_seccomp(DEFAULT_CAPABILITIES, (6, 18), platform.machine())
    newuser, sigchld, query, no_randomize = 0x10000000, 17, 0xFFFFFFFF, 0x0040000
    asked = (
        ("clone3", 0, 0),
        ("clone", newuser | sigchld),
        ("personality", query),
        ("personality", no_randomize),
        ("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0),
        ("socket", socket.AF_INET6, socket.SOCK_STREAM, 0),
        ("socket", socket.AF_NETLINK, socket.SOCK_RAW, 0),
        ("socket", socket.AF_VSOCK, socket.SOCK_STREAM, 0),
        ("socket", socket.AF_ALG, socket.SOCK_SEQPACKET, 0),
    )
    eperm = errno.EPERM
    assert under(section, calls(*asked)) == [errno.ENOSYS, eperm, 0, eperm, 0, 0, 0, eperm, eperm]


def test_default_policy_runs_threads_and_programs() -> None:
    section = default_seccomp(DEFAULT_CAPABILITIES, (6, 18), platform.machine())
    script = (
        "import threading, subprocess, tempfile, socket, mmap\n"
        "t = threading.Thread(target=print, args=('thread',)); t.start(); t.join()\n"
        "subprocess.run(['/bin/echo', 'program'], check=True)\n"
        "tempfile.TemporaryFile().write(b'x'); socket.socketpair(); mmap.mmap(-1, 4096)\n"
    )
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    under(section, lambda: (os.dup2(writer, 1), os.execv(sys.executable, [sys.executable, "-c", script])))
    os.close(writer)
    with open(reader) as file:
        assert sorted(file.read().split()) == ["program", "thread"]


def test_capabilities_open_what_they_stand_for() -> None:
    """Allowed by the filter, the kernel's own answer shows: these arguments are invalid, not forbidden."""
    asked = calls(("unshare", 0), ("clone3", 0, 0), ("setns", -1, 0), ("mount", 0, 0, 0, 0))
    machine = platform.machine()
    assert under(default_seccomp((), (6, 18), machine), asked) == [1, errno.ENOSYS, 1, 1]
    admin = under(default_seccomp(["CAP_SYS_ADMIN"], (6, 18), machine), asked)
    assert admin == [0, errno.EINVAL, errno.EBADF, errno.EFAULT]


# -------------------------------------------------------------------------------------------------- flags


def test_flags() -> None:
    section = allow_all_but(rule("getpgid"))
    assert seccomp.compile(section).flags == linux.SECCOMP_FILTER_FLAG_SPEC_ALLOW
    assert seccomp.compile({**section, "flags": []}).flags == 0
    both = ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"]
    assert seccomp.compile({**section, "flags": both}).flags == 3
    assert under({**section, "flags": both}, calls(("getpgid", 0))) == [errno.EPERM]


def test_a_listener_reaches_the_agent_and_answers(tmp_path: Path) -> None:
    section = allow_all_but(rule("getpgid", "SCMP_ACT_NOTIFY"))
    section |= {"listenerPath": str(tmp_path / "agent"), "listenerMetadata": "mine"}
    section["flags"] = ["SECCOMP_FILTER_FLAG_TSYNC"]
    filter = seccomp.compile(section)
    nr = number("getpgid")
    reader, writer = os.pipe()
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(section["listenerPath"])
        agent.listen()
        pid = os.fork()
        if pid == 0:
            try:
                libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                fd = linux.load(filter.program, filter.flags)
                os.write(writer, struct.pack("i", fd))
                os._exit(call(nr, 0))
            finally:
                os._exit(99)
        (remote,) = struct.unpack("i", os.read(reader, 4))
        os.close(reader)
        os.close(writer)
        pidfd = os.pidfd_open(pid)
        fd = libc.syscall(438, pidfd, remote, 0)
        assert fd >= 0
        seccomp.send_listener(filter, fd, {"ociVersion": "1.0.2", "id": "x", "status": "creating"}, pid)
        os.close(fd)
        connection, _ = agent.accept()
    with connection:
        text, ancillary, _, _ = connection.recvmsg(65536, 100)
    message = json.loads(text)
    assert message["fds"] == ["seccompFd"]
    assert (message["pid"], message["metadata"], message["state"]["id"]) == (pid, "mine", "x")
    listener = array.array("i", ancillary[0][2])[0]
    # struct seccomp_notif and seccomp_notif_resp, SECCOMP_IOCTL_NOTIF_RECV and _SEND: linux/seccomp.h
    request = bytearray(80)
    fcntl.ioctl(listener, 0xC0502100, request)
    identifier, asking, _, called = struct.unpack_from("=QIIi", request)
    assert (asking, called) == (pid, nr)
    fcntl.ioctl(listener, 0xC0182101, bytearray(struct.pack("=QqiI", identifier, 0, -ODD, 0)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == ODD
    os.close(listener)
    os.close(pidfd)


def test_an_agent_that_is_not_there_is_named(tmp_path: Path) -> None:
    section = allow_all_but(rule("getpgid", "SCMP_ACT_NOTIFY"))
    filter = seccomp.compile({**section, "listenerPath": str(tmp_path / "nobody")})
    with pytest.raises(OSError, match=r"seccomp agent.*nobody"):
        seccomp.send_listener(filter, 0, {"ociVersion": "1.0.2"}, 1)


# -------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "linux.seccomp.defaultAction: unknown value None"),
        ({"defaultAction": "ALLOW"}, "linux.seccomp.defaultAction: unknown value 'ALLOW'"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, "defaultAction: SCMP_ACT_NOTIFY cannot be"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1},
            "defaultErrnoRet: SCMP_ACT_ALLOW returns no",
        ),
        (
            {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 65536},
            "defaultErrnoRet: a number from 0 to 65535",
        ),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["x86"]},
            r"architectures\[0\]: unknown value 'x86'",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "architectures": "x"}, "architectures: a list is wanted"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["F"]}, r"flags\[0\]: unknown value 'F'"),
        ({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}, "listenerMetadata: is of no use"),
        (
            {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]},
            "flags: .* wants a rule with SCMP_ACT_NOTIFY",
        ),
        (allow_all_but(rule("getpgid", "SCMP_ACT_NOTIFY")), "listenerPath: missing"),
        (
            allow_all_but(rule("write", "SCMP_ACT_NOTIFY")),
            r"syscalls\[0\].action: .* cannot be used for write",
        ),
        (allow_all_but({"names": [], "action": "SCMP_ACT_ERRNO"}), r"syscalls\[0\].names: at least one"),
        (allow_all_but(rule("getpgid"), rule("")), r"syscalls\[1\].names: the name"),
        (allow_all_but(rule("getpgid", "NO")), r"syscalls\[0\].action: unknown value 'NO'"),
        (allow_all_but(rule("getpgid", "SCMP_ACT_LOG", errnoRet=1)), r"syscalls\[0\].errnoRet: SCMP_ACT_LOG"),
        (allow_all_but(rule("getpgid", args=[arg(6, "EQ", 0)])), r"args\[0\].index: a number from 0 to 5"),
        (
            allow_all_but(rule("getpgid", args=[arg(0, "IS", 0)])),
            r"args\[0\].op: unknown value 'SCMP_CMP_IS'",
        ),
        (allow_all_but(rule("getpgid", args=[arg(0, "EQ", -1)])), r"args\[0\].value: a number"),
        (allow_all_but(rule("getpgid", args=[arg(0, "EQ", 2**64)])), r"args\[0\].value: a number"),
        (allow_all_but(rule("getpgid", args=["x"])), r"args\[0\]: an object is wanted"),
    ],
)
def test_errors_name_the_field(section: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        seccomp.compile(section)


def test_without_libseccomp(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(linux, "_library", None)
    monkeypatch.setattr(native, "PyDLL", absent)
    with pytest.raises(NotSupported, match=r"libseccomp.so.2 cannot be opened.*install libseccomp2"):
        seccomp.compile(allow_all_but(rule("getpgid")))


# --------------------------------------------------------------------------------------------------- cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "state" / "seccomp"


SECTION = allow_all_but(rule("getpgid", errnoRet=ODD))


def test_cache_is_private_and_used(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = seccomp.compile(SECTION, str(cache))
    (file,) = cache.iterdir()
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    monkeypatch.setattr(linux, "Context", None)  # a compilation would fail now
    assert seccomp.compile(SECTION, str(cache)).program == first.program


def become_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(file.read_bytes()[:-8]),
        lambda file: file.write_bytes(file.read_bytes()[:-1] + b"\xff"),
        lambda file: file.write_bytes(b""),
        lambda file: file.chmod(0o666),
        lambda file: file.unlink() or file.symlink_to("/etc/passwd"),
        become_fifo,
    ],
    ids=["cut", "changed", "empty", "mode", "symlink", "fifo"],
)
def test_a_file_that_cannot_be_trusted_is_made_anew(cache: Path, spoil: Callable[[Path], object]) -> None:
    program = seccomp.compile(SECTION, str(cache)).program
    (file,) = cache.iterdir()
    content = file.read_bytes()
    spoil(file)
    assert seccomp.compile(SECTION, str(cache)).program == program
    assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.root
def test_a_file_of_another_owner_is_made_anew(cache: Path) -> None:
    program = seccomp.compile(SECTION, str(cache)).program
    (file,) = cache.iterdir()
    os.chown(file, 65534, 65534)
    assert seccomp.compile(SECTION, str(cache)).program == program
    assert file.stat().st_uid == os.geteuid()


def test_two_sections_with_one_checksum(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = binascii.crc32
    monkeypatch.setattr(binascii, "crc32", lambda data: 1 if data.startswith(b"mydocker") else real(data))
    other = allow_all_but(rule("getsid"))
    for section in (SECTION, other, SECTION):
        assert seccomp.compile(section, str(cache)).program == seccomp.compile(section).program
    assert len(list(cache.iterdir())) == 1


def test_a_directory_that_others_can_write_to_is_refused(cache: Path, tmp_path: Path) -> None:
    seccomp.compile(SECTION, str(cache))
    cache.chmod(0o777)
    with pytest.raises(Forbidden, match=r"seccomp cache .*drwxrwxrwx"):
        seccomp.compile(SECTION, str(cache))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Forbidden, match=r"seccomp cache .*link"):
        seccomp.compile(SECTION, str(tmp_path / "link"))


def test_the_cache_does_not_grow_for_ever(cache: Path) -> None:
    for value in range(100):
        seccomp.compile(allow_all_but(rule("getpgid", errnoRet=value)), str(cache))
    assert len(list(cache.iterdir())) <= 64
