"""The parts of ``inspect`` that Docker fills in: every member of its documents, with what holds here.

``Config`` and ``HostConfig`` are kept as they were asked for; shown are also the defaults that they took
(``IpcMode``, ``MaskedPaths``), and what this engine has nothing for has Docker's word for nothing: ``[]``,
``""``, ``0`` or ``null``, as its server says it (Docker Engine API v1.43, ``ContainerInspect``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import msgspec

from ..monitor.timestamp import NEVER
from ..network.document import PREDEFINED, Attached, Endpoint, predefined_id
from ..oci import defaults
from .config import Config, EndpointConfig, HostConfig
from .record import Record
from .spec import private_cgroup_namespace
from .state import State

_LISTS = (
    "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps",
    "BlkioWeightDevice", "Devices", "Dns", "DnsOptions", "DnsSearch", "Ulimits",
)  # fmt: skip
_LEFT_OUT = (
    "Annotations", "Egress", "HealthOnFailure", "Init", "Mounts", "Rootfs", "StorageOpt", "Sysctls",
    "Timeout", "Tmpfs",
)  # fmt: skip
"""members that Docker leaves out when they say nothing"""
_MAPS = ("Annotations", "PortBindings", "StorageOpt", "Sysctls", "Tmpfs")
_CONFIG_ORDER = (
    "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "Tty",
    "OpenStdin", "StdinOnce", "Env", "Cmd", "Healthcheck", "Image", "Volumes", "WorkingDir", "Entrypoint",
    "OnBuild", "Labels", "StopSignal", "StopTimeout", "Shell",
)  # fmt: skip
_HOST_ORDER = (
    "Binds", "ContainerIDFile", "LogConfig", "NetworkMode", "PortBindings", "RestartPolicy", "AutoRemove",
    "VolumeDriver", "VolumesFrom", "ConsoleSize", "Annotations", "CapAdd", "CapDrop", "CgroupnsMode",
    "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "IpcMode", "Cgroup", "Links",
    "OomScoreAdj", "PidMode", "Privileged", "PublishAllPorts", "ReadonlyRootfs", "SecurityOpt",
    "StorageOpt", "Tmpfs", "UTSMode", "UsernsMode", "ShmSize", "Sysctls", "Runtime", "Isolation",
    "CpuShares", "Memory", "NanoCpus", "CgroupParent", "BlkioWeight", "BlkioWeightDevice",
    "BlkioDeviceReadBps", "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps",
    "CpuPeriod", "CpuQuota", "CpuRealtimePeriod", "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems",
    "Devices", "DeviceCgroupRules", "DeviceRequests", "MemoryReservation", "MemorySwap",
    "MemorySwappiness", "OomKillDisable", "PidsLimit", "Ulimits", "CpuCount", "CpuPercent",
    "IOMaximumIOps", "IOMaximumBandwidth", "Mounts", "MaskedPaths", "ReadonlyPaths", "Init",
)  # fmt: skip
"""of Docker's members of ``HostConfig``; ours come after them"""
_NOTHING: dict[str, Any] = {
    "Cgroup": "",
    "ConsoleSize": [0, 0],
    "CpuCount": 0,
    "CpuPercent": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "DeviceRequests": None,
    "IOMaximumBandwidth": 0,
    "IOMaximumIOps": 0,
    "Isolation": "",
}
_ADDRESSES = {
    "MacAddress": "",
    "EndpointID": "",
    "Gateway": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
}


def config(asked: Config) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(asked)
    for name in ("ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout"):
        if shown.get(name) is None:
            shown.pop(name, None)
    shown["OnBuild"] = shown.get("OnBuild")
    shown["Labels"] = shown["Labels"] or {}
    for name in ("ExposedPorts", "Volumes", "Labels"):
        if shown.get(name):
            shown[name] = _sorted(shown[name])
    return {**_chosen(shown, _CONFIG_ORDER), **shown}


def _sorted(found: dict[str, Any]) -> dict[str, Any]:
    """As Go writes a map."""
    return dict(sorted(found.items()))


def _chosen(found: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: found[name] for name in names if name in found}


def host_config(asked: HostConfig, links: list[str] | None) -> dict[str, Any]:
    """``links``: of those in the predefined network, with their names as they are now."""
    shown: dict[str, Any] = {**_NOTHING, **msgspec.to_builtins(asked), "Links": links}
    for name in _LEFT_OUT:
        if not shown.get(name) and shown.get(name) is not False:
            shown.pop(name, None)
    for name in _LISTS:
        shown[name] = shown[name] or []
    shown["PortBindings"] = shown["PortBindings"] or {}
    v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    private = private_cgroup_namespace(asked, cgroup_v2=v2)
    shown["CgroupnsMode"] = asked.cgroupns_mode or ("private" if private else "host")
    shown["IpcMode"] = asked.ipc_mode or "private"
    if not v2:
        shown["OomKillDisable"] = bool(asked.oom_kill_disable)
    if not asked.privileged:
        masked, readonly = asked.masked_paths, asked.readonly_paths
        shown["MaskedPaths"] = defaults.masked_paths() if masked is None else masked
        shown["ReadonlyPaths"] = defaults.readonly_paths() if readonly is None else readonly
    if asked.privileged or "host" in (asked.pid_mode, asked.ipc_mode):
        shown["SecurityOpt"] = [*(asked.security_opt or ()), "label=disable"]
    if "Mounts" in shown:
        shown["Mounts"] = [_said(mount) for mount in shown["Mounts"]]
    for name in _MAPS:
        if shown.get(name):
            shown[name] = _sorted(shown[name])
    shown["LogConfig"]["Config"] = _sorted(shown["LogConfig"]["Config"])
    return {**_chosen(shown, _HOST_ORDER), **shown}


def _said(mount: dict[str, Any]) -> dict[str, Any]:
    """A mount without what nobody has said."""
    parts = {name: _said(part) if isinstance(part, dict) else part for name, part in mount.items()}
    return {name: part for name, part in parts.items() if part not in (None, "", False, 0, {}, [])}


def network_settings(root: str, record: Record, state: State, attached: Attached) -> dict[str, Any]:
    """The namespace is named by the process that is in it; there is no sandbox apart from that."""
    host = record.host_config
    own = state.pid and host.network_mode != "host"
    bridged = _addresses(next((each for each in attached.endpoints if each.network == "bridge"), None))
    return {
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": f"/proc/{state.pid}/ns/net" if own else "",
        "Ports": _ports(record, attached) if state.running else {},
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
        **_chosen(bridged, sorted(bridged)),
        "Networks": networks(root, record, state, attached),
    }


def _addresses(endpoint: Endpoint | None) -> dict[str, Any]:
    if endpoint is None:
        return _ADDRESSES
    return {
        "MacAddress": endpoint.mac,
        "EndpointID": endpoint.id,
        "Gateway": endpoint.gateway,
        "IPAddress": endpoint.address,
        "IPPrefixLen": endpoint.prefix,
        "IPv6Gateway": endpoint.gateway6,
        "GlobalIPv6Address": endpoint.address6,
        "GlobalIPv6PrefixLen": endpoint.prefix6,
    }


def networks(root: str, record: Record, state: State, attached: Attached) -> dict[str, Any]:
    """Where the container is, or will be when it is started. ``root``: of the engine's networks."""
    mode = record.host_config.network_mode
    if mode.startswith("container:"):
        return {}
    endpoints = {each.network: each for each in attached.endpoints}
    asked = {mode: EndpointConfig()} if mode in ("host", "none") else record.networks
    result = {}
    for name in sorted({*asked, *endpoints}):
        wanted, endpoint = asked.get(name, EndpointConfig()), endpoints.get(name)
        aliases = [*(wanted.aliases or ())]
        if record.networks and name != "bridge":
            aliases.append(record.short_id)
        shown = _addresses(endpoint)
        identifier = endpoint.network_id if endpoint is not None else ""
        if name in PREDEFINED and state.started_at != NEVER:
            identifier = predefined_id(root, name)
            if name != "bridge" and state.running:  # an endpoint there is nothing but its name
                shown = {**shown, "EndpointID": predefined_id(record.id, name)}
        result[name] = {
            "IPAMConfig": msgspec.to_builtins(wanted.ipam_config) if wanted.ipam_config else None,
            "Links": wanted.links,
            "Aliases": aliases or None,
            "MacAddress": shown["MacAddress"],
            "DriverOpts": wanted.driver_opts,
            "NetworkID": identifier,
            **shown,
        }
    return result


def _ports(record: Record, attached: Attached) -> dict[str, Any]:
    found: dict[str, Any] = (
        dict.fromkeys(sorted(record.config.exposed_ports or ())) if record.networks else {}
    )
    for port in attached.ports:
        key = f"{port.port}/{port.protocol}"
        found[key] = [*(found.get(key) or ()), {"HostIp": port.host, "HostPort": str(port.host_port)}]
    return found


def ports(record: Record, state: State, attached: Attached) -> list[dict[str, Any]]:
    """Of ``ps``: what a running container publishes, and what else it exposes in a network of its own."""
    if not state.running or not record.networks:
        return []
    found: list[dict[str, Any]] = []
    for port in attached.ports:
        shown = {"PrivatePort": port.port, "PublicPort": port.host_port, "Type": port.protocol}
        found.append({"IP": port.host, **shown})
    published = {(port.port, port.protocol) for port in attached.ports}
    for key in sorted(record.config.exposed_ports or ()):
        number, _, protocol = key.partition("/")
        if (int(number), protocol or "tcp") not in published:
            found.append({"PrivatePort": int(number), "Type": protocol or "tcp"})
    return found
