"""Resource limits, scheduling, kernel parameters and personality of the container's process."""

from __future__ import annotations

import errno
import os

from mydocker.errors import Forbidden, InvalidArgument, NotSupported
from mydocker.linux import host, mount, path, rlimit
from mydocker.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import IoPriority, Personality, Process, Rlimit, Scheduler
    from mydocker.oci.runtime import MemoryPolicy as MemoryPolicySection

# Those of an IPC namespace: man 7 ipc_namespaces
_IPC = frozenset(
    (
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    )
)
_PROC_ROOT_INO = 1  # linux/proc_fs.h
_PERSONALITIES = {"LINUX": host.PER_LINUX, "LINUX32": host.PER_LINUX32}


# What the kernel passes over for any other policy (sched(7)).
_OF_POLICIES = {
    ("SCHED_OTHER", "SCHED_BATCH"): ("nice",),
    ("SCHED_FIFO", "SCHED_RR"): ("priority",),
    ("SCHED_DEADLINE",): ("runtime", "deadline", "period"),
}


class ResourceLimits(Step):
    __slots__ = ("limits",)

    def __init__(self, limits: list[Rlimit]) -> None:
        seen: set[str] = set()
        for limit in limits:
            kind = limit.get("type", "")
            if kind not in rlimit.KINDS:
                raise InvalidArgument(f"no such resource limit: {kind}")
            if kind in seen:
                raise InvalidArgument(f"the resource limit {kind} is given twice")
            if limit["soft"] > limit["hard"]:
                text = f"the soft limit {limit['soft']} is above the hard one {limit['hard']}"
                raise InvalidArgument(f"{kind}: {text}")
            seen.add(kind)
        self.limits = limits

    def describe(self) -> str:
        return "limit " + ", ".join(f"{e['type'][7:].lower()} {e['soft']}:{e['hard']}" for e in self.limits)

    def apply(self, context: Context) -> None:
        for limit in self.limits:
            kind, soft, hard = limit["type"], limit["soft"], limit["hard"]
            try:
                rlimit.setrlimit(kind, soft, hard)
            except PermissionError:
                # Without CAP_SYS_RESOURCE a hard limit can only sink: the nearest that may be had.
                most = rlimit.getrlimit(kind)[1]
                rlimit.setrlimit(kind, min(soft, most), most)
                context.warn(f"{kind} is {most}, not {hard}: raising it needs CAP_SYS_RESOURCE on the host")

    def observe(self, context: Context) -> str:
        return ", ".join(
            f"{entry['type'][7:].lower()} {':'.join(map(str, rlimit.getrlimit(entry['type'])))}"
            for entry in self.limits
        )


class KernelParameters(Step):
    """sysctl(8) values of the container's own namespaces, written while the host's /proc is still at hand.

    /proc/sys shows a process the values of its own namespaces, and the file is checked to be on procfs
    (CVE-2025-52881).
    """

    __slots__ = ("values",)

    def __init__(self, values: dict[str, str], own: set[str]) -> None:
        for name in values:
            _require_namespaced(name, own)
        self.values = values

    def describe(self) -> str:
        return "set " + ", ".join(f"{name}={value}" for name, value in self.values.items())

    def apply(self, context: Context) -> None:
        for name, value in self.values.items():
            if context.parameters.get(name) != value:
                write_proc(_sysctl_path(name), value)

    def observe(self, context: Context) -> str:
        shown = []
        for name in self.values:
            with open(_sysctl_path(name)) as file:
                shown.append(f"{name} = {' '.join(file.read().split())}")
        return ", ".join(shown)


class ExecutionDomain(Step):
    __slots__ = ("persona",)

    def __init__(self, section: Personality) -> None:
        domain = section.get("domain", "")
        if domain not in _PERSONALITIES:
            raise InvalidArgument(f"no such personality: {domain}")
        if section.get("flags"):
            raise NotSupported(f"personality flags are not supported: {', '.join(section['flags'])}")
        self.persona = _PERSONALITIES[domain]

    def describe(self) -> str:
        return f"set the personality {self.persona:#x}"

    def apply(self, context: Context) -> None:
        host.personality(self.persona)

    def observe(self, context: Context) -> str:
        return f"uname -m: {os.uname().machine}"


class InputOutputPriority(Step):
    __slots__ = ("name", "priority")

    def __init__(self, section: IoPriority) -> None:
        self.name = section.get("class", "")
        self.priority = section.get("priority", 0)
        if self.name not in host.IOPRIO_CLASSES or not 0 <= self.priority <= 7:
            raise InvalidArgument(f"invalid I/O priority: {self.name} {self.priority}")

    def describe(self) -> str:
        return f"set the I/O priority {self.name} {self.priority}"

    def apply(self, context: Context) -> None:
        host.ioprio_set(self.name, self.priority)


class Scheduling(Step):
    """sched_setattr(2) with what the document's ``scheduler`` says."""

    __slots__ = ("section",)

    def __init__(self, section: Scheduler) -> None:
        policy = section.get("policy", "")
        if policy not in host.SCHED_POLICIES:
            raise InvalidArgument(f"no such scheduling policy: {policy}")
        unknown = [flag for flag in section.get("flags", []) if flag not in host.SCHED_FLAGS]
        if unknown:
            raise InvalidArgument(f"no such scheduling flag: {', '.join(unknown)}")
        for policies, fields in _OF_POLICIES.items():
            useless = [field for field in fields if section.get(field)]
            if useless and policy not in policies:
                raise InvalidArgument(f"process.scheduler.{useless[0]} has no meaning for {policy}")
        self.section = section

    def describe(self) -> str:
        return f"set the scheduling policy {self.section['policy']}"

    def apply(self, context: Context) -> None:
        section = self.section
        host.sched_setattr(
            host.SCHED_POLICIES[section["policy"]],
            flags=sum(host.SCHED_FLAGS[flag] for flag in section.get("flags", [])),
            nice=section.get("nice", 0),
            priority=section.get("priority", 0),
            runtime=section.get("runtime", 0),
            deadline=section.get("deadline", 0),
            period=section.get("period", 0),
        )

    def observe(self, context: Context) -> str:
        return f"policy {os.sched_getscheduler(0)}, nice {os.getpriority(os.PRIO_PROCESS, 0)}"


class MemoryPolicy(Step):
    """set_mempolicy(2) with what the document's ``memoryPolicy`` says (config-linux.md)."""

    __slots__ = ("_set", "mode", "nodes", "section")

    def __init__(self, section: MemoryPolicySection) -> None:
        from mydocker.linux import numa

        self._set = numa.set_mempolicy
        name, flags = section.get("mode", ""), section.get("flags", [])
        if name not in numa.MODES:
            raise InvalidArgument(f"linux.memoryPolicy.mode: no such mode: {name!r}")
        if unknown := [flag for flag in flags if flag not in numa.FLAGS]:
            raise InvalidArgument(f"linux.memoryPolicy.flags: no such flag: {unknown[0]!r}")
        self.section = section
        self.mode = numa.MODES[name] | sum(numa.FLAGS[flag] for flag in set(flags))
        try:
            self.nodes = parse_list(section.get("nodes", ""))
        except ValueError:
            raise InvalidArgument(
                f"linux.memoryPolicy.nodes: a list such as 0-1,3 is wanted, not {section['nodes']!r}"
            ) from None
        if self.nodes and max(self.nodes) >= numa.NODES:
            raise InvalidArgument(f"linux.memoryPolicy.nodes: no such node: {max(self.nodes)}")

    def describe(self) -> str:
        nodes = self.section.get("nodes", "")
        return f"set the memory policy {self.section['mode']}" + (f" on the nodes {nodes}" if nodes else "")

    def apply(self, context: Context) -> None:
        self._set(self.mode, self.nodes)


class Affinity(Step):
    """The processors of an added process, for good: ``execCPUAffinity.final``."""

    __slots__ = ("processors",)

    def __init__(self, processors: frozenset[int]) -> None:
        self.processors = processors

    def describe(self) -> str:
        return f"run on the processors {', '.join(map(str, sorted(self.processors)))}"

    def apply(self, context: Context) -> None:
        os.sched_setaffinity(0, self.processors)

    def observe(self, context: Context) -> str:
        return f"processors {', '.join(map(str, sorted(os.sched_getaffinity(0))))}"


def affinity(process: Process) -> tuple[frozenset[int], frozenset[int]]:
    """``execCPUAffinity``: the processors until the process is in its cgroup, and those from then on."""
    section = process.get("execCPUAffinity", {})
    found = []
    for name in ("initial", "final"):
        try:
            found.append(parse_list(section.get(name, "")))
        except ValueError:
            raise InvalidArgument(
                f"process.execCPUAffinity.{name}: a list such as 0-1,3 is wanted, not {section[name]!r}"
            ) from None
    return found[0], found[1]


def parse_list(text: str) -> frozenset[int]:
    """The numbers in a list such as ``0-3,7`` (cpuset(7), "List format"); ``ValueError`` if it is none."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or int(last or first) < int(first):
            raise ValueError(text)
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def write_proc(name: str, value: str) -> None:
    """Write to a file below /proc: of procfs itself, and of nothing that was mounted on the way to it.

    Being on procfs is not enough, since one of its files can be bound over another (CVE-2025-52881).
    """
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if mount.filesystem_magic(proc) != mount.PROC_SUPER_MAGIC or os.fstat(proc).st_ino != _PROC_ROOT_INO:
            raise Forbidden("/proc is not the root of procfs")
        resolve = path.RESOLVE_NO_XDEV | path.RESOLVE_NO_MAGICLINKS
        descriptor = path.openat2(proc, name.removeprefix("/proc/"), os.O_WRONLY | os.O_NOFOLLOW, 0, resolve)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise Forbidden(f"{name} is not on procfs: something is mounted over it") from None
        raise OSError(error.errno, error.strerror, name) from None
    finally:
        os.close(proc)
    try:
        os.write(descriptor, value.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from None
    finally:
        os.close(descriptor)


def _sysctl_path(name: str) -> str:
    # "net.ipv4.conf.eth0/1.forwarding": where the first separator is a dot, a slash stands for a dot.
    if "/" in name and ("." not in name or name.index("/") < name.index(".")):
        return "/proc/sys/" + name
    return "/proc/sys/" + name.translate({ord("."): "/", ord("/"): "."})


def _require_namespaced(name: str, own: set[str]) -> None:
    """Raise unless ``name`` belongs to one of the container's ``own`` namespaces."""
    plain = _sysctl_path(name).removeprefix("/proc/sys/").replace("/", ".")
    if ".." in plain or not plain:
        raise InvalidArgument(f"invalid sysctl: {name}")
    if plain.startswith("net."):
        needed = "network"
    elif plain in _IPC or plain.startswith("fs.mqueue."):
        needed = "ipc"
    elif plain == "kernel.hostname":
        raise InvalidArgument(f"sysctl {name} is in conflict with the field hostname (use that)")
    elif plain == "kernel.domainname":
        needed = "uts"
    else:
        raise InvalidArgument(f"sysctl {name} is not the container's own: it would change the host")
    if needed not in own:
        text = f"the container has no {needed} namespace of its own"
        raise InvalidArgument(f"sysctl {name} would change the host: {text}")
