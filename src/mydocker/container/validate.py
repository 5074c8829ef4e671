"""Whether the values of a ``HostConfig`` are allowed and fit together, in the words of Docker's daemon.

Clients tell errors apart by these texts, so they are kept as they are. Ranges come from the daemon
(``daemon/daemon_unix.go``, ``verifyPlatformContainerResources``), and from the kernel through it. Out of
scope: the syntax of flags, which the command line knows, and mounts (``mounts.py``).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable

from ..errors import Forbidden, InvalidArgument
from ..linux import capability
from ..network import egress, ports
from ..oci.capabilities import effective_capabilities
from ..oci.signals import signal_number
from . import health, logs, resources, restart, security
from .config import Config, HostConfig, PortBinding, VolumeOptions

MINIMUM_MEMORY = 6 * 1024 * 1024

_ULIMIT_NAMES = (
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
)
_ULIMITS = frozenset(_ULIMIT_NAMES.split())


def validate(config: Config, host: HostConfig) -> None:
    for check in _CHECKS:
        check(config, host)


def validate_asked(config: Config, host: HostConfig) -> None:
    """The same for what somebody has asked for, before what an image says is part of it."""
    if host.network_mode.startswith("container:") and config.exposed_ports:
        raise InvalidArgument("conflicting options: port exposing and the container type network mode")
    validate(config, host)


def _memory(_: Config, host: HostConfig) -> None:
    if 0 < host.memory < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    if host.memory < 0:
        raise InvalidArgument(f"invalid memory limit: {host.memory}")
    if host.memory > 0 and 0 < host.memory_swap < host.memory:
        raise InvalidArgument("Minimum memoryswap limit should be larger than memory limit, see usage")
    if host.memory == 0 and host.memory_swap > 0:
        raise InvalidArgument("You should always set the Memory limit when using Memoryswap limit, see usage")
    if host.memory_swappiness is not None and not -1 <= host.memory_swappiness <= 100:
        raise InvalidArgument(
            f"Invalid value: {host.memory_swappiness}, valid memory swappiness range is 0-100"
        )
    if 0 < host.memory_reservation < MINIMUM_MEMORY:
        raise InvalidArgument("Minimum memory reservation allowed is 6MB")
    if 0 < host.memory < host.memory_reservation:
        raise InvalidArgument("Minimum memory limit can not be less than memory reservation limit, see usage")
    if host.shm_size < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    if not -1000 <= host.oom_score_adj <= 1000:
        raise InvalidArgument(f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]")
    if host.oom_score_adj < 0:
        _lower_oom_score(host.oom_score_adj)


def _lower_oom_score(wanted: int) -> None:
    """``Forbidden`` where the kernel would not take it (man 5 proc, /proc/pid/oom_score_adj)."""
    with open("/proc/self/oom_score_adj") as file:
        own = int(file.read())
    if wanted < own and not capability.capget()[0] >> capability.CAP_SYS_RESOURCE & 1:
        raise Forbidden(
            f"OOM score adjustment {wanted} is below {own}, the engine's: it needs CAP_SYS_RESOURCE"
        )


def _cpu(_: Config, host: HostConfig) -> None:
    if host.nano_cpus and host.cpu_period > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if host.nano_cpus and host.cpu_quota > 0:
        raise InvalidArgument("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if host.nano_cpus:
        available = os.cpu_count() or 1
        # below 0.01 the quota would be less than the kernel's minimum of 1 ms in 100 ms
        if not 10_000_000 <= host.nano_cpus <= available * 1_000_000_000:
            raise InvalidArgument(
                f"Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available"
            )
    if host.cpu_shares < 0:
        raise InvalidArgument(f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer")
    if host.cpu_period and not 1000 <= host.cpu_period <= 1_000_000:
        raise InvalidArgument(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < host.cpu_quota < 1000:
        raise InvalidArgument("CPU cfs quota can not be less than 1ms (i.e. 1000)")
    _set_of_numbers(host.cpuset_cpus, "cpuset cpus", "CPUs", "/sys/devices/system/cpu/online")
    _set_of_numbers(host.cpuset_mems, "cpuset mems", "memory nodes", "/sys/devices/system/node/online")


def _set_of_numbers(text: str, what: str, plural: str, online: str) -> None:
    if not text:
        return
    try:
        wanted = _parse_set(text)
    except ValueError:
        raise InvalidArgument(f"Invalid value {text} for {what}: invalid format: {text}") from None
    try:
        with open(online) as file:
            present = file.read().strip()
    except FileNotFoundError:
        present = "0"
    if not wanted <= _parse_set(present):
        raise InvalidArgument(
            f"Requested {plural} are not available - requested {text}, available: {present}"
        )


def _parse_set(text: str) -> set[int]:
    """``0-2,5``: the list format of cpuset(7)."""
    result: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(part)
        low, high = int(first), int(last or first)
        if low > high or high > 1 << 16:
            raise ValueError(part)
        result.update(range(low, high + 1))
    return result


def _block_io(_: Config, host: HostConfig) -> None:
    weights = [host.blkio_weight, *(each.weight for each in host.blkio_weight_device or ())]
    if any(weight and not 10 <= weight <= 1000 for weight in weights):
        raise InvalidArgument("Range of blkio weight is from 10 to 1000")


def _modes(config: Config, host: HostConfig) -> None:
    kind, _, name = host.network_mode.partition(":")
    if kind == "container":
        if not name:
            raise InvalidArgument("Invalid network mode: invalid container format container:<name|id>")
        if config.hostname:
            raise InvalidArgument("conflicting options: hostname and the network mode")
        if host.extra_hosts:
            raise InvalidArgument("conflicting options: custom host-to-IP mapping and the network mode")
        if host.dns or host.dns_options or host.dns_search:
            raise InvalidArgument("conflicting options: dns and the network mode")
        if host.port_bindings or host.publish_all_ports:
            raise InvalidArgument("conflicting options: port publishing and the container type network mode")
    if host.egress is not None:
        if host.network_mode in ("none", "host") or kind == "container":
            raise InvalidArgument("conflicting options: egress and the network mode")
        egress.places(host.egress)
    if host.links and host.network_mode not in ("default", "bridge"):
        what = {"container": "container type network", "host": "host type networking"}.get(
            kind, "this network"
        )
        raise InvalidArgument(
            f"conflicting options: {what} can't be used with links. This would result in undefined behavior"
        )
    for port, bindings in (host.port_bindings or {}).items():
        published_port(port, bindings)
    for entry in host.dns or ():
        try:
            ipaddress.ip_address(entry)
        except ValueError:
            raise InvalidArgument(f"invalid DNS server: {entry} is not an IP address") from None
    _joined(host.pid_mode, "PID", ("", "host"))
    _joined(host.ipc_mode, "IPC", ("", "private", "shareable", "host", "none"))
    if host.uts_mode not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host.uts_mode}")
    if host.uts_mode == "host" and config.hostname:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if host.userns_mode not in ("", "host"):
        raise InvalidArgument(f"invalid USER mode: {host.userns_mode}")
    if host.cgroupns_mode not in ("", "private", "host"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {host.cgroupns_mode}")
    logs.check(host.log_config)
    restart.check(host.restart_policy)
    if host.restart_policy.name not in ("", "no") and host.auto_remove:
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    if host.timeout < 0:
        raise InvalidArgument(f"invalid timeout: {host.timeout} (seconds, or 0 for none)")


def published_port(port: str, bindings: list[PortBinding]) -> None:
    """A key of ``PortBindings``, and what it leads to."""
    number, _, protocol = port.partition("/")
    if not number.isdecimal() or not 0 < int(number) < 65536:
        raise InvalidArgument(f'invalid port specification: "{port}"')
    if protocol not in ("", *ports.PROTOCOLS):
        raise InvalidArgument(f"invalid proto: {protocol}")
    for binding in bindings:
        ports.bounds(binding.host_port)
        if binding.host_ip:
            try:
                ipaddress.ip_address(binding.host_ip)
            except ValueError:
                raise InvalidArgument(f"invalid IP address: {binding.host_ip}") from None


def _joined(mode: str, what: str, plain: tuple[str, ...]) -> None:
    kind, colon, name = mode.partition(":")
    if mode not in plain and not (kind == "container" and colon and name):
        raise InvalidArgument(f"invalid {what} mode: {mode}")


def carried(text: str, what: str) -> None:
    """``InvalidArgument`` for what neither a JSON document nor execve(2) could carry."""
    if "\0" in text:
        raise InvalidArgument(f"{what} has a zero byte in it: {text!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raw = os.fsencode(text)
        raise InvalidArgument(
            f"{what} is not UTF-8, and a container's record holds nothing else: {raw!r}"
        ) from None


def _text(config: Config, host: HostConfig) -> None:
    for word in (*(config.entrypoint or ()), *(config.cmd or ())):
        carried(word, "argument")
    for variable in config.env or ():
        carried(variable, "environment variable")
    for name, value in (config.labels or {}).items():
        carried(f"{name}={value}", "label")
    for name, value in (host.annotations or {}).items():
        carried(f"{name}={value}", "annotation")
    for bind in host.binds or ():
        carried(bind, "volume specification")
    for mount in host.mounts or ():
        carried(f"{mount.source}:{mount.target}", "mount")
        if mount.volume_options is not None:
            _carried_volume(mount.volume_options)
    for text in (config.hostname, config.domainname, config.user, config.working_dir, host.rootfs):
        carried(text, "option")


def _carried_volume(options: VolumeOptions) -> None:
    carried(options.subpath, "volume-subpath")
    driver = (options.driver_config.options if options.driver_config is not None else None) or {}
    for name, value in {**(options.labels or {}), **driver}.items():
        carried(f"{name}={value}", "label or option of a volume")


def _process(config: Config, host: HostConfig) -> None:
    if config.working_dir and not config.working_dir.startswith("/"):
        raise InvalidArgument(
            f"the working directory '{config.working_dir}' is invalid, it needs to be an absolute path"
        )
    for variable in config.env or ():
        if not variable.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {variable}")
    if len(config.hostname) > 64:
        raise InvalidArgument(f"invalid hostname: {config.hostname} (64 characters are the limit)")
    if len(config.domainname) > 64:
        raise InvalidArgument(f"invalid domainname: {config.domainname} (64 characters are the limit)")
    if config.healthcheck is not None:
        health.check(config.healthcheck)
        for word in config.healthcheck.test or ():
            carried(word, "health check")
    if config.stop_signal:
        signal_number(config.stop_signal)
    for limit in host.ulimits or ():
        if limit.name not in _ULIMITS:
            raise InvalidArgument(f"invalid ulimit type: {limit.name}")
        if limit.hard != -1 and (limit.soft > limit.hard or limit.soft == -1):
            raise InvalidArgument(
                f"ulimit soft limit must be less than or equal to hard limit: {limit.soft} > {limit.hard}"
            )


def _security(_: Config, host: HostConfig) -> None:
    for field, names in (("CapAdd", host.cap_add), ("CapDrop", host.cap_drop)):
        try:
            if names:
                effective_capabilities(names, ())
        except InvalidArgument as error:
            raise InvalidArgument(f"invalid {field}: {error}") from None
    security.options(host.security_opt or ())
    for rule in host.device_cgroup_rules or ():
        resources.device_rule(rule)
    for mapping in host.devices or ():
        permissions = mapping.cgroup_permissions
        if not permissions or set(permissions) - set("rwm"):
            raise InvalidArgument(f"invalid device mode: {permissions}")
        if mapping.path_in_container and not mapping.path_in_container.startswith("/"):
            raise InvalidArgument(f"{mapping.path_in_container} is not an absolute path")
    for name in host.sysctls or {}:
        _sysctl(name, host)


def _sysctl(name: str, host: HostConfig) -> None:
    """Only what belongs to a namespace of the container's own (moby, ``runconfig`` and runc ``validate``)."""
    if name.startswith("net."):
        if host.network_mode == "host" or host.network_mode.startswith("container:"):
            raise InvalidArgument(
                f"sysctl '{name}' not allowed in {host.network_mode.partition(':')[0]} network namespace"
            )
    elif name.startswith("fs.mqueue.") or name in _IPC_SYSCTLS:
        if host.ipc_mode == "host" or host.ipc_mode.startswith("container:"):
            raise InvalidArgument(
                f"sysctl '{name}' not allowed in {host.ipc_mode.partition(':')[0]} ipc namespace"
            )
    elif name in ("kernel.hostname", "kernel.domainname"):
        if host.uts_mode == "host":
            raise InvalidArgument(f"sysctl '{name}' not allowed in host UTS namespace")
    else:
        raise InvalidArgument(
            f"sysctl '{name}' is not allowed: it is not the container's own (no namespace has it)"
        )


_IPC_NAMES = "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced"
_IPC_SYSCTLS = frozenset(f"kernel.{name}" for name in _IPC_NAMES.split())

_CHECKS: tuple[Callable[[Config, HostConfig], None], ...] = (
    _text,
    _process,
    _modes,
    _memory,
    _cpu,
    _block_io,
    _security,
)
