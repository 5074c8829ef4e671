"""What a monitor is told before it starts, in two documents.

``Brief`` is what it needs itself, for as long as the container runs. ``Plan`` is what it takes to make the
container and to add processes to it: only builders (``build.py``) read it, from a memfd, so that the pages it
takes to hold it as objects are never the monitor's.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from .protocol import AttachRequest


class HealthSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """When the health check is run, in seconds (``container/health.py``)."""

    interval: float
    timeout: float
    start_period: float
    start_interval: float


class LogFiles(msgspec.Struct, frozen=True, kw_only=True):
    """``container/logs.py`` makes these of the log driver's options."""

    path: str
    size: int = -1
    """bytes of one file; -1: no limit"""
    count: int = 1
    compress: bool = False
    attributes: str = ""
    """a JSON object for each line; empty: none"""


class LogRemote(msgspec.Struct, frozen=True, kw_only=True):
    address: str
    port: int = 0
    """0: the address is a path"""
    stream: bool = False
    either: bool = False
    """datagrams, or a stream where the other end wants one"""
    journal: bool = False
    """journald's protocol, with ``fields``; otherwise syslog's, with the rest"""
    fields: dict[str, str] = {}
    facility: int = 0
    format: str = ""
    tag: str = ""


class LogPlan(msgspec.Struct, frozen=True, kw_only=True):
    files: LogFiles | None = None
    remote: LogRemote | None = None
    buffer: int = 0
    """bytes that may wait, in mode=non-blocking"""
    pumped: bool = False
    """whether a process of its own writes"""


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    root: str
    state: str
    id: str
    run_directory: str
    cgroup: str
    """its path, from the root of each hierarchy"""
    log: LogPlan | None
    """None: nothing is logged"""
    stdin_once: bool
    timeout: int = 0
    """seconds after which the container is stopped; 0: none"""
    health: HealthSchedule | None = None
    attach: AttachRequest | None
    """which streams the starter gets; ``None``: it hears how the start went and leaves"""
    starter: int
    """descriptor of the connection to who starts it"""
    lock: int
    """descriptor of the container's lock, which is held as long as one process has it"""
    plan: int
    """descriptor of the memfd with the ``Plan``"""
    namespaces: list[int]
    """descriptors of namespaces to join"""
    named: list[int]
    """the numbers by which the plan calls them, as /proc/self/fd/N"""

    @property
    def rests(self) -> bool:
        """Whether the monitor has nothing to do before something happens to the container."""
        return self.attach is None and self.health is None and not self.timeout

    @property
    def descriptors(self) -> list[int]:
        return [self.starter, self.lock, self.plan, *self.namespaces]

    def renumbered(self, descriptors: Sequence[int]) -> "Brief":
        """The same for a process that has ``self.descriptors`` under other numbers."""
        starter, lock, plan, *namespaces = descriptors
        return msgspec.structs.replace(self, starter=starter, lock=lock, plan=plan, namespaces=namespaces)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    spec: dict[str, Any]
    """the OCI runtime document"""
    bundle: str
    lowers: list[str]
    upper: str
    work: str
    target: str
    """the directories of the overlay (``runtime/rootfs.py``)"""
    volatile: bool
    seccomp_cache: str
    size: tuple[int, int] | None
    open_stdin: bool
    connected: bool
    """whether it is in networks: init waits for them"""
    init: bool
    explain: bool


encode = msgspec.json.encode
decode_brief = msgspec.json.Decoder(Brief).decode
decode_plan = msgspec.json.Decoder(Plan).decode
