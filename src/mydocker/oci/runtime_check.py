"""Check a runtime document before anything is done: each member's type, and what of it cannot be meant.

OCI runtime specification 1.2, config.md and config-linux.md. An error names the member
(``config.json: linux.namespaces[2].type: …``). Members that the specification does not know are passed over,
as it says ("Extensibility"); ``null`` stands for a member that is not there, and is taken out. Out of scope:
what depends on the host (``runtime/plan_container.py``), and the seccomp section (``oci/seccomp.py``).

The shape of the document is a table, so that reading it costs a cold start next to nothing:

    str, bool       that type                      "int", "uint", "uint32", "uint16"    a number in that range
    [x]             a list of x                    {"name": x}                          an object
    {"*": x}        an object of any names          "!"     the names that an object has to have
"""

from __future__ import annotations

from mydocker.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RANGES = {
    "int": (-(1 << 63), (1 << 63) - 1),
    "uint": (0, (1 << 64) - 1),
    "uint32": (0, (1 << 32) - 1),
    "uint16": (0, (1 << 16) - 1),
}
_TEXTS = [str]
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_REQUIRED = "!"
_MAPPING = {
    _REQUIRED: ("containerID", "hostID", "size"),
    "containerID": "uint32",
    "hostID": "uint32",
    "size": "uint32",
}
_HOOK = {"path": str, "args": _TEXTS, "env": _TEXTS, "timeout": "int"}
_RATE = {_REQUIRED: ("major", "minor", "rate"), "major": "int", "minor": "int", "rate": "uint"}
_RLIMIT = {_REQUIRED: ("type", "soft", "hard"), "type": str, "soft": "uint", "hard": "uint"}
_PROCESS: dict[str, Any] = {
    "terminal": bool,
    "consoleSize": {_REQUIRED: ("height", "width"), "height": "uint16", "width": "uint16"},
    "user": {
        "uid": "uint32",
        "gid": "uint32",
        "umask": "uint32",
        "additionalGids": ["uint32"],
        "username": str,
    },
    "args": _TEXTS,
    "commandLine": str,
    "env": _TEXTS,
    "cwd": str,
    "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted", "ambient"), _TEXTS),
    "rlimits": [_RLIMIT],
    "noNewPrivileges": bool,
    "apparmorProfile": str,
    "selinuxLabel": str,
    "oomScoreAdj": "int",
    "scheduler": {
        _REQUIRED: ("policy",),
        "policy": str,
        "nice": "int",
        "priority": "int",
        "flags": _TEXTS,
        "runtime": "uint",
        "deadline": "uint",
        "period": "uint",
    },
    "ioPriority": {_REQUIRED: ("class",), "class": str, "priority": "int"},
    "execCPUAffinity": {"initial": str, "final": str},
}
RESOURCES: dict[str, Any] = {
    "devices": [{"allow": bool, "type": str, "major": "int", "minor": "int", "access": str}],
    "memory": {
        "limit": "int",
        "reservation": "int",
        "swap": "int",
        "kernel": "int",
        "kernelTCP": "int",
        "swappiness": "uint",
        "disableOOMKiller": bool,
        "useHierarchy": bool,
        "checkBeforeUpdate": bool,
    },
    "cpu": {
        "shares": "uint",
        "quota": "int",
        "burst": "uint",
        "period": "uint",
        "realtimeRuntime": "int",
        "realtimePeriod": "uint",
        "cpus": str,
        "mems": str,
        "idle": "int",
    },
    "pids": {"limit": "int"},
    "blockIO": {
        "weight": "uint16",
        "leafWeight": "uint16",
        "weightDevice": [
            {
                _REQUIRED: ("major", "minor"),
                "major": "int",
                "minor": "int",
                "weight": "uint16",
                "leafWeight": "uint16",
            }
        ],
        "throttleReadBpsDevice": [_RATE],
        "throttleWriteBpsDevice": [_RATE],
        "throttleReadIOPSDevice": [_RATE],
        "throttleWriteIOPSDevice": [_RATE],
    },
    "hugepageLimits": [{_REQUIRED: ("pageSize", "limit"), "pageSize": str, "limit": "uint"}],
    "network": {
        "classID": "uint32",
        "priorities": [{_REQUIRED: ("name", "priority"), "name": str, "priority": "uint32"}],
    },
    "rdma": {"*": {"hcaHandles": "uint32", "hcaObjects": "uint32"}},
    "unified": {"*": str},
}
_SPEC: dict[str, Any] = {
    "ociVersion": str,
    "root": {"path": str, "readonly": bool},
    "mounts": [
        {
            "destination": str,
            "type": str,
            "source": str,
            "options": _TEXTS,
            "uidMappings": [_MAPPING],
            "gidMappings": [_MAPPING],
        }
    ],
    "process": _PROCESS,
    "hostname": str,
    "domainname": str,
    "hooks": {kind: [_HOOK] for kind in HOOKS},
    "annotations": {"*": str},
    "linux": {
        "namespaces": [{"type": str, "path": str}],
        "uidMappings": [_MAPPING],
        "gidMappings": [_MAPPING],
        "timeOffsets": {"*": {"secs": "int", "nanosecs": "uint32"}},
        "devices": [
            {
                "path": str,
                "type": str,
                "major": "int",
                "minor": "int",
                "fileMode": "uint32",
                "uid": "uint32",
                "gid": "uint32",
            }
        ],
        "netDevices": {"*": {"name": str}},
        "cgroupsPath": str,
        "resources": RESOURCES,
        "rootfsPropagation": str,
        "seccomp": {"defaultAction": str, "listenerPath": str, "listenerMetadata": str},
        "sysctl": {"*": str},
        "maskedPaths": _TEXTS,
        "readonlyPaths": _TEXTS,
        "mountLabel": str,
        "personality": {_REQUIRED: ("domain",), "domain": str, "flags": _TEXTS},
        "intelRdt": {
            "closID": str,
            "schemata": _TEXTS,
            "l3CacheSchema": str,
            "memBwSchema": str,
            "enableMonitoring": bool,
        },
        "memoryPolicy": {_REQUIRED: ("mode",), "mode": str, "nodes": str, "flags": _TEXTS},
    },
}
_PLATFORMS = ("freebsd", "solaris", "vm", "windows", "zos")
_NAMESPACES = ("user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time")
_CLOCKS = ("monotonic", "boottime")
_WANTED: dict[Any, str] = {str: "a text", bool: "true or false"}


def check(document: Any, path: str) -> None:
    """Raise ``InvalidArgument`` if ``document``, read from ``path``, is not a document for Linux.

    Takes members out that are null.
    """
    _Check(path).document(document)


def check_process(process: Any, path: str) -> None:
    """The same for a process that is added to a running container."""
    found = _Check(path)
    found.shape(process, _PROCESS, "")
    found.process(process, "")


def check_resources(resources: Any, path: str) -> None:
    """The same for ``linux.resources`` on their own."""
    found = _Check(path)
    found.shape(resources, RESOURCES, "")
    found.resources(resources, "")


class _Check:
    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def wrong(self, field: str, reason: str) -> InvalidArgument:
        return InvalidArgument(f"{self.path}: {field}: {reason}" if field else f"{self.path}: {reason}")

    def shape(self, value: Any, kind: Any, field: str) -> None:
        """Compare ``value`` with its entry ``kind`` of the table."""
        if type(kind) is dict:
            if type(value) is not dict:
                raise self.wrong(field, f"an object is wanted, not {value!r}")
            others = kind.get("*")
            dot = f"{field}." if field else ""
            for name in [name for name, member in value.items() if member is None]:
                del value[name]
            for name in kind.get(_REQUIRED, ()):
                if name not in value:
                    raise self.wrong(dot + name, "missing")
            for name, member in value.items():
                wanted = kind.get(name, others)
                if wanted is not None and type(member) is not wanted:
                    self.shape(member, wanted, dot + name)
        elif type(kind) is list:
            if type(value) is not list:
                raise self.wrong(field, f"a list is wanted, not {value!r}")
            wanted = kind[0]
            for index, member in enumerate(value):
                if type(member) is not wanted:
                    self.shape(member, wanted, f"{field}[{index}]")
        elif type(kind) is str:
            low, high = _RANGES[kind]
            if type(value) is not int or not low <= value <= high:
                raise self.wrong(field, f"a whole number from {low} to {high} is wanted, not {value!r}")
        elif type(value) is not kind:
            raise self.wrong(field, f"{_WANTED[kind]} is wanted, not {value!r}")

    def document(self, spec: Any) -> None:
        if type(spec) is not dict:
            raise self.wrong("", "a runtime document is an object")
        self.shape(spec, _SPEC, "")
        version = spec.get("ociVersion", "")
        if not version:
            raise self.wrong("ociVersion", "missing: this is not a runtime document")
        numbers = version.partition("-")[0].partition("+")[0].split(".")
        if len(numbers) != 3 or not all(number.isdigit() for number in numbers):
            raise self.wrong("ociVersion", f"a version such as 1.2.0 is wanted, not {version!r}")
        if numbers[0] != "1":
            raise self.wrong("ociVersion", f"version {version} is not supported, 1.x is")
        if not spec.get("root", {}).get("path"):
            raise self.wrong("root.path", "missing: a container needs a root directory")
        if "process" in spec:
            self.process(spec["process"], "process.")
        for platform in _PLATFORMS:
            if spec.get(platform):
                raise self.wrong(platform, "what is asked for there cannot be had: this runtime is for Linux")
        for index, entry in enumerate(spec.get("mounts", ())):
            if not entry.get("destination"):
                raise self.wrong(f"mounts[{index}].destination", "missing")
            if ("uidMappings" in entry) != ("gidMappings" in entry):
                raise self.wrong(f"mounts[{index}]", "uidMappings and gidMappings go together")
        self.hooks(spec.get("hooks", {}))
        self.linux(spec.get("linux", {}))

    def process(self, process: Any, at: str) -> None:
        if not process.get("args"):
            raise self.wrong(f"{at}args", "missing: there is nothing to execute")
        cwd = process.get("cwd", "")
        if not cwd.startswith("/"):
            raise self.wrong(f"{at}cwd", f"an absolute path is wanted, not {cwd!r}")
        for field in ("args", "env"):
            for index, text in enumerate(process.get(field, ())):
                if "\0" in text:
                    raise self.wrong(f"{at}{field}[{index}]", "has a NUL byte")
        score = process.get("oomScoreAdj", 0)
        if not -1000 <= score <= 1000:
            raise self.wrong(f"{at}oomScoreAdj", f"a number from -1000 to 1000 is wanted, not {score}")

    def hooks(self, hooks: Any) -> None:
        for kind, entries in hooks.items():
            for index, hook in enumerate(entries if type(entries) is list else ()):
                at = f"hooks.{kind}[{index}]"
                path = hook.get("path", "")
                if not path.startswith("/"):
                    raise self.wrong(f"{at}.path", f"an absolute path is wanted, not {path!r}")
                if hook.get("timeout", 1) <= 0:
                    raise self.wrong(f"{at}.timeout", f"has to be positive, not {hook['timeout']}")

    def linux(self, linux: Any) -> None:
        seen = set()
        for index, entry in enumerate(linux.get("namespaces", ())):
            kind, at = entry.get("type", ""), f"linux.namespaces[{index}]"
            if kind not in _NAMESPACES:
                raise self.wrong(f"{at}.type", f"no such kind of namespace: {kind!r}")
            if kind in seen:
                raise self.wrong(f"{at}.type", f"the {kind} namespace is given twice")
            if entry.get("path") and not entry["path"].startswith("/"):
                raise self.wrong(f"{at}.path", f"an absolute path is wanted, not {entry['path']!r}")
            seen.add(kind)
        for field in ("uidMappings", "gidMappings"):
            if linux.get(field) and "user" not in seen:
                raise self.wrong(f"linux.{field}", "there is no user namespace in linux.namespaces for them")
        for clock in linux.get("timeOffsets", {}):
            if clock not in _CLOCKS:
                raise self.wrong(f"linux.timeOffsets.{clock}", f"no such clock (one of {', '.join(_CLOCKS)})")
        for index, device in enumerate(linux.get("devices", ())):
            at = f"linux.devices[{index}]"
            path = device.get("path", "")
            if not path.startswith("/"):
                raise self.wrong(f"{at}.path", f"an absolute path is wanted, not {path!r}")
            if device.get("type") not in ("c", "u", "b", "p"):
                raise self.wrong(f"{at}.type", f"one of c, u, b, p is wanted, not {device.get('type')!r}")
            for number in ("major", "minor"):
                if number not in device and device["type"] != "p":
                    raise self.wrong(f"{at}.{number}", "missing")
        for field in ("maskedPaths", "readonlyPaths"):
            for index, path in enumerate(linux.get(field, ())):
                if not path.startswith("/"):
                    raise self.wrong(f"linux.{field}[{index}]", f"an absolute path is wanted, not {path!r}")
        self.resources(linux.get("resources", {}), "linux.resources.")

    def resources(self, resources: Any, at: str) -> None:
        for index, entry in enumerate(resources.get("blockIO", {}).get("weightDevice", ())):
            if not entry.keys() & {"weight", "leafWeight"}:
                raise self.wrong(
                    f"{at}blockIO.weightDevice[{index}]", "neither weight nor leafWeight is given"
                )
        for index, entry in enumerate(resources.get("hugepageLimits", ())):
            size = entry["pageSize"]
            if not (size[:-2].isdigit() and size[-2:] in ("KB", "MB", "GB")):
                where = f"{at}hugepageLimits[{index}].pageSize"
                raise self.wrong(where, f"a size such as 64KB, 2MB or 1GB is wanted, not {size!r}")
        for name, limits in resources.get("rdma", {}).items():
            if not limits.keys() & {"hcaHandles", "hcaObjects"}:
                raise self.wrong(f"{at}rdma.{name}", "neither hcaHandles nor hcaObjects is given")
