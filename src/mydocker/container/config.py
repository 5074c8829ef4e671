"""What a person asks of a container, in the documents of the Docker Engine API.

``Config`` is the portable half (what an image may carry too), ``HostConfig`` the half that depends on this
host. Names, nesting and defaults are those of ``POST /containers/create`` (Docker Engine API v1.43), so the
stored ``config.json``, ``inspect`` and the API say the same thing. The values are frozen; what they mean to
the kernel is decided in ``spec.py``, whether they may be combined in ``validate.py``.

Ours beyond Docker, in ``HostConfig``: ``Rootfs``, the directory of ``--rootfs``, ``Timeout``,
``HealthOnFailure`` and ``Egress``; in ``BindOptions``: ``IdMap``.

Units: memory and rates in bytes, times in microseconds (``CpuPeriod``, ``CpuQuota``) or nano-CPUs.
``-1`` means unlimited and ``0`` means not set, as in Docker.
"""

import msgspec

from ..image.documents import Healthcheck

DEFAULT_SHM_SIZE = 64 * 1024 * 1024


class Config(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, dict[str, str]] | None = None
    """``{"80/tcp": {}}``"""
    tty: bool = False
    open_stdin: bool = False
    """keep standard input open although nobody is attached to it"""
    stdin_once: bool = False
    """close standard input when the first attached client that had it leaves"""
    env: list[str] | None = None
    cmd: list[str] | None = None
    image: str = ""
    """the reference as it was given; the record holds the identifier that it meant"""
    volumes: dict[str, dict[str, str]] | None = None
    working_dir: str = ""
    entrypoint: list[str] | None = None
    """``None``: the image's; ``[]`` or ``[""]``: none, the image's is removed"""
    labels: dict[str, str] | None = None
    healthcheck: Healthcheck | None = None
    """``Test`` is ``["CMD", word...]``, ``["CMD-SHELL", line]`` or ``["NONE"]``; times in nanoseconds"""
    stop_signal: str | None = None
    stop_timeout: int | None = None
    """seconds between the stop signal and SIGKILL; 10 when not set, -1 waits for ever"""


class LogConfig(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    type: str = "json-file"
    config: dict[str, str] = {}


class RestartPolicy(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    name: str = "no"
    maximum_retry_count: int = 0


class Ulimit(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    name: str
    """as in setrlimit(2), lower case, without the prefix: ``nofile``"""
    hard: int
    soft: int


class DeviceMapping(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    path_on_host: str
    path_in_container: str = ""
    cgroup_permissions: str = "rwm"


class WeightDevice(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    path: str
    weight: int


class ThrottleDevice(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    path: str
    rate: int


class BindOptions(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    """what is mounted below a read-only one stays as it is"""
    read_only_force_recursive: bool = False
    id_map: str = ""
    """``owner``, or pairs of ids: see ``mounts.parse_idmap``"""


class Driver(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: Driver | None = None
    subpath: str = ""
    """a directory or file in the volume, which is mounted in its place"""


class TmpfsOptions(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    size_bytes: int = 0
    mode: int = 0
    """permission bits; 0 is 1777"""


class Mount(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    """One ``--mount``. ``bind`` needs a source, ``volume`` may have one (its name), ``tmpfs`` has none."""

    type: str
    source: str = ""
    target: str
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class PortBinding(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    host_ip: str = ""
    """an address of the host; empty: all of them"""
    host_port: str = ""
    """a number, a range of which the first that is free is taken, or empty for any that is free"""


class EndpointIpam(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    ipv4_address: str = msgspec.field(name="IPv4Address", default="")
    ipv6_address: str = msgspec.field(name="IPv6Address", default="")


class EndpointConfig(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    """How a container is in one network."""

    ipam_config: EndpointIpam | None = msgspec.field(name="IPAMConfig", default=None)
    aliases: list[str] | None = None
    links: list[str] | None = None
    """``container:name``: what the other is called by this container alone"""
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    """``rate-in`` and ``rate-out`` (``network/rates.py``)"""


class HostConfig(msgspec.Struct, rename="pascal", kw_only=True, frozen=True):
    binds: list[str] | None = None
    """``-v``: ``source:target[:options]``, source an absolute path or a volume's name"""
    container_id_file: str = msgspec.field(name="ContainerIDFile", default="")
    log_config: LogConfig = LogConfig()
    network_mode: str = "default"
    """bridge, none, host, container:<name|id>, or a network's name; default: bridge if there can be one"""
    links: list[str] | None = None
    """in the network ``bridge``: ``identifier:alias`` of those that it is told of (``links.py``)"""
    egress: list[str] | None = None
    """the only places outside that it may talk to (``network/egress.py``); ``None``: all of them"""
    port_bindings: dict[str, list[PortBinding]] | None = None
    """``{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}``"""
    publish_all_ports: bool = False
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    restart_policy: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    annotations: dict[str, str] | None = None
    cap_add: list[str] | None = None
    cap_drop: list[str] | None = None
    cgroupns_mode: str = ""
    """private or host; empty: private on cgroup v2, host on v1"""
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    """private, shareable, host, none, container:<name|id>; empty: private"""
    oom_score_adj: int = 0
    pid_mode: str = ""
    """empty (private), host, container:<name|id>"""
    privileged: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    """``no-new-privileges[:true|false]``, ``seccomp=unconfined``, ``seccomp=<the JSON document itself>``"""
    volume_driver: str = ""
    """of the volumes that ``Binds`` and ``Volumes`` make"""
    volumes_from: list[str] | None = None
    """``container[:ro|rw|z|Z]``: the mounts of other containers, by identifier once it is created"""
    tmpfs: dict[str, str] | None = None
    """target -> mount options, ``{"/run": "rw,size=64m"}``"""
    uts_mode: str = msgspec.field(name="UTSMode", default="")
    userns_mode: str = ""
    shm_size: int = DEFAULT_SHM_SIZE
    sysctls: dict[str, str] | None = None
    runtime: str = "mydocker-runtime"
    init: bool | None = None
    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = msgspec.field(
        name="BlkioDeviceReadIOps", default=None
    )
    blkio_device_write_iops: list[ThrottleDevice] | None = msgspec.field(
        name="BlkioDeviceWriteIOps", default=None
    )
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    memory_reservation: int = 0
    memory_swap: int = 0
    """memory plus swap; 0: twice the memory, -1: unlimited swap"""
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    mounts: list[Mount] | None = None
    masked_paths: list[str] | None = None
    """``None``: the default list; ``[]``: nothing is masked"""
    readonly_paths: list[str] | None = None
    health_on_failure: str = ""
    """kill, restart or stop: what becomes of one that is found unhealthy"""
    timeout: int = 0
    """seconds after which a run is ended as by ``stop``; 0: none"""
    rootfs: str = ""
    """a host directory that takes the place of the image, beneath a throw-away overlay"""

    @property
    def networked(self) -> bool:
        """Whether the container has a network namespace of its own with links in it."""
        return self.network_mode not in ("none", "host") and not self.network_mode.startswith("container:")
