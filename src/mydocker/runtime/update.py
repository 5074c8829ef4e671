"""The command ``update``: other limits for a container that exists.

From a file in the shape of ``linux.resources``, or from options; what neither names stays as it is. The state
keeps the document as it is then, since a limit on swap alone needs to know the one on memory. Out of scope:
what becomes of each limit (``runtime/cgroup.py``).
"""

from __future__ import annotations

from mydocker.errors import Conflict, InvalidArgument, NotSupported
from mydocker.oci import runtime_check
from mydocker.oci.json import load, loads
from mydocker.runtime import store
from mydocker.runtime.verbs import cgroup_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from mydocker.oci.runtime import Resources
    from mydocker.runtime.arguments import Options
    from mydocker.runtime.main import Call

# Options, and the section and the member that each is in.
_BYTES = {
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "kernel-memory": ("memory", "kernel"),
    "kernel-memory-tcp": ("memory", "kernelTCP"),
}
_NUMBERS = {
    "blkio-weight": ("blockIO", "weight"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-share": ("cpu", "shares"),
    "cpu-rt-period": ("cpu", "realtimePeriod"),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime"),
    "cpu-idle": ("cpu", "idle"),
    "pids-limit": ("pids", "limit"),
}
_TEXTS = {"cpuset-cpus": ("cpu", "cpus"), "cpuset-mems": ("cpu", "mems")}
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def update(call: Call) -> int:
    """Set limits of a container that runs, waits or is paused."""
    entry = store.find(call.root, call.only_id())
    options = call.options
    if options.value("l3-cache-schema") or options.value("mem-bw-schema"):
        raise NotSupported("Intel RDT (--l3-cache-schema, --mem-bw-schema) is not supported")
    path = options.value("resources")
    given: Any = _from_file(path) if path else _from_options(options)
    if (status := entry.status()) == "stopped":
        raise Conflict(f"cannot update container {entry.id}: it is {status}")
    linux = entry.spec.setdefault("linux", {})
    before: Any = linux.get("resources", {})
    memory = given.get("memory", {})
    if memory.get("swap") and "limit" not in memory and "limit" in before.get("memory", {}):
        memory["limit"] = before["memory"]["limit"]
    cgroup_of(entry).update(given)
    linux["resources"] = _merged(before, given)
    entry.save()
    return 0


def _from_file(path: str) -> Resources:
    if path == "-":
        import sys

        found: Any = loads(sys.stdin.read(), "standard input")
    else:
        found = load(path)
    runtime_check.check_resources(found, path)
    resources: Resources = found
    return resources


def _from_options(options: Options) -> Resources:
    found: dict[str, dict[str, object]] = {}
    for names, read in ((_BYTES, _bytes), (_NUMBERS, _number), (_TEXTS, _text)):
        for option, (section, member) in names.items():
            if text := options.value(option):
                found.setdefault(section, {})[member] = read(option, text)
    runtime_check.check_resources(found, "update")
    return found  # type: ignore[return-value]


def _bytes(option: str, text: str) -> int:
    """``104857600``, ``100m``, ``100MiB``, or -1."""
    digits = text.rstrip("bBiIkKmMgGtTpP")
    unit = text[len(digits) :].lower().removesuffix("b").removesuffix("i")
    if text == "-1":
        return -1
    if not digits.isdigit() or unit not in _UNITS:
        raise InvalidArgument(f"--{option} is a number of bytes such as 100m, or -1, not {text!r}")
    return int(digits) * _UNITS[unit]


def _number(option: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"--{option} is a number, not {text!r}") from None


def _text(_: str, text: str) -> str:
    return text


def _merged(before: Any, given: Any) -> Any:
    """``given`` laid over ``before``, objects member by member."""
    result = dict(before)
    for name, value in given.items():
        old = result.get(name)
        result[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
