"""The public Python API: ``Engine`` and its collections.

    from mydocker.engine import Config, Engine, HostConfig

    engine = Engine()
    container = engine.containers.create(Config(image="alpine", cmd=["echo", "hello"]))
    container.start()
    print(container.wait(), [entry.log for entry in container.logs()])

No daemon stands behind it: each call does its work in the calling process, and what has to stay (a monitor
for each running container) is forked from it. Errors are the classes of ``mydocker.errors``.
"""

from ..container.config import (
    BindOptions,
    Config,
    DeviceMapping,
    Driver,
    EndpointConfig,
    EndpointIpam,
    HostConfig,
    LogConfig,
    Mount,
    PortBinding,
    RestartPolicy,
    ThrottleDevice,
    TmpfsOptions,
    Ulimit,
    VolumeOptions,
    WeightDevice,
)
from ..container.record import Record
from ..container.state import State, Status
from ..content.fault import Fault
from ..image.progress import Progress, Report
from ..monitor.client import DEFAULT_DETACH_KEYS, AttachOptions, Session
from ..monitor.log import LogEntry
from ..monitor.protocol import Event, Kind
from ..network.document import Pool
from .check import Checked
from .containers import Container, Containers
from .engine import Engine
from .images import Images
from .manifests import Manifests
from .networks import Network, Networks
from .prune import SystemPruned
from .usage import ContainerUsage, DiskUsage, VolumeUsage
from .volumes import Volume, Volumes, VolumesPruned

__all__ = [
    "DEFAULT_DETACH_KEYS",
    "AttachOptions",
    "BindOptions",
    "Checked",
    "Config",
    "Container",
    "ContainerUsage",
    "Containers",
    "DeviceMapping",
    "DiskUsage",
    "Driver",
    "EndpointConfig",
    "EndpointIpam",
    "Engine",
    "Event",
    "Fault",
    "HostConfig",
    "Images",
    "Kind",
    "LogConfig",
    "LogEntry",
    "Manifests",
    "Mount",
    "Network",
    "Networks",
    "Pool",
    "PortBinding",
    "Progress",
    "Record",
    "Report",
    "RestartPolicy",
    "Session",
    "State",
    "Status",
    "SystemPruned",
    "ThrottleDevice",
    "TmpfsOptions",
    "Ulimit",
    "Volume",
    "VolumeOptions",
    "VolumeUsage",
    "Volumes",
    "VolumesPruned",
    "WeightDevice",
]
