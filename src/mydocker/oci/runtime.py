"""The runtime document (``config.json``) as types: what a dict that was read from one looks like.

The document itself stays a plain ``dict`` in the OCI shape wherever it goes; these ``TypedDict`` classes are
for the type checker and for the reader. Nothing here runs at run time, so import it under
``TYPE_CHECKING``. Source: https://github.com/opencontainers/runtime-spec, ``config.md``, ``config-linux.md``
and ``runtime.md`` at version 1.2. Out of scope: the sections for other operating systems, and checking,
which ``runtime/spec.py`` does.

Three keys are ours, all below ``process.user``: they name users and groups as an image does, and are looked
up by init in the container's own ``/etc/passwd`` and ``/etc/group``, never by the host:

    username              "name|uid[:group|gid]"
    additionalGroupNames  ["name" or "gid", …]
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

NamespaceType = Literal["user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time"]


class Version(TypedDict):
    """The least that every document says."""

    ociVersion: str


class Spec(Version, total=False):
    root: Root
    mounts: list[Mount]
    process: Process
    hostname: str
    domainname: str
    hooks: Hooks
    annotations: dict[str, str]
    linux: Linux


class Root(TypedDict, total=False):
    path: str
    readonly: bool


class IdMapping(TypedDict):
    containerID: int
    hostID: int
    size: int


class Mount(TypedDict, total=False):
    destination: str
    type: str
    source: str
    options: list[str]
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]


class Box(TypedDict):
    height: int
    width: int


class User(TypedDict, total=False):
    uid: int
    gid: int
    umask: int
    additionalGids: list[int]
    username: str
    additionalGroupNames: list[str]


class Capabilities(TypedDict, total=False):
    bounding: list[str]
    effective: list[str]
    inheritable: list[str]
    permitted: list[str]
    ambient: list[str]


class Rlimit(TypedDict):
    type: str
    soft: int
    hard: int


class Scheduler(TypedDict, total=False):
    policy: str
    nice: int
    priority: int
    flags: list[str]
    runtime: int
    deadline: int
    period: int


IoPriority = TypedDict("IoPriority", {"class": str, "priority": int}, total=False)


class Process(TypedDict, total=False):
    terminal: bool
    consoleSize: Box
    user: User
    args: list[str]
    commandLine: str
    env: list[str]
    cwd: str
    capabilities: Capabilities
    rlimits: list[Rlimit]
    noNewPrivileges: bool
    apparmorProfile: str
    selinuxLabel: str
    oomScoreAdj: int
    scheduler: Scheduler
    ioPriority: IoPriority
    execCPUAffinity: dict[str, str]


class Hook(TypedDict, total=False):
    path: str
    args: list[str]
    env: list[str]
    timeout: int


class Hooks(TypedDict, total=False):
    prestart: list[Hook]
    createRuntime: list[Hook]
    createContainer: list[Hook]
    startContainer: list[Hook]
    poststart: list[Hook]
    poststop: list[Hook]


class Namespace(TypedDict, total=False):
    type: NamespaceType
    path: str


class Device(TypedDict, total=False):
    path: str
    type: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class DeviceRule(TypedDict, total=False):
    allow: bool
    type: str
    major: int
    minor: int
    access: str


class Memory(TypedDict, total=False):
    limit: int
    reservation: int
    swap: int
    kernel: int
    kernelTCP: int
    swappiness: int
    disableOOMKiller: bool
    useHierarchy: bool
    checkBeforeUpdate: bool


class Cpu(TypedDict, total=False):
    shares: int
    quota: int
    burst: int
    period: int
    realtimeRuntime: int
    realtimePeriod: int
    cpus: str
    mems: str
    idle: int


class WeightDevice(TypedDict, total=False):
    major: int
    minor: int
    weight: int
    leafWeight: int


class ThrottleDevice(TypedDict):
    major: int
    minor: int
    rate: int


class BlockIo(TypedDict, total=False):
    weight: int
    leafWeight: int
    weightDevice: list[WeightDevice]
    throttleReadBpsDevice: list[ThrottleDevice]
    throttleWriteBpsDevice: list[ThrottleDevice]
    throttleReadIOPSDevice: list[ThrottleDevice]
    throttleWriteIOPSDevice: list[ThrottleDevice]


class HugepageLimit(TypedDict):
    pageSize: str
    limit: int


class NetworkPriority(TypedDict):
    name: str
    priority: int


class Network(TypedDict, total=False):
    classID: int
    priorities: list[NetworkPriority]


class Pids(TypedDict, total=False):
    limit: int


class Resources(TypedDict, total=False):
    devices: list[DeviceRule]
    memory: Memory
    cpu: Cpu
    pids: Pids
    blockIO: BlockIo
    hugepageLimits: list[HugepageLimit]
    network: Network
    rdma: dict[str, dict[str, int]]
    unified: dict[str, str]


class SeccompArgument(TypedDict, total=False):
    index: int
    value: int
    valueTwo: int
    op: str


class SeccompRule(TypedDict, total=False):
    names: list[str]
    action: str
    errnoRet: int
    args: list[SeccompArgument]


class Seccomp(TypedDict, total=False):
    defaultAction: str
    defaultErrnoRet: int
    architectures: list[str]
    flags: list[str]
    listenerPath: str
    listenerMetadata: str
    syscalls: list[SeccompRule]


class Personality(TypedDict, total=False):
    domain: str
    flags: list[str]


class TimeOffset(TypedDict, total=False):
    secs: int
    nanosecs: int


class MemoryPolicy(TypedDict, total=False):
    mode: str
    nodes: str
    flags: list[str]


class NetDevice(TypedDict, total=False):
    name: str


class Linux(TypedDict, total=False):
    namespaces: list[Namespace]
    uidMappings: list[IdMapping]
    gidMappings: list[IdMapping]
    timeOffsets: dict[str, TimeOffset]
    devices: list[Device]
    cgroupsPath: str
    resources: Resources
    rootfsPropagation: str
    seccomp: Seccomp
    sysctl: dict[str, str]
    maskedPaths: list[str]
    readonlyPaths: list[str]
    mountLabel: str
    personality: Personality
    intelRdt: dict[str, Any]
    memoryPolicy: MemoryPolicy
    netDevices: dict[str, NetDevice]


class State(TypedDict, total=False):
    """What ``state`` prints and hooks read on their standard input (``runtime.md``, "State")."""

    ociVersion: str
    id: str
    status: Literal["creating", "created", "running", "paused", "stopped"]
    pid: int
    bundle: str
    annotations: dict[str, str]
