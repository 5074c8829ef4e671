"""A container's record as an OCI runtime document (runtime-spec 1.2, ``config.md`` and ``config-linux.md``).

Everything that was decided when the container was created is in the record; what can only be known when it
starts (where the namespaces of another container are) comes in through ``Surroundings``. Beside the device
nodes of ``--device``, owners for ``idmap`` and the kernel's version nothing is looked up here, and nothing is
changed.
Source of the defaults: moby, ``daemon/pkg/oci/defaults.go`` and ``daemon/oci_linux.go``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from ..oci import defaults
from ..oci.capabilities import bounding_set, effective_capabilities
from . import document as documents
from . import resources, security
from .config import HostConfig, Ulimit
from .merge import environment
from .record import Record

if TYPE_CHECKING:
    from ..oci.runtime import Capabilities, Linux, Namespace, NamespaceType, Process, Rlimit, Spec, User
    from ..oci.runtime import Mount as OciMount

OCI_VERSION = "1.2.0"

CGROUP_PARENT = "/mydocker"

_UNLIMITED = (1 << 64) - 1
"""RLIM_INFINITY, getrlimit(2)"""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a start knows beyond the record."""

    root: str
    """where the root file system is put together"""
    files: dict[str, str]
    """destination -> source of the files that the engine provides (hostname, hosts, resolv.conf)"""
    opened: list[str] = []
    """destinations of the volumes that are opened just before they are mounted (``volumes.py``)"""
    namespaces: dict[str, str] = {}
    """kind -> path of a namespace to join, for those that are another container's"""
    ipc_donor: int = 0
    """init of the container whose IPC is shared, for its /dev/shm"""
    cgroup_v2: bool
    """whether a private cgroup namespace is the default, as in Docker"""
    size: tuple[int, int] | None = None
    linked: list[str] = []
    """variables about other containers"""


def document(record: Record, around: Surroundings) -> Spec:
    config, host = record.config, record.host_config
    chosen = security.options(host.security_opt or ())
    capabilities = effective_capabilities(host.cap_add, host.cap_drop, host.privileged)
    spec: Spec = {
        "ociVersion": OCI_VERSION,
        "root": {"path": around.root, "readonly": host.readonly_rootfs},
        "mounts": documents.oci_mounts(
            record.mounts, around.files, host=host, shm=_shm(host, around), opened=around.opened
        ),
        "process": _process(record, around, capabilities, chosen.no_new_privileges),
        "linux": _linux(record, around),
    }
    if host.uts_mode != "host":
        spec["hostname"] = config.hostname
        if config.domainname:
            spec["domainname"] = config.domainname
    if host.annotations:
        spec["annotations"] = host.annotations
    section = security.seccomp(chosen, capabilities, privileged=host.privileged)
    if section is not None:
        spec["linux"]["seccomp"] = section
    return spec


def _process(
    record: Record, around: Surroundings, capabilities: list[str], no_new_privileges: bool
) -> Process:
    config, host = record.config, record.host_config
    process: Process = {
        "terminal": config.tty,
        "user": _user(config.user),
        "args": [record.path, *record.args],
        "env": environment(config, defaults.PATH, around.linked),
        "cwd": config.working_dir or "/",
        "capabilities": capability_sets(capabilities),
        "noNewPrivileges": no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
    }
    if host.group_add:
        process["user"]["additionalGroupNames"] = host.group_add
    if host.ulimits:
        process["rlimits"] = [_rlimit(limit) for limit in host.ulimits]
    if config.tty and around.size is not None:
        process["consoleSize"] = {"height": around.size[0], "width": around.size[1]}
    return process


def added_process(
    record: Record,
    args: list[str],
    *,
    tty: bool,
    env: list[str],
    user: str,
    working_dir: str,
    privileged: bool,
    size: tuple[int, int] | None,
    linked: Sequence[str] = (),
) -> Process:
    """The ``process`` of an exec: the container's own, with another command and what was asked for."""
    config, host = record.config, record.host_config
    names = {variable.partition("=")[0] for variable in env}
    base = environment(
        config if config.tty == tty else msgspec.structs.replace(config, tty=tty), defaults.PATH, linked
    )
    capabilities = (
        bounding_set() if privileged else effective_capabilities(host.cap_add, host.cap_drop, host.privileged)
    )
    chosen = security.options(host.security_opt or ())
    process: Process = {
        "terminal": tty,
        "user": _user(user or config.user),
        "args": args,
        "env": [
            *(variable for variable in base if variable.partition("=")[0] not in names),
            *(variable for variable in env if "=" in variable),
        ],
        "cwd": working_dir or config.working_dir or "/",
        "capabilities": capability_sets(capabilities),
        "noNewPrivileges": chosen.no_new_privileges,
        "oomScoreAdj": host.oom_score_adj,
    }
    if host.group_add:
        process["user"]["additionalGroupNames"] = host.group_add
    if host.ulimits:
        process["rlimits"] = [_rlimit(limit) for limit in host.ulimits]
    if tty and size is not None:
        process["consoleSize"] = {"height": size[0], "width": size[1]}
    return process


def _user(name: str) -> User:
    """Root of the container is looked up as well: it is in groups."""
    return {"uid": 0, "gid": 0, "umask": 0o022, "username": name or "0"}


def capability_sets(capabilities: list[str]) -> Capabilities:
    """None inheritable and none ambient, so a user other than root has none after execve (CVE-2022-24769)."""
    return {"bounding": capabilities, "effective": capabilities, "permitted": capabilities}


def _linux(record: Record, around: Surroundings) -> Linux:
    host = record.host_config
    nodes, rules = resources.devices(host)
    linux: Linux = {
        "namespaces": _namespaces(host, around),
        "cgroupsPath": cgroup_path(record),
        "resources": resources.resources(host, rules),
    }
    if nodes:
        linux["devices"] = nodes
    if sysctl := _sysctl(host):
        linux["sysctl"] = sysctl
    if not host.privileged:
        masked, readonly = host.masked_paths, host.readonly_paths
        linux["maskedPaths"] = defaults.masked_paths() if masked is None else masked
        linux["readonlyPaths"] = defaults.readonly_paths() if readonly is None else readonly
    if any(point.propagation in ("shared", "rshared") for point in record.mounts):
        linux["rootfsPropagation"] = "shared"
    elif any(point.propagation in ("slave", "rslave") for point in record.mounts):
        linux["rootfsPropagation"] = "slave"
    return linux


def cgroup_path(record: Record) -> str:
    parent = record.host_config.cgroup_parent.strip("/")
    return f"/{parent}/{record.id}" if parent else f"{CGROUP_PARENT}/{record.id}"


def _namespaces(host: HostConfig, around: Surroundings) -> list[Namespace]:
    wanted: list[tuple[NamespaceType, bool]] = [
        ("mount", True),
        ("pid", host.pid_mode != "host"),
        ("network", host.network_mode != "host"),
        ("ipc", host.ipc_mode != "host"),
        ("uts", host.uts_mode != "host"),
        ("cgroup", private_cgroup_namespace(host, cgroup_v2=around.cgroup_v2)),
    ]
    result: list[Namespace] = []
    for kind, present in wanted:
        if kind in around.namespaces:
            result.append({"type": kind, "path": around.namespaces[kind]})
        elif present:
            result.append({"type": kind})
    return result


def private_cgroup_namespace(host: HostConfig, *, cgroup_v2: bool) -> bool:
    if host.cgroupns_mode:
        return host.cgroupns_mode == "private"
    return cgroup_v2 and not host.privileged


@cache
def own_network() -> dict[str, str]:
    """Kernel parameters of a network of a container's own, as in Docker: ping and low ports without a
    capability, and no IPv6 on a link before it has an address of it."""
    parameters = {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    if os.path.exists("/proc/sys/net/ipv6"):
        parameters["net.ipv6.conf.default.disable_ipv6"] = "1"
    return parameters


def _sysctl(host: HostConfig) -> dict[str, str]:
    """What was asked for, after what every network of a container's own has."""
    if host.network_mode == "host" or host.network_mode.startswith("container:"):
        return host.sysctls or {}
    return own_network() | (host.sysctls or {})


def _shm(host: HostConfig, around: Surroundings) -> OciMount | None:
    """What is mounted on /dev/shm in place of a new one: the host's, or that of another container."""
    if host.ipc_mode == "host" and os.path.isdir("/dev/shm"):
        return {
            "destination": "/dev/shm",
            "type": "bind",
            "source": "/dev/shm",
            "options": ["rbind", "rprivate"],
        }
    if around.ipc_donor:
        return {
            "destination": "/dev/shm",
            "type": "mydocker.tree",
            "source": f"{around.ipc_donor}:/dev/shm",
            "options": ["rprivate"],
        }
    return None


def _rlimit(limit: Ulimit) -> Rlimit:
    return {
        "type": f"RLIMIT_{limit.name.upper()}",
        "soft": _UNLIMITED if limit.soft == -1 else limit.soft,
        "hard": _UNLIMITED if limit.hard == -1 else limit.hard,
    }
