"""What hides or protects a part of /proc and /sys is what it should be, whatever the image or a volume says.

CVE-2025-31133: the /dev/null that covers a masked path was the container's own, and could be a link to
something else, which was then bound there, writable. CVE-2025-52565: the same with /dev/console and the
terminal.
CVE-2025-52881: writes to /proc (labels, sysctl) went to another file, by way of a mount over it; see also
unit/runtime/test_write_proc.py.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pexpect
import pytest

from support import command
from support.command import Runner

TRAP = "kernel's own business"


@pytest.fixture
def root(busybox_rootfs: str, tmp_path: Path) -> Path:
    copy = tmp_path / "root"
    subprocess.run(["cp", "-a", busybox_rootfs, copy], check=True)
    (copy / "trap").write_text(f"{TRAP}\n")
    return copy


def dev_with_links(directory: Path, trap: Path, *names: str) -> Path:
    """A directory to be mounted on /dev, in which these are links to a file of the host."""
    directory.mkdir()
    trap.write_text("the host's\n")
    for name in names:
        (directory / name).symlink_to(trap)
    for name in ("pts", "shm", "mqueue"):
        (directory / name).mkdir()
    return directory


COVERED = "/proc/keys /proc/timer_list /proc/kcore /proc/interrupts"
MASKED = f"for f in {COVERED}; do [ -e $f ] && stat -c '%t:%T' $f; done"


@pytest.mark.both_ways
@pytest.mark.parametrize("name", ["null", "console", "zero", "ptmx"])
def test_an_image_with_links_for_devices(mydocker: Runner, root: Path, name: str) -> None:
    (root / "dev" / name).symlink_to("/trap")
    script = f"{MASKED}; cat /proc/keys; cat /trap; stat -c %F /dev/null"
    out = mydocker("run", "--rm", "--rootfs", str(root), "sh", "-c", script).out.splitlines()
    assert out[-2:] == [TRAP, "character special file"]
    assert set(out[:-2]) == {"1:3"}


@pytest.mark.parametrize("flags", [[], ["-t"]], ids=["plain", "terminal"])
def test_a_volume_on_dev_with_links_for_devices(
    mydocker: Runner, root: Path, tmp_path: Path, flags: list[str]
) -> None:
    """Whoever fills that volume may exchange its files at any time, so they are never what covers a path."""
    names = ["null", "console", "tty", "ptmx"]
    dev = dev_with_links(tmp_path / "dev", tmp_path / "trap", *names)
    script = f"{MASKED}; cat {COVERED}; true"
    arguments = ["run", "--rm", *flags, "-v", f"{dev}:/dev", "--rootfs", str(root), "sh", "-c", script]
    result = mydocker(*arguments, check=125 if flags else 0)
    if flags:
        assert "/dev/pts/ptmx" in result.err  # as in Docker, nothing is mounted below a /dev of one's own
    else:
        assert set(result.out.split()) == {"1:3"}
    assert sorted(os.listdir(dev)) == sorted([*names, "pts", "shm", "mqueue"])
    assert (tmp_path / "trap").read_text() == "the host's\n"


def test_the_console_is_the_terminal(mydocker: Runner, root: Path) -> None:
    (root / "dev" / "console").symlink_to("/trap")
    script = "stat -c '%t %T' /dev/console $(tty); cat /trap; grep -c ' /dev/console ' /proc/mounts"
    child = pexpect.spawn(
        mydocker.program,
        mydocker.argv("run", "--rm", "-it", "--rootfs", str(root), "sh", "-c", script)[1:],
        env=mydocker.env(),
        timeout=30,
        encoding="utf-8",
    )
    child.expect(pexpect.EOF)
    child.close()
    lines = str(child.before).split("\r\n")
    assert lines[0] == lines[1]
    assert lines[0].startswith("88 ")
    assert lines[2:4] == [TRAP, "1"]


@pytest.mark.parametrize("kind", ["link", "missing", "file"])
def test_the_console_of_a_bundle(busybox_rootfs: str, tmp_path: Path, kind: str) -> None:
    """Where /dev is a directory of the root file system, the link in it is refused and not followed."""
    root = tmp_path / "rootfs"
    subprocess.run(["cp", "-a", busybox_rootfs, root], check=True)
    (root / "trap").write_text(f"{TRAP}\n")
    if kind == "link":
        (root / "dev/console").symlink_to("/trap")
    elif kind == "file":
        (root / "dev/console").write_text("")
    script = "stat -c '%t' /dev/console; cat /trap"
    document = {
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {"terminal": True, "cwd": "/", "env": ["PATH=/bin"], "args": ["sh", "-c", script]},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["ptmxmode=0666"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("mount", "pid", "uts", "ipc")]},
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    state, bundle = str(tmp_path / "state"), str(tmp_path)
    arguments = ["--root", state, "run", "--bundle", bundle, f"console-{kind}-{os.getpid()}"]
    child = pexpect.spawn(command.installed("mydocker-runtime"), arguments, timeout=30, encoding="utf-8")
    child.expect(pexpect.EOF)
    child.close()
    shown = str(child.before)
    if kind == "link":
        assert "/dev/console of the container is a symbolic link" in shown
    else:
        assert shown.replace("\0", "").split("\r\n")[:2] == ["88", TRAP]
    assert (root / "trap").read_text() == f"{TRAP}\n"


@pytest.mark.both_ways
def test_the_cover_gives_no_hold_on_the_hosts_devices(mydocker: Runner, image: str) -> None:
    """What covers a file is the host's /dev/null: to be written to, but its mode is not the container's."""
    before = os.stat("/dev/null")
    script = (
        "chmod 600 /proc/keys; chown 1 /proc/keys; touch -d @0 /proc/keys; echo > /proc/keys && echo written"
    )
    result = mydocker("run", "--rm", "--cap-add", "ALL", image, "sh", "-c", script, check=False)
    after = os.stat("/dev/null")
    os.chmod("/dev/null", stat.S_IMODE(before.st_mode))
    os.chown("/dev/null", before.st_uid, before.st_gid)
    assert (after.st_mode, after.st_uid, after.st_mtime) == (before.st_mode, before.st_uid, before.st_mtime)
    assert result.err.count("Read-only file system") == 3
    assert result.line == "written"


@pytest.mark.parametrize(
    "flags",
    [
        ["--tmpfs", "/proc"],
        ["--tmpfs", "/proc/sys"],
        ["--tmpfs", "/proc/self/attr"],
        ["--tmpfs", "/lnk/sys"],
        ["-v", "/usr:/proc"],
        ["-v", "/usr:/proc/sys/net"],
        ["-v", "/proc/sys:/proc/irq"],
        ["-v", "/etc/passwd:/proc/sys/net/ipv4/ip_forward", "--sysctl", "net.ipv4.ip_forward=1"],
        ["--mount", "type=bind,src=/etc/passwd,dst=/lnk/version"],
    ],
    ids=" ".join,
)
def test_nothing_but_procfs_goes_on_proc(mydocker: Runner, root: Path, flags: list[str]) -> None:
    (root / "lnk").symlink_to("/proc")
    result = mydocker("run", "--rm", *flags, "--rootfs", str(root), "true", check=125)
    assert "/proc is for procfs" in result.err
    assert mydocker.containers() == []


@pytest.mark.parametrize(
    "name",
    [
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net/../kernel/core_pattern",
        "net.//kernel/core_pattern",
        "vm.x",
    ],
)
def test_a_sysctl_of_the_hosts_is_refused(mydocker: Runner, image: str, name: str) -> None:
    with open("/proc/sys/kernel/core_pattern") as file:
        before = file.read()
    result = mydocker("run", "--rm", "--sysctl", f"{name}=evil", image, "true", check=125)
    assert name in result.err
    with open("/proc/sys/kernel/core_pattern") as file:
        assert file.read() == before


def test_a_sysctl_is_the_containers_alone(mydocker: Runner, image: str) -> None:
    name = "/proc/sys/net/ipv4/ip_default_ttl"
    with open(name) as file:
        before = file.read()
    assert mydocker("run", "--rm", "--sysctl", "net.ipv4.ip_default_ttl=77", image, "cat", name).line == "77"
    with open(name) as file:
        assert file.read() == before


@pytest.mark.both_ways
def test_masked_and_readonly_paths_stay_so(mydocker: Runner, image: str) -> None:
    """Without CAP_SYS_ADMIN, as by default, and with nothing else that would prevent it."""
    script = """
        umount /proc/keys; mount -o remount,rw /proc/sys; mount --bind /proc/sys /tmp
        cat /proc/keys; echo 1 > /proc/sys/vm/swappiness
    """
    flags = ["--cap-add", "ALL", "--cap-drop", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"]
    result = mydocker("run", "--rm", *flags, image, "sh", "-c", script, check=False)
    assert result.out == ""
    assert "Read-only file system" in result.err
    assert mydocker("run", "--rm", "--privileged", image, "sh", "-c", "cat /proc/keys | wc -l").line != "0"
