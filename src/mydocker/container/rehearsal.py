"""The life of a container in small, played through by the process that workers and monitors are forked from.

``monitor/rehearsal.py`` says why. A container is created, built by its builder's own code with a process that
does nothing for an init, noted as running and as ended, and removes itself. Its directories are on a file
system that is mounted nowhere and goes with its last descriptor, so nothing can be seen of it, and nothing
stays.
"""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..image.store import ImageStore
from ..linux import memory, mount, namespace
from ..monitor.build import container, receive, write_plan
from ..monitor.plan import Brief
from ..monitor.rehearsal import ROUNDS, left_open, play, resolve, somebody
from ..runtime import cgroup, init, waiting
from ..runtime.channel import Channel
from ..runtime.step import Context
from ..runtime.waiting import WaitingInit
from .config import Config, HostConfig
from .create import create
from .spec import cgroup_path
from .start import plan
from .store import Store
from .supervise import Owner, live

if TYPE_CHECKING:
    from ..oci.runtime import Resources, Spec
    from ..runtime.plan_container import Namespaces


def rehearse(rounds: int = ROUNDS) -> None:
    """Nothing happens where there is no right to mount, or where few files may be open: commands only take a
    little longer then."""
    with place() as directory, somebody() as pid, _only_young():
        for _ in range(rounds if directory else 0):
            with left_open():
                life = _Life(directory)
                if life.build(pid) is None:
                    return
                life.live()
                del life
                resolve()
                gc.collect(0)  # or sockets in cycles would close, later, numbers that are not theirs any more


@contextmanager
def _only_young() -> Iterator[None]:
    """Nothing is collected but by order, so that all new objects are in the first generation until then."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def learn() -> None:
    """Which pages a builder, and the init of a container, write to (``linux/memory.py``)."""
    with place() as directory, left_open():
        if not directory:
            return
        memory.learn("builder", _Life(directory, "bridge").build_apart)
        with somebody() as pid:
            told = _Life(directory).build(pid)
        if told is not None:
            memory.learn("init", lambda: _become(told, directory))


@contextmanager
def place() -> Iterator[str]:
    """A directory for ``root`` and ``state`` of which nobody else sees anything; empty if there is none."""
    try:
        context = mount.fsopen("tmpfs")
    except OSError:
        yield ""
        return
    tree = mount.fscreate(context)
    os.close(context)
    try:
        yield f"/proc/self/fd/{tree}"
    finally:
        os.close(tree)


class _Played(WaitingInit):
    """Has nothing left to do when it is told what, and executes its program at once."""

    __slots__ = ("told",)

    def __init__(self, pid: int) -> None:
        ours, self.told = Channel.pair()
        super().__init__("", cgroup.Cgroup("", ()), ours, pid, os.pidfd_open(pid))

    def fits(self, spec: Spec, own: Namespaces, path: str) -> bool:  # noqa: ARG002 - what it overrides has them
        return True

    def limited(self, resources: Resources) -> cgroup.Cgroup:  # noqa: ARG002 - the same
        assert self._cgroup is not None
        return self._cgroup

    def begin(self, start: init.Start, own: Namespaces) -> tuple[int, int, Channel]:
        begun = super().begin(start, own)
        self.told.send("ready")
        with socket.socket(fileno=os.dup(self.told.fileno())) as end:
            end.shutdown(socket.SHUT_WR)
        return begun


class _Life:
    """Of one container; made as by a worker."""

    def __init__(self, place: str, network: str = "none") -> None:
        store = Store(f"{place}/root", f"{place}/state")
        record, lock = create(
            store,
            ImageStore(store.root),
            Config(cmd=["true"]),
            HostConfig(rootfs="/", network_mode=network, auto_remove=True),
            starting=True,
        )
        assert lock is not None
        memory = os.memfd_create("plan", os.MFD_CLOEXEC)
        write_plan(memory, plan(store, record))
        self._brief = Brief(
            root=store.root,
            state=store.state,
            id=record.id,
            run_directory=store.run_directory(record.id),
            cgroup=cgroup_path(record),
            log=None,
            stdin_once=False,
            attach=None,
            starter=-1,
            lock=os.dup(lock.fd),
            plan=memory,
            namespaces=[],
            named=[],
        )
        self._owner = Owner(self._brief)
        lock.close()

    def build(self, pid: int) -> Channel | None:
        """What a builder does, with another process for an init; where that could hear what it is told. None
        if it fails."""
        played = _Played(pid)
        starter, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            container(self._brief, self._owner, starter, theirs, played)
        message, _ = receive(ours)
        return played.told if message else None

    def build_apart(self) -> None:
        """The same with a network, of the calling process's own."""
        namespace.unshare(namespace.CLONE_NEWNET)
        with somebody() as pid:
            self.build(pid)

    def live(self) -> None:
        with open("/proc/self/comm", "rb") as file:
            name = file.read()
        play(self._brief, lambda kept, work: live(name, kept, work))


def _become(channel: Channel, place: str) -> None:
    """Be init until it would execute its program, in namespaces that end with this process."""
    channel, start, _ = waiting.receive(channel)

    def enter(_: Context) -> None:
        namespace.unshare(
            namespace.CLONE_NEWNS | namespace.CLONE_NEWNET | namespace.CLONE_NEWIPC | namespace.CLONE_NEWUTS
        )
        mount.mount(None, "/", None, mount.MS_SLAVE | mount.MS_REC)
        tree = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        point = os.open("/tmp", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        mount.move_mount(tree, point)

    init.become(start, channel, enter)
