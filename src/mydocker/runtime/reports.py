"""The commands of ``mydocker-runtime`` that only look: state, list, ps, spec, features."""

from __future__ import annotations

import os
import sys

from mydocker.errors import Conflict, InvalidArgument, NotFound, NotSupported
from mydocker.oci.json import dumps
from mydocker.runtime import store
from mydocker.runtime.state import LATEST_OCI_VERSION, OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Spec
    from mydocker.runtime.main import Call
    from mydocker.runtime.store import Entry


def state(call: Call) -> int:
    """The state of one container, in the shape of the specification and with runc's additions."""
    entry = store.find(call.root, call.only_id())
    summary = _summary(entry)
    if summary["status"] == "creating":  # runc and crun know nothing of it yet; engines ask again
        raise NotFound(f"container {entry.id} does not exist in {call.root}: it is being created")
    print(dumps(summary, indent=2))
    return 0


def list_(call: Call) -> int:
    """All containers of this root."""
    entries = store.all_entries(call.root)
    if call.options.flag("quiet"):
        print("".join(f"{entry.id}\n" for entry in entries), end="")
        return 0
    rows = [_summary(entry) for entry in entries]
    if _format(call, "table") == "json":
        print(dumps(rows))
        return 0
    header = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
    keys = ("id", "pid", "status", "bundle", "created", "owner")
    _table([header, *(tuple(str(row[key]) for key in keys) for row in rows)])
    return 0


def ps(call: Call) -> int:
    """The processes in the container's cgroup; as a table, what the host's ps says about them."""
    from mydocker.runtime.verbs import cgroup_of

    entry = store.find(call.root, call.id())
    if entry.status() == "stopped":
        raise Conflict(f"container {entry.id} is not running")
    pids = sorted(cgroup_of(entry).pids())
    if _format(call, "table") == "json":
        print(dumps(pids))
        return 0
    import subprocess

    words = call.words[1:] or ["-ef"]
    lines = subprocess.run(["ps", *words], check=True, capture_output=True, text=True).stdout.splitlines()
    try:
        column = lines[0].split().index("PID")
    except (IndexError, ValueError):
        raise InvalidArgument(f"ps {' '.join(words)} shows no PID column to choose lines by") from None
    print(lines[0])
    for line in lines[1:]:
        fields = line.split()
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in pids:
            print(line)
    return 0


def spec(call: Call) -> int:
    """Write config.json into the bundle: a shell on a terminal, with the default confinement."""
    if call.words:
        raise InvalidArgument(f"unexpected argument: {call.words[0]}")
    path = os.path.join(call.options.value("bundle", "."), "config.json")
    try:
        with open(path, "x") as file:
            document = example()
            if call.options.flag("rootless"):
                _for_a_user(document)
            file.write(dumps(document, indent=4) + "\n")
    except FileExistsError:
        raise Conflict(f"{path} exists already (remove it first)") from None
    return 0


def example() -> Spec:
    """The document that ``spec`` writes."""
    from mydocker.oci import defaults

    capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [f"PATH={defaults.PATH}", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "mydocker",
        "mounts": defaults.mounts(),
        "linux": {
            "resources": {"devices": defaults.device_rules()[:1]},
            "namespaces": [{"type": k} for k in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": defaults.masked_paths(),
            "readonlyPaths": defaults.readonly_paths(),
        },
    }


def _for_a_user(document: Spec) -> None:
    """Change the document so that a user without rights can run it: root in there is that user outside."""
    linux = document["linux"]
    namespaces = [entry for entry in linux["namespaces"] if entry["type"] != "network"]
    linux["namespaces"] = [*namespaces, {"type": "user"}]
    for field, id in (("uidMappings", os.geteuid()), ("gidMappings", os.getegid())):
        linux[field] = [{"containerID": 0, "hostID": id, "size": 1}]  # type: ignore[literal-required]
    del linux["resources"]
    kept = []
    for entry in document["mounts"]:
        # Neither a group of terminals nor another sysfs can be had without rights over the host's.
        entry["options"] = [o for o in entry.get("options", []) if not o.startswith(("gid=", "uid="))]
        if entry["type"] == "sysfs":
            options = ["rbind", "nosuid", "noexec", "nodev", "ro"]
            entry = {"destination": "/sys", "type": "none", "source": "/sys", "options": options}
        if entry["type"] != "cgroup":
            kept.append(entry)
    document["mounts"] = kept


def features(call: Call) -> int:
    """What is built, in the shape of the specification's features.md; whether the host has it, or not."""
    from mydocker import __version__
    from mydocker.linux import namespace, numa
    from mydocker.linux.seccomp import library_version
    from mydocker.oci import seccomp
    from mydocker.oci.capabilities import CAPABILITIES
    from mydocker.oci.runtime_check import HOOKS
    from mydocker.runtime import criu
    from mydocker.runtime.seccomp import supported_flags
    from mydocker.runtime.steps import options
    from mydocker.runtime.systemd_properties import ANNOTATION

    if call.words:
        raise InvalidArgument(f"unexpected argument: {call.words[0]}")
    annotations = {
        "mydocker-runtime.version": __version__,
        "mydocker-runtime.checkpoint.enabled": "true",
        "org.opencontainers.runc.checkpoint.enabled": "true",  # where engines look for it, whoever answers
    }
    try:
        annotations["io.github.seccomp.libseccomp.version"] = library_version()
    except NotSupported:  # not installed: there is no version to tell of
        pass
    document = {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": LATEST_OCI_VERSION,
        "hooks": HOOKS,
        "mountOptions": sorted(options.NAMES),
        "linux": {
            "namespaces": sorted(namespace.KINDS),
            "capabilities": CAPABILITIES,
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": False, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": seccomp.ACTIONS,
                "operators": seccomp.OPERATORS,
                "archs": seccomp.ARCHITECTURES,
                "knownFlags": seccomp.FLAGS,
                "supportedFlags": supported_flags(),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False, "schemata": False, "monitoring": False},
            "memoryPolicy": {"modes": list(numa.MODES), "flags": list(numa.FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": annotations,
        "potentiallyUnsafeConfigAnnotations": [criu.ANNOTATION, ANNOTATION],
    }
    print(dumps(document, indent=2))
    return 0


def _summary(entry: Entry) -> dict[str, object]:
    import pwd

    status = entry.status()
    root = entry.spec.get("root", {}).get("path", "")
    try:
        owner = pwd.getpwuid(entry.uid).pw_name
    except KeyError:
        owner = str(entry.uid)
    return {
        "ociVersion": entry.spec["ociVersion"],
        "id": entry.id,
        "pid": 0 if status == "stopped" else entry.pid,
        "status": status,
        "bundle": entry.bundle,
        "rootfs": os.path.normpath(os.path.join(entry.bundle, root)),
        "created": entry.created,
        "annotations": entry.spec.get("annotations", {}),
        "owner": owner,
    }


def _format(call: Call, default: str) -> str:
    format = call.options.value("format", default)
    if format not in ("table", "json"):
        raise InvalidArgument(f"--format is table or json, not {format}")
    return format


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")
