"""The engines that mydocker is compared with: Debian's own, each with directories of its own, on one image.

The daemon has no bridge and no packet filter, but for the rows that are about these, and nothing here reaches
a network. Run inside a mount and a network namespace of the benchmark's own (``main.py`` sees to it), so that
nothing can stay behind.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

# Debian's, whatever else is installed under these names.
SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin"
CGROUP_PARENT = "/mydocker-bench"
IMAGE = "bench"
APPLETS = ("sh", "true", "sleep")
# Arguments of run and create. Stopped by KILL, since as process 1 it is not ended by TERM.
IDLE = ("--stop-signal", "KILL", "--network", "none", IMAGE, "sleep", "100000")


_PATIENCE = 300
"""seconds, with a peer that hangs"""


class Missing(Exception):
    """A peer that is not installed, or does not work on this machine; the reason is the message."""


def program(name: str) -> str:
    path = shutil.which(name, path=SEARCH)
    if path is None:
        raise Missing(f"{name} is not installed")
    return path


def in_memory(directory: str) -> str:
    """A directory for the state of what runs, which is below /run otherwise: a tmpfs. Returns its path."""
    os.makedirs(directory)
    subprocess.run([program("mount"), "-t", "tmpfs", "run", directory], check=True)
    return directory


def build_rootfs(directory: str) -> str:
    """A root file system of a static busybox; returns its directory."""
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        os.makedirs(os.path.join(directory, name))
    shutil.copy(program("busybox"), os.path.join(directory, "bin/busybox"))
    for applet in APPLETS:
        os.symlink("busybox", os.path.join(directory, "bin", applet))
    return directory


def build_image(rootfs: str, archive: str) -> str:
    """The same as a tar archive, which every engine imports; returns its path."""
    with tarfile.open(archive, "w") as tar:
        tar.add(rootfs, arcname=".")
    return archive


def build_bundle(rootfs: str, directory: str, group: str, args: Sequence[str] = ("true",)) -> str:
    """An OCI bundle in the cgroup ``group``, with what `runc spec` writes; returns its directory."""
    os.makedirs(directory)
    subprocess.run([program("runc"), "spec", "--bundle", directory], check=True)
    path = os.path.join(directory, "config.json")
    with open(path) as file:
        config = json.load(file)
    config["process"]["terminal"] = False
    config["process"]["args"] = list(args)
    config["root"]["path"] = rootfs
    config["linux"]["cgroupsPath"] = group
    with open(path, "w") as file:
        json.dump(config, file)
    return directory


def build_docker_bundle(rootfs: str, directory: str, group: str) -> str:
    """The same with what Docker adds to a container by default: its capabilities and its seccomp policy."""
    from mydocker.oci.seccomp_default import default_seccomp

    build_bundle(rootfs, directory, group)
    path = os.path.join(directory, "config.json")
    with open(path) as file:
        config = json.load(file)
    names = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE"
    capabilities = [f"CAP_{name}" for name in f"{names} SYS_CHROOT KILL AUDIT_WRITE".split()]
    config["process"]["capabilities"] = dict.fromkeys(("bounding", "effective", "permitted"), capabilities)
    version = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    config["linux"]["seccomp"] = default_seccomp(capabilities, version, os.uname().machine)
    with open(path, "w") as file:
        json.dump(config, file)
    return directory


@contextmanager
def docker(
    directory: str, archive: str, environment: Mapping[str, str], *, bridge: bool = False
) -> Iterator[list[str]]:
    """A dockerd with its containerd, with the image; yields the command line of the client.

    ``bridge``: with its default network, and its rules by iptables.
    """
    os.makedirs(directory)
    socket = f"unix://{directory}/docker.sock"
    client = [program("docker"), "--config", directory, "--host", socket]
    config = os.path.join(directory, "daemon.json")
    with open(config, "w") as file:
        file.write("{}")
    options = {
        "bridge": "none",
        "cgroup-parent": CGROUP_PARENT,
        "config-file": config,
        "data-root": f"{directory}/data",
        "exec-root": in_memory(f"{directory}/exec"),
        "host": socket,
        "ip-forward": "false",
        "ip-masq": "false",
        "ip6tables": "false",
        "iptables": "false",
        "pidfile": f"{directory}/pid",
        "storage-driver": "overlay2",
    }
    if bridge:
        for name in ("bridge", "ip-forward", "ip-masq", "iptables"):
            del options[name]
    with open(f"{directory}/log", "wb") as log:
        arguments = [program("dockerd"), *(f"--{name}={value}" for name, value in options.items())]
        daemon = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
    try:
        _wait_for(client, daemon, f"{directory}/log", environment)
        run([*client, "import", archive, IMAGE], environment)
        yield client
    finally:
        daemon.terminate()
        daemon.wait(30)


def _wait_for(
    client: list[str], daemon: subprocess.Popen[bytes], log: str, environment: Mapping[str, str]
) -> None:
    for _ in range(200):
        answer = subprocess.run([*client, "version"], env=environment, capture_output=True, check=False)
        if answer.returncode == 0:
            return
        if daemon.poll() is not None:
            break
        time.sleep(0.1)
    with open(log, errors="replace") as file:
        raise Missing(f"dockerd did not come up: {file.read()[-1000:]}")


@contextmanager
def podman(directory: str, archive: str, environment: Mapping[str, str]) -> Iterator[list[str]]:
    """The podman command line with directories of its own, and with the image."""
    # runc: crun before 1.9 refuses a hybrid cgroup layout.
    state = in_memory(f"{directory}/run")
    client = [program("podman"), "--root", f"{directory}/root", "--runroot", state]
    client += ["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--runtime", program("runc")]
    # Its own default limits are higher than a caller without CAP_SYS_RESOURCE may set.
    with open(environment["CONTAINERS_CONF"], "w") as file:
        file.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
    run([*client, "import", archive, IMAGE], environment)
    try:
        yield client
    finally:
        remove = [*client, "rm", "--all", "--force", "--time", "0"]
        subprocess.run(remove, env=environment, capture_output=True, check=False)


def run(command: list[str], environment: Mapping[str, str]) -> str:
    """Standard output of a command that is not measured; raises ``Missing`` with what it said if it fails."""
    try:
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        raise Missing(f"{' '.join(command)}: no end of it in {_PATIENCE} s") from error
    if result.returncode != 0:
        raise Missing(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout.strip()
