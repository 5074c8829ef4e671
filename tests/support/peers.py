"""Other projects' real programs, each with directories of its own.

Nothing here reaches a network: the daemon has no bridge and no packet filter, builds run with
``--network none``, and the session's network namespace has nothing but loopback anyway.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support import command, leaks, probe
from support.command import Result

# Below its own parent, so that what a peer leaves in the hierarchies is not taken for ours.
CGROUP_PARENT = "/mydocker-peers"


@dataclass(frozen=True)
class Tool:
    """A program with the options that give it directories of its own."""

    prefix: tuple[str, ...]
    environment: dict[str, str]

    def __call__(self, *arguments: str, **options: Any) -> Result:
        env = {**os.environ, "PATH": probe.SYSTEM_PATH, **self.environment}
        return command.run([*self.prefix, *arguments], env=env, **options)


@dataclass(frozen=True)
class PeerImage:
    """The image of ``support.recipe``, as ``docker save`` and ``docker export`` write it."""

    name: str
    directory: str
    saved: str
    exported: str


@contextmanager
def docker(
    directory: str, runtimes: Mapping[str, str] | None = None, default_runtime: str = "runc"
) -> Iterator[Tool]:
    """Debian's dockerd and its containerd; yields the docker client that talks to it.

    ``runtimes``: OCI runtimes besides runc, as name and path; ``default_runtime`` is one of their names.
    """
    socket = os.path.join(directory, "docker.sock")
    log_path = os.path.join(directory, "log")
    config = os.path.join(directory, "daemon.json")
    with open(config, "w") as handle:
        handle.write("{}")
    client = Tool(
        (_program("docker"), "--config", directory, "-H", f"unix://{socket}"), {"DOCKER_BUILDKIT": "0"}
    )
    arguments = {
        "data-root": os.path.join(directory, "data"),
        "exec-root": os.path.join(directory, "exec"),
        "host": f"unix://{socket}",
        "pidfile": os.path.join(directory, "pid"),
        "config-file": config,
        "bridge": "none",
        "iptables": "false",
        "ip6tables": "false",
        "ip-forward": "false",
        "ip-masq": "false",
        "storage-driver": "overlay2",
        "cgroup-parent": CGROUP_PARENT,
        "default-runtime": default_runtime,
    }
    argv = [
        _program("dockerd"),
        *(f"--{key}={value}" for key, value in arguments.items()),
        *(f"--add-runtime={name}={path}" for name, path in (runtimes or {}).items()),
    ]
    try:
        with _daemon(argv, client, log_path):
            yield client
    finally:
        leaks.remove_cgroups(CGROUP_PARENT)


@contextmanager
def _daemon(argv: list[str], client: Tool, log_path: str) -> Iterator[None]:
    """Have it run until the end of the block; ``client`` says when it is there."""
    with open(log_path, "wb") as log:
        daemon = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": probe.SYSTEM_PATH},
        )
    try:
        _wait_for(client, daemon, log_path)
        yield
    finally:
        daemon.terminate()
        daemon.wait(30)


def _wait_for(client: Tool, daemon: subprocess.Popen[bytes], log_path: str) -> None:
    for _ in range(200):
        if daemon.poll() is None and client("version", check=False).code == 0:
            return
        if daemon.poll() is not None:
            break
        time.sleep(0.05)
    with open(log_path, errors="replace") as log:
        raise RuntimeError(f"{daemon.args!r} did not come up:\n{log.read()[-4000:]}")


@contextmanager
def containerd(directory: str) -> Iterator[Tool]:
    """Debian's containerd; yields ``ctr``, in a namespace of its own."""
    socket = os.path.join(directory, "containerd.sock")
    config = os.path.join(directory, "config.toml")
    with open(config, "w") as handle:
        handle.write(
            f"""version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
"""
        )
    log_path = os.path.join(directory, "log")
    client = Tool((_program("ctr"), "--address", socket, "--namespace", "mydocker"), {})
    with _daemon([_program("containerd"), "--config", config], client, log_path):
        yield client


def podman(directory: str, runtime: str = "runc", cgroup_manager: str = "cgroupfs") -> Tool:
    # crun before 1.9 refuses a hybrid cgroup layout, so runc
    options = ("--cgroup-manager", cgroup_manager, "--runtime", runtime)
    return Tool((_program("podman"), *_storage(directory), *options), {})


def buildah(directory: str) -> Tool:
    return Tool((_program("buildah"), *_storage(directory)), {"BUILDAH_ISOLATION": "chroot"})


def _storage(directory: str) -> tuple[str, ...]:
    places = {"--root": "root", "--runroot": "run"}
    options = [word for key, name in places.items() for word in (key, os.path.join(directory, name))]
    return (*options, "--storage-driver", "overlay")


def skopeo(directory: str) -> Tool:
    return Tool((_program("skopeo"), "--insecure-policy", "--tmpdir", directory), {})


def umoci() -> Tool:
    return Tool((_program("umoci"),), {})


def _program(name: str) -> str:
    path = probe.program(name)
    if path is None:
        raise FileNotFoundError(f"{name} (see tests/apt-packages.txt)")
    return path
