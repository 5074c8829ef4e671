"""Who the process is: users, capabilities, limits, seccomp, descriptors; read back from /proc/self."""

from __future__ import annotations

import os
import resource
import signal
from typing import Any

import pytest

from mydocker.errors import InvalidArgument, NotFound, NotSupported
from mydocker.linux import capability
from mydocker.linux.syscall import syscall
from mydocker.runtime.rootfs import Overlay
from support import bundle

STATUS = "cat /proc/self/status"


def status(result: bundle.Result) -> dict[str, str]:
    assert result.code == 0, result.err
    return bundle.status(result.out)


def mask(*names: str) -> str:
    return f"{capability.mask(names):016x}"


def test_the_five_capability_sets(busybox_rootfs: str) -> None:
    sets = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"],
        "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }
    # Not root, whose sets execve would fill up from the bounding set.
    process = {"capabilities": sets, "user": {"uid": 1000, "gid": 1000}}
    found = status(
        bundle.run_document(bundle.document(busybox_rootfs, ["cat", "/proc/self/status"], process=process))
    )
    assert found["CapBnd"] == mask("CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_NET_RAW")
    assert found["CapInh"] == mask("CAP_KILL")
    assert found["CapAmb"] == mask("CAP_KILL")
    assert found["CapPrm"] == found["CapEff"] == mask("CAP_KILL")  # what execve leaves: the ambient ones


def test_root_has_the_bounding_set_and_no_more(busybox_rootfs: str) -> None:
    found = status(bundle.run(busybox_rootfs, STATUS))
    assert found["CapBnd"] == found["CapPrm"] == found["CapEff"] == mask(*bundle.CAPABILITIES)
    assert found["CapAmb"] == found["CapInh"] == mask()


def test_no_capabilities_in_the_document_are_none(busybox_rootfs: str) -> None:
    spec = bundle.document(busybox_rootfs, ["cat", "/proc/self/status"])
    del spec["process"]["capabilities"]
    found = status(bundle.run_document(spec))
    assert found["CapBnd"] == found["CapEff"] == mask()


def test_unknown_capabilities_are_warned_about(busybox_rootfs: str) -> None:
    process = {"capabilities": {"bounding": ["CAP_CHOWN", "CAP_FLY"]}}
    result = bundle.run(busybox_rootfs, STATUS, process=process)
    assert status(result)["CapBnd"] == mask("CAP_CHOWN")
    assert any("CAP_FLY" in warning for warning in result.warnings)


@pytest.mark.parametrize("value", [True, False])
def test_no_new_privileges(busybox_rootfs: str, value: bool) -> None:
    found = status(bundle.run(busybox_rootfs, STATUS, process={"noNewPrivileges": value}))
    assert found["NoNewPrivs"] == str(int(value))


@pytest.mark.parametrize("no_new_privileges", [True, False])
@pytest.mark.parametrize("uid", [0, 1000])
def test_the_filter_is_loaded_and_no_capability_stays_for_it(
    busybox_rootfs: str, no_new_privileges: bool, uid: int
) -> None:
    seccomp = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }
    result = bundle.run(
        busybox_rootfs,
        f"{STATUS}; mkdir /tmp/x",
        process={"noNewPrivileges": no_new_privileges, "user": {"uid": uid, "gid": uid}},
        linux={"seccomp": seccomp},
    )
    found = bundle.status(result.out)
    assert found["Seccomp"] == "2"
    assert "not supported" in result.err.lower()
    assert found["CapBnd"] == mask(*bundle.CAPABILITIES)
    assert int(found["CapPrm"], 16) & 1 << capability.CAP_SYS_ADMIN == 0


def test_a_filter_that_allows_only_what_the_program_needs(busybox_rootfs: str) -> None:
    """Nothing of ours between the filter and execve may need more than capset."""
    names = (
        "execve capset write exit_group brk mmap munmap mprotect arch_prctl set_tid_address prctl uname "
        "readlink readlinkat getuid getrandom newfstatat fstat open openat read close getcwd rseq "
        "set_robust_list prlimit64 rt_sigaction rt_sigprocmask getpid getppid getpgrp geteuid"
    )
    seccomp = {
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names.split(), "action": "SCMP_ACT_ALLOW"}],
    }
    spec = bundle.document(busybox_rootfs, ["echo", "fine"], linux={"seccomp": seccomp})
    result = bundle.run_document(spec)
    assert (result.code, result.out) == (0, "fine\n"), result.err


USERS = [
    ({"uid": 5, "gid": 6}, "5 6 6", "/"),
    ({"uid": 1000, "gid": 1000}, "1000 1000 1000", "/home/alice"),
    ({"uid": 5, "gid": 6, "additionalGids": [7, 8]}, "5 6 6 7 8", "/"),
    ({"username": "alice"}, "1000 1000 1000 10 29", "/home/alice"),
    ({"username": "1000"}, "1000 1000 1000 10 29", "/home/alice"),
    ({"username": "alice:audio"}, "1000 29 29", "/home/alice"),
    ({"username": "alice:77"}, "1000 77 77", "/home/alice"),
    ({"username": "4242"}, "4242 0 0", "/"),
    ({"username": "4242:wheel", "additionalGroupNames": ["audio", "99"]}, "4242 10 10 29 99", "/"),
    ({"username": ":wheel"}, "0 10 10", "/root"),
]


@pytest.mark.parametrize(("user", "ids", "home"), USERS)
def test_users_and_groups(busybox_rootfs: str, user: dict[str, Any], ids: str, home: str) -> None:
    spec = bundle.document(busybox_rootfs, ["sh", "-c", "id -u; id -g; id -G; echo $HOME"])
    spec["process"]["user"] = user
    result = bundle.run_document(spec)
    assert result.code == 0, result.err
    uid, gid, groups, found_home = result.lines
    assert " ".join([uid, gid, *sorted(groups.split(), key=int)]) == " ".join(
        [*ids.split()[:2], *sorted(set(ids.split()[2:]), key=int)]
    )
    assert found_home == home


@pytest.mark.parametrize(
    ("user", "text"),
    [
        ({"username": "nobodyhere"}, "unable to find user nobodyhere: no matching entries in passwd file"),
        ({"username": "alice:nogroup"}, "unable to find group nogroup: no matching entries in group file"),
        (
            {"uid": 0, "additionalGroupNames": ["xyz"]},
            "unable to find group xyz: no matching entries in group file",
        ),
    ],
)
def test_names_that_the_container_does_not_know(busybox_rootfs: str, user: dict[str, Any], text: str) -> None:
    with pytest.raises(NotFound, match=text):
        bundle.run(busybox_rootfs, "true", process={"user": user})


def test_an_id_out_of_range(busybox_rootfs: str) -> None:
    with pytest.raises(InvalidArgument, match="uids and gids must be in range 0-2147483647"):
        bundle.run(busybox_rootfs, "true", process={"user": {"username": "4294967295"}})


def test_umask_and_environment(busybox_rootfs: str) -> None:
    process = {
        "user": {"uid": 0, "gid": 0, "umask": 0o027},
        "env": ["PATH=/bin", "A=b c", "A=d", "EMPTY=", "E=q=r"],
    }
    result = bundle.run(busybox_rootfs, "umask; env | sort", process=process)
    assert result.lines[0] == "0027"
    assert [line for line in result.lines[1:] if not line.startswith(("PWD", "SHLVL", "_"))] == [
        "A=d",
        "E=q=r",
        "EMPTY=",
        "HOME=/root",
        "PATH=/bin",
    ]


def test_the_working_directory_is_made(busybox_rootfs: str, tmp_path: Any) -> None:
    upper, work, target = (str(tmp_path / name) for name in ("upper", "work", "target"))
    for path in (upper, work, target):
        os.mkdir(path)
    spec = bundle.document(busybox_rootfs, ["sh", "-c", "pwd; stat -c %a:%u ."], process={"cwd": "/a/b/../c"})
    result = bundle.run_document(spec, rootfs=Overlay([busybox_rootfs], upper, work, target))
    assert result.lines == ["/a/c", "755:0"], result.err


def test_resource_limits(busybox_rootfs: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 2**64 - 1},
    ]
    result = bundle.run(busybox_rootfs, "cat /proc/self/limits", process={"rlimits": limits})
    found = {line[:26].strip(): line[26:].split()[:2] for line in result.lines}
    assert found["Max open files"] == ["100", "200"]
    assert found["Max core file size"] == ["0", "unlimited"]
    assert hard >= 200


def test_a_hard_limit_above_ours_is_clamped_with_a_warning(busybox_rootfs: str) -> None:
    if capability.status()["CapEff"] >> capability.CAP_SYS_RESOURCE & 1:
        pytest.skip("this process has CAP_SYS_RESOURCE, so that the kernel refuses it nothing")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]
    result = bundle.run(busybox_rootfs, "ulimit -n", process={"rlimits": limits})
    assert result.lines == [str(hard)]
    assert any("RLIMIT_NOFILE" in warning and "CAP_SYS_RESOURCE" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ([{"type": "RLIMIT_MOON", "soft": 1, "hard": 1}], "no such resource limit: RLIMIT_MOON"),
        ([{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}], "above the hard"),
        ([{"type": "RLIMIT_NOFILE", "soft": 1, "hard": 1}] * 2, "given twice"),
    ],
)
def test_bad_resource_limits(busybox_rootfs: str, limits: list[dict[str, Any]], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        bundle.run(busybox_rootfs, "true", process={"rlimits": limits})


def test_the_oom_score(busybox_rootfs: str) -> None:
    result = bundle.run(busybox_rootfs, "cat /proc/self/oom_score_adj", process={"oomScoreAdj": 321})
    assert result.lines == ["321"]


def test_an_oom_score_that_may_not_be_lowered_is_kept_with_a_warning(busybox_rootfs: str) -> None:
    result = bundle.run(busybox_rootfs, "cat /proc/self/oom_score_adj", process={"oomScoreAdj": -500})
    if result.warnings:
        assert "CAP_SYS_RESOURCE" in result.warnings[0]
        with open("/proc/self/oom_score_adj") as file:
            assert result.lines == file.read().split()
    else:
        assert result.lines == ["-500"]


def test_personality_scheduling_and_io_priority(busybox_rootfs: str) -> None:
    result = bundle.run(
        busybox_rootfs,
        "uname -m; cat /proc/self/personality; ionice -p $$; awk '{print $19, $41}' /proc/self/stat",
        process={
            "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
            "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6},
        },
        linux={"personality": {"domain": "LINUX32"}},
    )
    assert result.lines[1] == "00000008"
    assert "best-effort: prio 6" in result.out
    assert result.lines[-1] == "5 3"  # nice, SCHED_BATCH


def test_only_the_standard_streams_enter(busybox_rootfs: str, tmp_path: Any) -> None:
    kept = os.open(str(tmp_path), os.O_RDONLY)
    os.set_inheritable(kept, True)
    try:
        result = bundle.run(busybox_rootfs, "ls /proc/$$/fd; true")
        with bundle.running(busybox_rootfs) as task:
            added = bundle.added(task, "ls /proc/$$/fd; true")
    finally:
        os.close(kept)
    assert result.out.split() == ["0", "1", "2"]
    assert added.out.split() == ["0", "1", "2"]


def test_signals_are_as_a_new_process_has_them(busybox_rootfs: str) -> None:
    """Also those that libc keeps for itself, which whoever started us may have ignored."""
    ignore, default = (handler.to_bytes(32, "little") for handler in (signal.SIG_IGN, signal.SIG_DFL))
    spec = bundle.document(busybox_rootfs, ["cat", "/proc/self/status"])
    syscall("rt_sigaction", 32, ignore, None, 8)
    try:
        found = status(bundle.run_document(spec))
    finally:
        syscall("rt_sigaction", 32, default, None, 8)
    assert found["SigIgn"] == found["SigBlk"] == f"{0:016x}"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"linux": {"intelRdt": {"closID": "x"}}}, "intelRdt"),
        ({"linux": {"mountLabel": "system_u:object_r:x"}}, "mountLabel"),
        ({"process": {"selinuxLabel": "x"}}, "SELinux"),
    ],
)
def test_what_is_not_there_is_refused(busybox_rootfs: str, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(NotSupported, match=text):
        bundle.run(busybox_rootfs, "true", **changes)
