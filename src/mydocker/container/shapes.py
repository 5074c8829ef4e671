"""The parts of ``inspect`` that Docker fills in: every member of its documents, with what holds here.

``Config`` and ``HostConfig`` are kept as they were asked for; shown are also the defaults that they took
(``IpcMode``, ``MaskedPaths``), and what this engine has nothing for has Docker's word for nothing: ``[]``,
``""``, ``0`` or ``null``, as its server says it (Docker Engine API v1.43, ``ContainerInspect``).
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from ..oci import defaults
from .config import Config, HostConfig
from .record import Record
from .spec import private_cgroup_namespace
from .state import State

_LISTS = (
    "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps",
    "BlkioWeightDevice", "Devices", "Ulimits",
)  # fmt: skip
_LEFT_OUT = ("Annotations", "Init", "Mounts", "Rootfs", "StorageOpt", "Sysctls", "Tmpfs")
"""members that Docker leaves out when they say nothing"""
_NOTHING: dict[str, Any] = {
    "Cgroup": "",
    "ConsoleSize": [0, 0],
    "CpuCount": 0,
    "CpuPercent": 0,
    "CpuRealtimePeriod": 0,
    "CpuRealtimeRuntime": 0,
    "DeviceRequests": None,
    "Dns": [],
    "DnsOptions": [],
    "DnsSearch": [],
    "IOMaximumBandwidth": 0,
    "IOMaximumIOps": 0,
    "Isolation": "",
    "Links": None,
    "PortBindings": {},
    "PublishAllPorts": False,
    "VolumeDriver": "",
    "VolumesFrom": None,
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
    for name in ("ExposedPorts", "StopSignal", "StopTimeout"):
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


def network_settings(host: HostConfig, state: State) -> dict[str, Any]:
    """The namespace is named by the process that is in it; there is no sandbox apart from that."""
    own = state.running and host.network_mode != "host"
    return {
        **_ADDRESSES,
        "Bridge": "",
        "HairpinMode": False,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Networks": networks(host),
        "Ports": {},
        "SandboxID": "",
        "SandboxKey": f"/proc/{state.pid}/ns/net" if own else "",
        "SecondaryIPAddresses": None,
        "SecondaryIPv6Addresses": None,
    }


def networks(host: HostConfig) -> dict[str, Any]:
    mode = host.network_mode
    if mode.startswith("container:"):
        return {}
    nothing = {"Aliases": None, "DriverOpts": None, "IPAMConfig": None, "Links": None, "NetworkID": ""}
    return {mode: {**_ADDRESSES, **nothing}}


def ports(record: Record, state: State) -> list[dict[str, Any]]:
    """Of ``ps``: what a running container exposes, unless the ports are the host's or another one's."""
    mode = record.host_config.network_mode
    if not state.running or mode in ("none", "host") or mode.startswith("container:"):
        return []
    found = []
    for port in sorted(record.config.exposed_ports or ()):
        number, _, protocol = port.partition("/")
        found.append({"PrivatePort": int(number), "Type": protocol or "tcp"})
    return found
