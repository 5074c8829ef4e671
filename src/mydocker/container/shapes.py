"""The parts of ``inspect`` that Docker fills in: every member of its documents, with what holds here.

``Config`` and ``HostConfig`` are kept as they were asked for; shown are also the defaults that they took
(``IpcMode``, ``MaskedPaths``), and what this engine has nothing for has Docker's word for nothing: ``[]``,
``""``, ``0`` or ``null``, as its server says it (Docker Engine API v1.43, ``ContainerInspect``).
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from ..network.document import Attached, Endpoint
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
    "EndpointID": "",
    "Gateway": "",
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "IPAddress": "",
    "IPPrefixLen": 0,
    "IPv6Gateway": "",
    "MacAddress": "",
}


def config(asked: Config) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(asked)
    for name in ("ExposedPorts", "Healthcheck", "StopSignal", "StopTimeout"):
        if shown.get(name) is None:
            shown.pop(name, None)
    shown.setdefault("OnBuild", None)
    shown["Labels"] = shown["Labels"] or {}
    return shown


def host_config(asked: HostConfig) -> dict[str, Any]:
    shown: dict[str, Any] = {**_NOTHING, **msgspec.to_builtins(asked)}
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
    return shown


def network_settings(record: Record, state: State, attached: Attached) -> dict[str, Any]:
    """The namespace is named by the process that is in it; there is no sandbox apart from that."""
    host = record.host_config
    endpoints = {each.network: each for each in attached.endpoints}
    own = state.pid and host.network_mode != "host"
    return {
        **_addresses(endpoints.get("bridge")),
        "Bridge": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Networks": networks(record, attached),
        "Ports": _ports(record, attached) if state.running else {},
        "SandboxID": "",
        "SandboxKey": f"/proc/{state.pid}/ns/net" if own else "",
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
    }


def _addresses(endpoint: Endpoint | None) -> dict[str, Any]:
    if endpoint is None:
        return _ADDRESSES
    return {
        "EndpointID": endpoint.id,
        "Gateway": endpoint.gateway,
        "GlobalIPv6Address": endpoint.address6,
        "GlobalIPv6PrefixLen": endpoint.prefix6,
        "IPAddress": endpoint.address,
        "IPPrefixLen": endpoint.prefix,
        "IPv6Gateway": endpoint.gateway6,
        "MacAddress": endpoint.mac,
    }


def networks(record: Record, attached: Attached) -> dict[str, Any]:
    """Where the container is, or will be when it is started."""
    mode = record.host_config.network_mode
    if mode.startswith("container:"):
        return {}
    endpoints = {each.network: each for each in attached.endpoints}
    asked = record.networks or {mode: EndpointConfig()}
    result = {}
    for name in dict.fromkeys((*asked, *endpoints)):
        wanted, endpoint = asked.get(name, EndpointConfig()), endpoints.get(name)
        aliases = [*(wanted.aliases or ())]
        if record.networks and name != "bridge":
            aliases.append(record.short_id)
        result[name] = {
            **_addresses(endpoint),
            "Aliases": aliases or None,
            "DriverOpts": wanted.driver_opts,
            "IPAMConfig": msgspec.to_builtins(wanted.ipam_config) if wanted.ipam_config else None,
            "Links": wanted.links,
            "NetworkID": endpoint.network_id if endpoint is not None else "",
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
