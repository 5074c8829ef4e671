"""Run tests in a QEMU guest: Debian's cloud kernel, cgroup v2 alone, and the distribution's Python.

    python tests/vm/main.py [plain|systemd [PYTEST-ARGUMENT ...]]        (``make test-vm``)

It boots once with nothing but the tests, and once with systemd as PID 1, or as the first word says; without
arguments TESTS are run. What pytest prints is printed, its exit status is the exit status. The machine is
emulated (no KVM needed), boots in about five seconds (13 with systemd) and writes to nothing but its own
memory: the disk is a snapshot. Everything that it is made of comes from the Debian and Python package
registries, with the host's own apt and pip settings, and is kept in ``.cache/vm`` until what goes into it
changes:

    kernel.py   the kernel package unpacked, and an initramfs that loads the disk driver
    system.py   Debian's minimal system with a virtual environment, the wheel and the tests, as a disk image

Needs root, and the packages in NEEDED (tests/apt-packages.txt has them).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vm import kernel, system

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "vm"
NEEDED = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "mkfs.ext4": "e2fsprogs",
    "unshare": "util-linux",
}
TESTS = {
    "plain": [
        "tests/integration/cgroup",
        "tests/integration/test_checkpoint.py",
        "tests/integration/test_runtime_fields.py",
        "tests/integration/test_run_limits.py",
        "tests/integration/test_limits_hold.py",
        "tests/integration/test_run_namespaces.py",
        "tests/integration/test_commit_pause.py",
        "tests/integration/test_pause.py",
        "tests/integration/test_life.py",
        "tests/integration/test_waiting.py",
        "tests/integration/test_dormant.py",
        "tests/integration/test_killed_builder.py",
        "tests/integration/test_killed_monitor.py",
        "tests/integration/test_cp.py",
        "tests/integration/test_security_cp.py",
        # ipvlan, VLANs and dummies, which are modules there
        "tests/integration/test_network_drivers.py",
        # an old kernel's overlayfs: without lowerdir+ (6.5), so that 128 layers need short names
        "tests/integration/test_export.py",
        # no mount that is attached nowhere can be cloned there (6.15), a tmpfs has no xattrs of users (6.6)
        "tests/integration/test_volumes.py",
        "tests/integration/test_volume_mounts.py",
        "tests/integration/test_runtime_mounts.py",
        "tests/integration/test_layer_contents.py",
    ],
    "systemd": ["tests/systemd"],
}
PYTEST = ["-v", "-p", "no:cacheprovider", "-o", "timeout=300"]
MEMORY = "1536"
PATIENCE = 3600
"""Seconds after which the guest is given up."""


def main(arguments: list[str]) -> int:
    if reason := _refusal():
        print(f"test-vm: {reason}", file=sys.stderr)
        return 1
    CACHE.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    booted = kernel.prepare(CACHE)
    disk = system.prepare(CACHE, ROOT)
    print(f"test-vm: kernel {booted.version}, prepared in {time.monotonic() - started:.0f} s", flush=True)
    colour = "--color=yes" if sys.stdout.isatty() else "--color=no"
    codes = []
    for kind, tests in TESTS.items():
        if arguments and arguments[0] != kind:
            continue
        codes.append(_run(booted, disk, kind, [*PYTEST, colour, *(arguments[1:] or tests)]))
        print(f"test-vm: {kind}: {time.monotonic() - started:.0f} s since the start", flush=True)
    if not codes:
        print(f"test-vm: no such boot: {arguments[0]} (one of {', '.join(TESTS)})", file=sys.stderr)
        return 1
    return max(codes)


def _refusal() -> str | None:
    if os.geteuid() != 0:
        return "needs root, to build the disk image of the guest"
    if os.uname().machine != "x86_64":
        return f"the guest is an x86_64 machine, and this is {os.uname().machine}"
    missing = [package for program, package in NEEDED.items() if shutil.which(program) is None]
    return f"please install {' '.join(missing)}" if missing else None


def _run(booted: kernel.Kernel, disk: Path, kind: str, pytest: list[str]) -> int:
    """Boot, copy the console to our output, and return the status that the guest leaves on its second
    port."""
    status = CACHE / f"status.{os.getpid()}"
    # Each argument is a word on the kernel's command line, which init finds again in /proc/cmdline.
    command_line = ["console=ttyS0", "quiet", "panic=-1", "--", kind, *pytest]
    if spaced := [
        word for word in pytest if not word or any(letter.isspace() or letter == '"' for letter in word)
    ]:
        print(f"test-vm: arguments with spaces or quotes do not reach the guest: {spaced}", file=sys.stderr)
        return 1
    machine = [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
        *("-m", MEMORY, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"),
        *("-kernel", str(booted.image), "-initrd", str(booted.initramfs), "-append", " ".join(command_line)),
        *(
            "-drive",
            f"file={disk},if=none,id=root,format=raw,snapshot=on",
            "-device",
            "virtio-blk-pci,drive=root",
        ),
        *("-serial", "stdio", "-serial", f"file:{status}"),
    ]
    try:
        subprocess.run(machine, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=True)
        return int(status.read_text())
    except subprocess.TimeoutExpired:
        print(f"test-vm: the guest was still running after {PATIENCE} s", file=sys.stderr)
    except subprocess.CalledProcessError as error:
        print(f"test-vm: {machine[0]} ended with status {error.returncode}", file=sys.stderr)
    except (FileNotFoundError, ValueError):
        print("test-vm: the guest ended without the status of its tests", file=sys.stderr)
    finally:
        status.unlink(missing_ok=True)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
