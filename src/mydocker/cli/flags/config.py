"""From the flags of ``run`` and ``create`` to the two documents of ``POST /containers/create``.

In scope: what each flag becomes, and the conflicts that Docker's command line reports by itself. Whether
the documents make sense together and on this host is the engine's to say.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mydocker import errors
from mydocker.cli.flags import host, mount, network
from mydocker.cli.flags.environment import read_env_files, read_label_files, to_map
from mydocker.container.config import (
    DEFAULT_SHM_SIZE,
    Config,
    EndpointConfig,
    HostConfig,
    LogConfig,
    PortBinding,
)
from mydocker.image.documents import Healthcheck

ROOTFS_MARK = ""
"""``Config.Image`` of a container that runs from a directory"""


def build(
    flags: Mapping[str, Any], arguments: list[str]
) -> tuple[Config, HostConfig, dict[str, EndpointConfig]]:
    """``arguments``: IMAGE and the command, or with ``--rootfs`` the command alone.

    The third that is returned: how the container is in its networks, by their names.

    Raises ``InvalidArgument`` and ``NotSupported``.
    """
    binds, anonymous = mount.split_volumes(list(flags["volume"]))
    image, command = (ROOTFS_MARK, arguments) if flags["rootfs"] else (arguments[0], arguments[1:])
    mode, endpoints = network.endpoints(flags)
    ports = network.port_bindings(flags["publish"])
    return (
        _config(flags, image, command, anonymous, ports),
        _host_config(flags, binds, mode, ports),
        endpoints,
    )


def _config(
    flags: Mapping[str, Any],
    image: str,
    command: list[str],
    anonymous: list[str],
    ports: dict[str, list[PortBinding]],
) -> Config:
    streams = set(flags["attach"])
    if not streams and not flags.get("detach"):
        streams = {"stdout", "stderr"}
    if flags["interactive"] and not flags.get("detach"):
        streams.add("stdin")
    env = read_env_files(flags["env-file"]) + list(flags["env"])
    labels = to_map(read_label_files(flags["label-file"]) + list(flags["label"]))
    entrypoint = flags["entrypoint"]
    return Config(
        hostname=flags["hostname"],
        domainname=flags["domainname"],
        user=flags["user"],
        attach_stdin="stdin" in streams,
        attach_stdout="stdout" in streams,
        attach_stderr="stderr" in streams,
        exposed_ports={port: {} for port in sorted({*host.exposed_ports(flags["expose"]), *ports})} or None,
        tty=flags["tty"],
        open_stdin=flags["interactive"],
        stdin_once=flags["interactive"] and "stdin" in streams,
        env=env or None,
        cmd=command or None,
        image=image,
        volumes={target: {} for target in anonymous} or None,
        working_dir=flags["workdir"],
        entrypoint=None if entrypoint is None else [entrypoint],
        labels=labels or None,
        healthcheck=_healthcheck(flags),
        stop_signal=flags["stop-signal"] or None,
        stop_timeout=flags["stop-timeout"],
    )


def _log_config(driver: str, given: Sequence[str]) -> LogConfig:
    if driver == "none" and given:
        raise errors.InvalidArgument("invalid logging opts for driver none")
    options = {name: text for name, _, text in (option.partition("=") for option in given)}
    return LogConfig(type=driver or "json-file", config=options)


def _healthcheck(flags: Mapping[str, Any]) -> Healthcheck | None:
    names = ("interval", "timeout", "start-period", "start-interval", "retries")
    given = {name.replace("-", "_"): flags[f"health-{name}"] for name in names if flags[f"health-{name}"]}
    command = flags["health-cmd"]
    if flags["no-healthcheck"]:
        if given or command:
            raise errors.InvalidArgument("--no-healthcheck conflicts with --health-* options")
        return Healthcheck(test=["NONE"])
    for name in names:
        if flags[f"health-{name}"] < 0:
            raise errors.InvalidArgument(f"--health-{name} cannot be negative")
    if not given and not command:
        return None
    return Healthcheck(test=["CMD-SHELL", command] if command else None, **given)


def _host_config(
    flags: Mapping[str, Any], binds: list[str], mode: str, ports: dict[str, list[PortBinding]]
) -> HostConfig:
    if flags["rm"] and flags["restart"].name != "no":
        raise errors.InvalidArgument("conflicting options: cannot specify both --restart and --rm")
    security = host.SecurityOptions(flags["security-opt"])
    swappiness = flags["memory-swappiness"]
    ulimits = {ulimit.name: ulimit for ulimit in flags["ulimit"]}
    return HostConfig(
        binds=binds or None,
        container_id_file=flags["cidfile"],
        log_config=_log_config(flags["log-driver"], flags["log-opt"]),
        network_mode=mode,
        links=None if network.user_defined(mode) else list(flags["link"]) or None,
        egress=[each for given in flags["egress"] for each in given] or None,
        port_bindings=ports or None,
        publish_all_ports=flags["publish-all"],
        dns=list(flags["dns"]) or None,
        dns_options=[*flags["dns-option"], *flags["dns-opt"]] or None,
        dns_search=list(flags["dns-search"]) or None,
        restart_policy=flags["restart"],
        auto_remove=flags["rm"],
        health_on_failure=flags["health-on-failure"],
        timeout=flags["timeout"],
        annotations=to_map(flags["annotation"]) or None,
        cap_add=host.capabilities(flags["cap-add"]) or None,
        cap_drop=host.capabilities(flags["cap-drop"]) or None,
        cgroupns_mode=host.check_mode("cgroupns", flags["cgroupns"], "CGROUP", "host", "private"),
        extra_hosts=list(flags["add-host"]) or None,
        group_add=list(flags["group-add"]) or None,
        ipc_mode=flags["ipc"],
        oom_score_adj=flags["oom-score-adj"],
        pid_mode=host.check_mode("pid", flags["pid"], "PID", "host", container=True),
        privileged=flags["privileged"],
        readonly_rootfs=flags["read-only"],
        security_opt=security.options or None,
        volume_driver=flags["volume-driver"],
        volumes_from=list(flags["volumes-from"]) or None,
        tmpfs=dict(flags["tmpfs"]) or None,
        uts_mode=host.check_mode("uts", flags["uts"], "UTS", "host"),
        userns_mode=host.check_mode("userns", flags["userns"], "USER", "host"),
        shm_size=flags["shm-size"] or DEFAULT_SHM_SIZE,
        sysctls=to_map(flags["sysctl"]) or None,
        init=flags["init"],
        cpu_shares=flags["cpu-shares"],
        memory=flags["memory"],
        nano_cpus=flags["cpus"],
        cgroup_parent=flags["cgroup-parent"],
        blkio_weight=flags["blkio-weight"],
        blkio_weight_device=list(flags["blkio-weight-device"]) or None,
        blkio_device_read_bps=list(flags["device-read-bps"]) or None,
        blkio_device_write_bps=list(flags["device-write-bps"]) or None,
        blkio_device_read_iops=list(flags["device-read-iops"]) or None,
        blkio_device_write_iops=list(flags["device-write-iops"]) or None,
        cpu_period=flags["cpu-period"],
        cpu_quota=flags["cpu-quota"],
        cpuset_cpus=flags["cpuset-cpus"],
        cpuset_mems=flags["cpuset-mems"],
        devices=[host.parse_device(device) for device in flags["device"]] or None,
        device_cgroup_rules=list(flags["device-cgroup-rule"]) or None,
        memory_reservation=flags["memory-reservation"],
        memory_swap=flags["memory-swap"],
        memory_swappiness=None if swappiness == -1 else swappiness,
        oom_kill_disable=flags["oom-kill-disable"] or None,
        pids_limit=flags["pids-limit"] or None,
        ulimits=[ulimits[name] for name in sorted(ulimits)] or None,
        mounts=list(flags["mount"]) or None,
        masked_paths=[] if security.system_paths_unconfined else None,
        readonly_paths=[] if security.system_paths_unconfined else None,
        rootfs=os.path.abspath(flags["rootfs"]) if flags["rootfs"] else "",
    )


def check_rootfs(flags: Mapping[str, Any], arguments: list[str]) -> None:
    """Say early what is wrong with the argument list; Docker's own says it of an empty image."""
    if not flags["rootfs"] and not arguments[0]:
        raise errors.InvalidArgument("invalid reference format")
