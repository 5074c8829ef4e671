"""What a container may do if nothing is said: capabilities, system calls, paths, devices, read inside of one.

The values are those of Docker (https://docs.docker.com/engine/security/). Single system calls are made by
Python scripts, in a copy-on-write copy of this very system (``--rootfs /``).
"""

from __future__ import annotations

import json
import os
import platform
import sys
from typing import Any

import pytest

from mydocker.linux import seccomp
from support.command import Runner

pytestmark = pytest.mark.skipif(
    os.stat(os.path.realpath(sys.executable)).st_dev != os.stat("/").st_dev,
    reason="the interpreter is on another file system than /, which --rootfs / does not show",
)

PYTHON = os.path.realpath(sys.executable)
EPERM, ENOENT, EBADF, EACCES, EFAULT, EINVAL, ENOSYS, EROFS = 1, 2, 9, 13, 14, 22, 38, 30

PRELUDE = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *args):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in args))
    return ctypes.get_errno() if result == -1 else 0
def attempt(action):
    try:
        action()
    except OSError as error:
        return error.errno
    return 0
"""


def python(mydocker: Runner, script: str, *flags: str) -> Any:
    """What ``script`` assigns to ``result``, run in a container with ``flags``."""
    text = f"{PRELUDE}{script}\nprint(json.dumps(result))"
    out = mydocker("run", "--rm", "--rootfs", "/", *flags, PYTHON, "-I", "-S", "-c", text).out
    return json.loads(out)


def status(mydocker: Runner, *flags: str) -> dict[str, str]:
    text = mydocker("run", "--rm", "--rootfs", "/", *flags, "/bin/cat", "/proc/self/status").out
    return dict(line.split(":\t", 1) for line in text.splitlines())


def answers(mydocker: Runner, asked: dict[str, tuple[int, ...]], *flags: str) -> dict[str, int]:
    """errno of each of these system calls with these arguments, 0 for success."""
    numbers = {name: (seccomp.seccomp_syscall_resolve_name(name), *args) for name, args in asked.items()}
    script = f"result = {{name: call(*args) for name, args in {numbers!r}.items()}}"
    found: dict[str, int] = python(mydocker, script, *flags)
    return found


def test_status_of_process_1(mydocker: Runner) -> None:
    found = status(mydocker)
    assert found["CapEff"] == found["CapPrm"] == found["CapBnd"] == "00000000a80425fb"
    assert found["CapInh"] == found["CapAmb"] == "0000000000000000"
    assert (found["Seccomp"], found["Seccomp_filters"], found["NoNewPrivs"]) == ("2", "1", "0")


def test_status_of_an_added_process(mydocker: Runner) -> None:
    container = mydocker("run", "-d", "--rootfs", "/", "sleep", "1000").line
    text = mydocker("exec", container, "/bin/cat", "/proc/self/status").out
    found = dict(line.split(":\t", 1) for line in text.splitlines())
    assert found["CapEff"] == found["CapBnd"] == "00000000a80425fb"
    assert (found["Seccomp"], found["NoNewPrivs"]) == ("2", "0")


def test_a_user_has_no_capabilities(mydocker: Runner) -> None:
    found = status(mydocker, "-u", "1000:1000")
    assert found["CapEff"] == found["CapPrm"] == "0000000000000000"
    assert found["CapBnd"] == "00000000a80425fb"


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        (["--security-opt", "no-new-privileges"], "NoNewPrivs", "1"),
        (["--security-opt", "seccomp=unconfined"], "Seccomp", "0"),
        (["--privileged"], "Seccomp", "0"),
        (["--cap-drop", "ALL"], "CapEff", "0000000000000000"),
        (["--cap-drop", "all", "--cap-add", "chown"], "CapBnd", "0000000000000001"),
        (["--cap-add", "SYS_ADMIN"], "CapEff", "00000000a82425fb"),
        (["--cap-drop", "CAP_MKNOD", "--cap-drop", "net_raw"], "CapEff", "00000000a00405fb"),
    ],
)
def test_status_with_options(mydocker: Runner, flags: list[str], key: str, value: str) -> None:
    assert status(mydocker, *flags)[key] == value


@pytest.mark.parametrize("flag", ["--privileged", "--cap-add=ALL"])
def test_everything_is_what_this_process_has(mydocker: Runner, flag: str) -> None:
    with open("/proc/self/status") as file:
        (own,) = [line.split()[1] for line in file if line.startswith("CapBnd")]
    assert status(mydocker, flag)["CapEff"] == own


@pytest.mark.parametrize("name", ["SYS_ADM", "CAP_", ""])
def test_unknown_capability(mydocker: Runner, name: str) -> None:
    result = mydocker("run", "--rm", "--rootfs", "/", "--cap-add", name, "true", check=125)
    assert "unknown capability" in result.err
    assert mydocker.containers() == []


# Arguments that are harmless, and where the kernel's own answer is not EPERM.
FORBIDDEN: dict[str, tuple[int, ...]] = {
    "mount": (0, 0, 0, 0, 0),
    "umount2": (0, 0),
    "unshare": (0,),
    "setns": (-1, 0),
    "fsopen": (0, 0),
    "open_tree": (-1, 0, 0),
    "keyctl": (0, 0),
    "add_key": (0, 0, 0, 0, 0),
    "bpf": (0, 0, 0),
    "perf_event_open": (0, 0, -1, -1, 0),
    "userfaultfd": (-1,),
    "io_uring_setup": (0, 0),
    "kcmp": (0, 0, -1, 0, 0),
    "quotactl": (0, 0, 0, 0),
    "init_module": (0, 0, 0),
    "reboot": (0, 0, 0, 0),
    "settimeofday": (1, 0),
    "open_by_handle_at": (-1, 0, 0),
    "process_madvise": (-1, 0, 0, 0, 0),
    "move_pages": (0, 0, 0, 0, 0, -1),
}


def test_forbidden_system_calls(mydocker: Runner) -> None:
    assert answers(mydocker, FORBIDDEN) == dict.fromkeys(FORBIDDEN, EPERM)


def test_unconfined_they_are_the_kernels_to_answer(mydocker: Runner) -> None:
    """The control for the test above: it is the filter that says EPERM."""
    found = answers(mydocker, FORBIDDEN, "--security-opt", "seccomp=unconfined")
    own = {name for name, answer in found.items() if answer == EPERM}
    # What a capability guards before it looks at the arguments.
    guarded = {"mount", "umount2", "fsopen", "bpf", "quotactl", "init_module", "reboot", "open_by_handle_at"}
    assert own <= guarded | {"perf_event_open", "userfaultfd", "io_uring_setup", "settimeofday", "open_tree"}
    assert {"unshare", "setns", "keyctl", "add_key", "kcmp", "process_madvise", "move_pages"} <= set(
        found
    ) - own


def test_cap_add_opens_what_dockers_policy_opens(mydocker: Runner) -> None:
    asked = {name: FORBIDDEN[name] for name in ("mount", "unshare", "setns", "fsopen", "open_tree", "bpf")}
    opened = {
        "mount": EFAULT,
        "unshare": 0,
        "setns": EBADF,
        "fsopen": EFAULT,
        "open_tree": EFAULT,
        "bpf": EINVAL,
    }
    assert answers(mydocker, asked, "--cap-add", "SYS_ADMIN") == opened
    still = ("keyctl", "add_key", "kcmp", "init_module", "reboot", "userfaultfd", "io_uring_setup")
    found = answers(mydocker, {name: FORBIDDEN[name] for name in still}, "--cap-add", "SYS_ADMIN")
    assert found == dict.fromkeys(still, EPERM)
    ptrace = answers(mydocker, {"kcmp": (0, 0, 99, 0, 0)}, "--cap-add", "SYS_PTRACE")
    assert ptrace["kcmp"] != EPERM


def test_clone_and_clone3(mydocker: Runner) -> None:
    new_user, sigchld = 0x10000000, 17
    asked: dict[str, tuple[int, ...]] = {"clone3": (0, 0), "clone": (new_user | sigchld, 0, 0, 0, 0)}
    assert answers(mydocker, asked) == {"clone3": ENOSYS, "clone": EPERM}
    assert answers(mydocker, {"clone3": (0, 0)}, "--cap-add", "SYS_ADMIN") == {"clone3": EINVAL}


def test_a_call_that_is_newer_than_the_policy(mydocker: Runner) -> None:
    assert python(mydocker, "result = [call(2000), call(100000)]") == [ENOSYS, ENOSYS]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="personality values of x86_64")
def test_personality(mydocker: Runner) -> None:
    script = "result = {hex(p): call(135, p) for p in (0xffffffff, 0x8, 0x20008, 0x0040000, 0x0400000, 0x6)}"
    assert python(mydocker, script) == {
        "0xffffffff": 0,
        "0x8": 0,
        "0x20008": 0,
        "0x40000": EPERM,
        "0x400000": EPERM,
        "0x6": EPERM,
    }


def test_sockets(mydocker: Runner) -> None:
    script = (
        "from socket import *\n"
        "kinds = {'AF_UNIX': 1, 'AF_INET': 1, 'AF_INET6': 1, 'AF_NETLINK': 3, 'AF_VSOCK': 1, 'AF_ALG': 5}\n"
        "result = {n: attempt(lambda: socket(globals()[n], k).close()) for n, k in kinds.items()}"
    )
    found = python(mydocker, script)
    assert found.pop("AF_VSOCK") == found.pop("AF_ALG") == EPERM
    assert EPERM not in found.values()


def test_ptrace_is_allowed_on_ones_own(mydocker: Runner) -> None:
    script = """
pid = os.fork()
if pid == 0:
    libc.ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), 19)
    os._exit(3)
result = os.WIFSTOPPED(os.waitpid(pid, 0)[1])
os.kill(pid, 9)
"""
    assert python(mydocker, script) is True


def test_a_profile_from_a_file(mydocker: Runner, tmp_path: Any) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77},
            {"name": "getsid", "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        ],
    }
    (tmp_path / "profile.json").write_text(json.dumps(profile))
    option = ("--security-opt", f"seccomp={tmp_path}/profile.json")
    asked: dict[str, tuple[int, ...]] = {"getpgid": (0,), "getsid": (0,), "unshare": (0,)}
    assert answers(mydocker, asked, *option) == {"getpgid": 77, "getsid": EPERM, "unshare": 0}
    assert answers(mydocker, asked, *option, "--cap-add", "SYS_ADMIN")["getsid"] == 0
    assert answers(mydocker, asked, *option, "--privileged")["getpgid"] == 77


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "seccomp profile"),
        ('{"defaultAction": "KILL"}', "defaultAction: unknown value 'KILL'"),
        ('{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["x"]}]}', "syscalls[0].action"),
    ],
)
def test_a_profile_that_is_wrong(mydocker: Runner, tmp_path: Any, text: str, message: str) -> None:
    (tmp_path / "profile.json").write_text(text)
    option = f"seccomp={tmp_path}/profile.json"
    result = mydocker("run", "--rootfs", "/", "--security-opt", option, "true", check=125)
    assert message in result.err
    assert mydocker.containers() == []


def test_a_profile_that_is_not_there(mydocker: Runner) -> None:
    result = mydocker("run", "--rootfs", "/", "--security-opt", "seccomp=/no/such", "true", check=125)
    assert "/no/such" in result.err


def test_masked_and_readonly_paths(mydocker: Runner) -> None:
    script = """
masked = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/sys/firmware", "/proc/acpi"]
def content(path):
    if os.path.isdir(path):
        return os.listdir(path)
    with open(path) as file:
        return file.read()
shown = {path: content(path) for path in masked if os.path.lexists(path)}
writes = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/profiling", "/proc/irq/x"]
written = {path: attempt(lambda: os.open(path, os.O_WRONLY | os.O_CREAT)) for path in writes}
result = [shown, written]
"""
    shown, written = python(mydocker, script)
    assert "/proc/keys" in shown
    assert not any(shown.values())
    assert set(written.values()) <= {EROFS, EACCES, ENOENT}
    assert written["/proc/sys/kernel/core_pattern"] == EROFS


def test_devices(mydocker: Runner) -> None:
    script = """
def opened(kind, major, minor):
    if os.path.lexists("/probe"):
        os.unlink("/probe")
    os.mknod("/probe", kind | 0o600, os.makedev(major, minor))
    return attempt(lambda: os.close(os.open("/probe", os.O_RDONLY | os.O_NONBLOCK)))
from stat import S_IFBLK as block, S_IFCHR as char
result = {
    "null": opened(char, 1, 3), "mem": opened(char, 1, 1), "kmsg": opened(char, 1, 11),
    "fuse": opened(char, 10, 229), "disk": opened(block, 254, 0), "ram": opened(block, 1, 0),
    "nodes": sorted(os.listdir("/dev")),
}
"""
    found = python(mydocker, script)
    nodes = found.pop("nodes")
    assert found == {"null": 0, "mem": EPERM, "kmsg": EPERM, "fuse": EPERM, "disk": EPERM, "ram": EPERM}
    usual = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    # Docker's /dev/core is there where the kernel has /proc/kcore.
    assert nodes == ["core"] * os.path.exists("/proc/kcore") + usual.split()
