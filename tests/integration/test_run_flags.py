"""Every flag of ``mydocker run``, read back from the kernel.

The table: the container says what it sees (its /proc, its mounts, its system calls). What fits no table has
a test of its own, here or in ``test_run_limits``, ``test_run_namespaces`` or ``test_run_process``.
``test_no_flag_without_a_test`` compares ``mydocker run --help`` with these tests and those beside them.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import probe
from support.command import Runner

# Bounding set of a default container: the 14 capabilities of Docker's default, as bits of capability.h.
DEFAULT_CAPABILITIES = 0x00000000A80425FB
CAP_CHOWN, CAP_NET_RAW, CAP_SYS_TIME = 1 << 0, 1 << 13, 1 << 25


def own_capabilities() -> int:
    """What this session has itself, which is the most that a container can get."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapBnd:"))


ALL_CAPABILITIES = own_capabilities()


def status(field: str) -> str:
    """Shell that prints one field of /proc/self/status."""
    return f"awk '$1 == \"{field}:\" {{ print $2 }}' /proc/self/status"


def mounted(place: str, columns: str = "$4") -> str:
    """Shell that prints columns of the last line of /proc/mounts for a place (by default its options)."""
    return f"awk '$2 == \"{place}\" {{ found = {columns} }} END {{ print found }}' /proc/mounts"


def namespace(kind: str) -> str:
    return f"readlink /proc/self/ns/{kind}"


@dataclass(frozen=True)
class Seen:
    """``flags`` make ``script`` (run by sh inside) print something that matches ``pattern`` entirely."""

    flags: tuple[str, ...]
    script: str
    pattern: str

    def __str__(self) -> str:
        return " ".join(self.flags) or "no flags"


def seen(flags: str, script: str, pattern: str) -> Seen:
    return Seen(tuple(flags.split()), script, pattern)


INSIDE = [
    seen("", "echo $$; ls /proc | grep -c '^[0-9]'", r"1\n\d"),
    seen("-e A=one -e B=two=2 -e C=", "echo $A $B; env | grep ^C=", "one two=2\nC="),
    seen("--env A=one", "echo $A", "one"),
    seen("-w /made/here", "pwd", "/made/here"),
    seen("--workdir /tmp", "pwd", "/tmp"),
    seen("-u 1234:4321", "id -u; id -g; id -G", "1234\n4321\n4321"),
    seen("-u alice", "id -u; id -g; id -G; echo $HOME", "1000\n1000\n1000 10 29\n/home/alice"),
    seen("--user alice:audio", "id -u; id -g", "1000\n29"),
    seen("--user alice", status("CapEff"), "0+"),
    seen("-h box", "hostname; cat /etc/hostname; cat /proc/sys/kernel/hostname", "box\nbox\nbox"),
    seen("--hostname box --domainname example.org", "cat /proc/sys/kernel/domainname", "example.org"),
    seen("--add-host db:10.1.2.3", "grep -w db /etc/hosts", r"10\.1\.2\.3\s+db"),
    seen("--init", "echo $$; cat /proc/1/comm", "[2-9]\nmydocker-init"),
    seen("--read-only", "touch /x 2>&1; " + mounted("/"), r".*Read-only file system\nro(,.*)?"),
    seen("--read-only --tmpfs /tmp", "echo fine > /tmp/x; cat /tmp/x", "fine"),
    seen(
        "--tmpfs /scratch:size=1m,mode=700,uid=1000",
        mounted("/scratch", '$3 " " $4'),
        "tmpfs rw,(?=.*nosuid)(?=.*nodev)(?=.*noexec)(?=.*size=1024k)(?=.*mode=700)(?=.*uid=1000).*",
    ),
    seen(
        "--mount type=tmpfs,target=/t,tmpfs-size=2m,tmpfs-mode=0750",
        mounted("/t"),
        "(?=.*size=2048k).*mode=750.*",
    ),
    seen("", status("CapBnd"), f"0*{DEFAULT_CAPABILITIES:x}"),
    seen("--cap-add SYS_TIME", status("CapBnd"), f"0*{DEFAULT_CAPABILITIES | CAP_SYS_TIME:x}"),
    seen("--cap-drop CAP_CHOWN", status("CapEff"), f"0*{DEFAULT_CAPABILITIES & ~CAP_CHOWN:x}"),
    seen("--cap-drop ALL --cap-add net_raw", status("CapPrm"), f"0*{CAP_NET_RAW:x}"),
    seen("--cap-add ALL", status("CapBnd"), f"0*{ALL_CAPABILITIES:x}"),
    seen("", status("CapInh") + ";" + status("CapAmb"), "0+\n0+"),
    seen("--privileged", status("CapEff") + ";" + status("Seccomp"), f"0*{ALL_CAPABILITIES:x}\n0"),
    seen("--privileged", "test -w /proc/sys && " + mounted("/sys"), "rw,.*"),
    seen("", mounted("/sys") + ";" + mounted("/proc/sys"), "ro,.*\nro,.*"),
    seen("", status("Seccomp") + ";" + status("NoNewPrivs"), "2\n0"),
    seen("--security-opt no-new-privileges", status("NoNewPrivs"), "1"),
    seen("--security-opt no-new-privileges=1", status("NoNewPrivs"), "1"),
    seen("--security-opt no-new-privileges:f", status("NoNewPrivs"), "0"),
    seen("--security-opt apparmor=unconfined --security-opt label=disable", status("NoNewPrivs"), "0"),
    seen("--security-opt seccomp=unconfined", status("Seccomp"), "0"),
    seen("--ulimit nofile=100:200", "ulimit -Sn; ulimit -Hn", "100\n200"),
    seen("--ulimit core=0", "grep 'core file size' /proc/self/limits | awk '{ print $5, $6 }'", "0 0"),
    seen("--sysctl net.ipv4.ip_forward=1", "cat /proc/sys/net/ipv4/ip_forward", "1"),
    seen("--sysctl kernel.msgmax=12345", "cat /proc/sys/kernel/msgmax", "12345"),
    seen("--shm-size 1m", mounted("/dev/shm"), "(?=.*nosuid)(?=.*nodev)(?=.*noexec).*size=1024k.*"),
    seen("", mounted("/dev/shm"), ".*size=65536k.*"),
    seen("", "id -G", "0 10"),
    seen("--group-add audio --group-add 777 --group-add wheel", "id -G", "0 10 29 777"),
    seen("-h own --domainname example.com", "cat /etc/hostname; hostname", "own\nown"),
    seen("-u alice --group-add audio", "grep Groups /proc/self/status", r"Groups:\s10 29 1000\s*"),
    seen("-u 1000:1000 --group-add wheel", "id -G", r"1000 10( 29)?"),
    seen("--tmpfs /not/there", "stat -c %a /not /not/there", "755\n1777"),
    seen("--mount type=tmpfs,target=/there", "stat -c %a /there", "1777"),
    seen("--oom-score-adj 321", "cat /proc/self/oom_score_adj", "321"),
    seen("--device /dev/null:/dev/renamed:r", "stat -c %t:%T /dev/renamed; cat /dev/renamed", "1:3"),
    seen("--device /dev/full", "stat -c %t:%T /dev/full", "1:7"),
    seen("--network none", "ls /sys/class/net", "lo"),
    seen("--net none", "ls /sys/class/net", "lo"),
    seen("", "ls /sys/class/net", "eth0\nlo"),
    seen("--entrypoint /bin/echo", "unused", "-c unused"),
]  # fmt: skip


@pytest.mark.parametrize("case", INSIDE, ids=str)
def test_seen_from_inside(mydocker: Runner, image: str, case: Seen) -> None:
    command = ["-c", case.script] if "--entrypoint" in case.flags else ["sh", "-c", case.script]
    found = mydocker("run", "--rm", *case.flags, image, *command).line
    assert re.fullmatch(case.pattern, found, re.DOTALL), found


def test_interactive(mydocker: Runner, image: str) -> None:
    for flag in ("-i", "--interactive"):
        found = mydocker("run", flag, "--rm", image, "cat", stdin=b"through\0and\xff").stdout
        assert found == b"through\0and\xff"
    assert mydocker("run", "--rm", image, "cat", stdin=b"not attached").stdout == b""


def test_attach_some_streams(mydocker: Runner, image: str) -> None:
    script = "echo out; echo error >&2; cat"
    result = mydocker("run", "--rm", "-a", "stderr", image, "sh", "-c", script)
    assert (result.out, result.err) == ("", "error\n")
    result = mydocker(
        "run", "--rm", "--attach=stdin", "--attach=stdout", "-i", image, "cat", stdin=b"through"
    )
    assert result.out == "through"


def test_tty(mydocker: Runner, image: str) -> None:
    result = mydocker(
        "run", "--tty", "--rm", image, "sh", "-c", "tty; test -t 1 && stat -c %t:%T /dev/console"
    )
    assert result.stdout.replace(b"\r", b"").decode().split()[0] in ("/dev/pts/0", "/dev/console")
    assert b"\r\n" in result.stdout


def test_detach_name_label_and_annotation(mydocker: Runner, image: str, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.write_text("from=file\n")
    container = mydocker(
        *("run", "--detach", "--name", "flags-named", "-l", "a=1", "--label", "b", "--annotation", "c=3"),
        *("--label-file", str(labels), "--expose", "80", "--expose", "53/udp", image, "sleep", "1000"),
    ).line
    assert re.fullmatch("[0-9a-f]{64}", container)
    found = mydocker.inspect("flags-named")
    assert (found["Id"], found["Name"], found["State"]["Running"]) == (container, "/flags-named", True)
    assert found["Config"]["Labels"] == {"a": "1", "b": "", "from": "file"}
    assert set(found["Config"]["ExposedPorts"]) == {"80/tcp", "53/udp"}
    assert found["HostConfig"]["Annotations"] == {"c": "3"}
    assert Path(f"/proc/{found['State']['Pid']}/cmdline").read_bytes() == b"sleep\x001000\0"


def test_rm(mydocker: Runner, image: str) -> None:
    before = mydocker.containers()
    mydocker("run", "--rm", image, "true")
    assert mydocker.containers() == before
    mydocker("run", "--name", "flags-kept", image, "true")
    assert len(mydocker.containers()) == len(before) + 1
    mydocker("rm", "flags-kept")
    assert mydocker.containers() == before


def test_env_file(mydocker: Runner, image: str, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# a comment\n\nONE=1 with spaces \nFROM_CALLER\nNOT_SET_ANYWHERE\n")
    found = mydocker(
        *("run", "--rm", "--env-file", str(file), "-e", "TWO=2", image, "env"), env={"FROM_CALLER": "yes"}
    ).out.splitlines()
    assert {"ONE=1 with spaces ", "FROM_CALLER=yes", "TWO=2"} <= set(found)
    assert not any(line.startswith("NOT_SET_ANYWHERE") for line in found)


def test_env_is_the_containers_own(mydocker: Runner, image: str) -> None:
    found = mydocker("run", "--rm", image, "env", env={"OUTSIDE": "no"}).out
    names = {line.partition("=")[0] for line in found.splitlines()}
    assert names == {"PATH", "HOSTNAME", "HOME"}


def test_volume_bind(mydocker: Runner, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("outside\n")
    script = "cat /in/file; echo inside > /in/other"
    assert mydocker("run", "--rm", "-v", f"{tmp_path}:/in", image, "sh", "-c", script).line == "outside"
    assert (tmp_path / "other").read_text() == "inside\n"
    refused = mydocker("run", "--rm", "--volume", f"{tmp_path}:/in:ro", image, "touch", "/in/x", check=1)
    assert "Read-only file system" in refused.err
    assert not (tmp_path / "x").exists()


def test_volume_anonymous(mydocker: Runner, image: str) -> None:
    assert (
        mydocker("run", "--rm", "-v", "/data", image, "sh", "-c", mounted("/data", '"found"')).line == "found"
    )


def test_mount_bind(mydocker: Runner, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("outside\n")
    mount = f"type=bind,source={tmp_path},target=/in,readonly"
    found = mydocker(
        "run", "--rm", "--mount", mount, image, "sh", "-c", f"cat /in/file; {mounted('/in')}"
    ).out
    assert re.fullmatch(r"outside\nro(,.*)?\n", found)
    missing = f"type=bind,source={tmp_path}/absent,target=/in"
    refused = mydocker("run", "--rm", "--mount", missing, image, "true", check=125)
    assert f"{tmp_path}/absent" in refused.err
    assert not (tmp_path / "absent").exists()


def test_seccomp_profile_from_a_file(mydocker: Runner, image: str, tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    names = ["mkdir", "mkdirat"]
    rule = {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 95}
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    script = "mkdir /tmp/x 2>&1; " + status("Seccomp")
    found = mydocker("run", "--rm", "--security-opt", f"seccomp={file}", image, "sh", "-c", script).line
    assert found.endswith("\n2")
    assert re.search("(not supported|Not supported|Operation not supported)", found)


def test_explain(mydocker: Runner, image: str) -> None:
    """What --explain prints is what the kernel says: the namespace numbers are those of the container."""
    kinds = ["mnt", "pid", "uts", "ipc", "net"]
    script = "; ".join(namespace(kind) for kind in kinds)
    result = mydocker("run", "--rm", "--explain", "-m", "64m", image, "sh", "-c", script)
    told = result.err
    for line in result.out.splitlines():
        assert re.search(r"\[\d+\]", line)
        assert line in told or line.split("[")[1].rstrip("]") in told, (line, told)
    for word in (
        "overlay",
        "memory.limit_in_bytes" if probe.cgroup_of("memory") else "memory.max",
        "seccomp",
    ):
        assert word in told, (word, told)
    assert str(64 << 20) in told


def test_rootfs_is_copied_on_write(mydocker: Runner, busybox_rootfs: str) -> None:
    script = "echo changed > /etc/passwd; cat /etc/passwd"
    assert mydocker("run", "--rm", "--rootfs", busybox_rootfs, "sh", "-c", script).line == "changed"
    assert Path(busybox_rootfs, "etc/passwd").read_text().startswith("root:")


def test_rootfs_of_the_host_itself(mydocker: Runner) -> None:
    script = "echo $$; cat /etc/debian_version 2>/dev/null | wc -l; touch /only-in-the-copy"
    found = mydocker("run", "--rm", "--rootfs", "/", "sh", "-c", script).out.split()
    assert found[0] == "1"
    assert not os.path.exists("/only-in-the-copy")


ELSEWHERE = {"--help"}


def test_no_flag_without_a_test(mydocker: Runner) -> None:
    """The help names every flag; these files must too."""
    told = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", mydocker("run", "--help").out))
    here = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    untested = {flag for flag in told - ELSEWHERE if not re.search(rf"{flag}(?![\w-])", here)}
    assert len(told) > 40
    assert untested == set()


def test_quoting_survives(mydocker: Runner, image: str) -> None:
    """argv is a list from the shell to execve."""
    words = ["", "two words", "a'b\"c", "$HOME", "new\nline", "*", "-x", "caf\u00e9", "--"]
    script = 'for word in "$@"; do printf "%s|" "$word"; done'
    done = subprocess.run(
        [os.fsencode(word) for word in mydocker.argv("run", "--rm", image, "sh", "-c", script, "sh", *words)],
        capture_output=True,
        check=True,
        env=mydocker.env(),
        stdin=subprocess.DEVNULL,
    )
    assert done.stdout == b"".join(os.fsencode(word) + b"|" for word in words)


def test_device_nodes_of_a_default_container(mydocker: Runner, image: str) -> None:
    _, pid = mydocker.start(image)
    expected = {
        "null": (1, 3),
        "zero": (1, 5),
        "full": (1, 7),
        "random": (1, 8),
        "urandom": (1, 9),
        "tty": (5, 0),
    }
    for name, number in expected.items():
        found = os.stat(f"/proc/{pid}/root/dev/{name}")
        assert stat.S_ISCHR(found.st_mode)
        assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == number
        assert stat.S_IMODE(found.st_mode) == 0o666


def test_an_oom_score_that_may_not_be_lowered_is_refused(mydocker: Runner, image: str) -> None:
    found = mydocker(
        "run", "--rm", "--oom-score-adj", "-500", image, "cat", "/proc/self/oom_score_adj", check=False
    )
    if found.code == 0:
        assert found.line == "-500"
    else:
        assert (found.code, found.out) == (125, "")
        assert "OOM score adjustment -500 is below" in found.err
        assert "CAP_SYS_RESOURCE" in found.err
