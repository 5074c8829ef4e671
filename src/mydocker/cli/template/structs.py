"""Documents as the values of Go that Docker's client executes a template over, before it tries their JSON.

    Struct       has the fields that its type has, by their names in Go: another one is an error, and one that
                 JSON leaves out is there, and says nothing
    NIL          a pointer to nothing: prints ``<nil>``, is false, is ``null`` in JSON
    NilList, NilMap, NilStrings: print ``[]`` and ``map[]``, have no elements, are ``null`` in JSON
    Strings      a map of strings: ``index`` of a key that it has not is the empty string

Source: github.com/moby/moby, api/types; text/template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Struct(dict[str, Any]):
    """Values by field; ``raw`` is the document, which is what ``json`` makes of it."""

    raw: Mapping[str, Any]


class Nil:
    """The only one is ``NIL``."""

    def __bool__(self) -> bool:
        return False


NIL = Nil()


class NilList(list[Any]):
    pass


class NilMap(dict[str, Any]):
    pass


class Strings(dict[str, Any]):
    pass


class NilStrings(Strings):
    pass


_STRING_NAMES = "Annotations Attributes Data DriverOpts Labels Options StorageOpt Sysctls Tmpfs"
_MAP_NAMES = "Containers ExposedPorts Networks PortBindings Ports Volumes"
_LIST_NAMES = (
    "Aliases Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps BlkioDeviceWriteIOps "
    "BlkioWeightDevice CapAdd CapDrop Cmd DNSNames DeviceCgroupRules DeviceRequests Devices Dns DnsOptions "
    "DnsSearch Entrypoint Env ExecIDs ExtraHosts GroupAdd Layers Links MaskedPaths Mounts OnBuild "
    "ReadonlyPaths RepoDigests RepoTags SecurityOpt Shell Ulimits VolumesFrom"
)
_STRINGS, _MAPS, _LISTS = (frozenset(names.split()) for names in (_STRING_NAMES, _MAP_NAMES, _LIST_NAMES))
_TEXTS = frozenset(("Driver", "Name", "StopSignal"))
_RENAMED = {
    "Id": "ID",
    "CpuCount": "CPUCount",
    "CpuPercent": "CPUPercent",
    "CpuPeriod": "CPUPeriod",
    "CpuQuota": "CPUQuota",
    "CpuRealtimePeriod": "CPURealtimePeriod",
    "CpuRealtimeRuntime": "CPURealtimeRuntime",
    "CpuShares": "CPUShares",
    "Dns": "DNS",
    "DnsOptions": "DNSOptions",
    "DnsSearch": "DNSSearch",
    "NanoCpus": "NanoCPUs",
}
"""members that have another name in Go"""
_MEMBERS: dict[str, tuple[str, ...]] = {
    "": ("SizeRw", "SizeRootFs"),
    "State": ("Health",),
    "Config": ("ExposedPorts", "Healthcheck", "Shell", "StopSignal", "StopTimeout"),
    "HostConfig": ("Annotations", "Init", "Mounts", "StorageOpt", "Sysctls", "Tmpfs"),
    "Mounts": ("Driver", "Name"),
}
"""what may be left out, by what it is a member of"""


def struct(document: Mapping[str, Any], name: str = "") -> Struct:
    """``name``: of which member of another document it is the value."""
    members = {**document, **{member: None for member in _MEMBERS.get(name, ()) if member not in document}}
    found = Struct(
        {_RENAMED.get(member, member): _value(member, value, name) for member, value in members.items()}
    )
    found.raw = document
    return found


def _value(name: str, value: Any, parent: str) -> Any:
    strings = name in _STRINGS or (parent, name) == ("LogConfig", "Config")
    if value is None:
        return NilList() if parent == "Ports" else _nothing(name, strings=strings)
    if isinstance(value, Mapping):
        if strings:
            return Strings(value)
        if name in _MAPS:
            return {key: _value("element", each, name) for key, each in value.items()}
        return struct(value, name)
    if isinstance(value, list):
        kind = "element" if parent == "IPAM" else name
        return [struct(each, kind) if isinstance(each, Mapping) else each for each in value]
    return value


def _nothing(name: str, *, strings: bool) -> Any:
    if strings:
        return NilStrings()
    if name in _LISTS:
        return NilList()
    if name in _MAPS:
        return NilMap()
    return "" if name in _TEXTS else NIL


def plain(value: Any) -> Any:
    """What JSON is to be made of."""
    if isinstance(value, Struct):
        return value.raw
    if isinstance(value, Nil | NilList | NilMap | NilStrings):
        return None
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value
