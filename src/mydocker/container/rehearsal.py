"""The life of a container in small, played through by the process that workers and monitors are forked from.

``monitor/rehearsal.py`` says why. A container is created, planned as its builder would, noted as running and
as ended, and removes itself; no process is made for it. Its directories are on a file system that is mounted
nowhere and goes with its last descriptor, so nothing can be seen of it, and nothing stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import NotFound
from ..image.store import ImageStore
from ..linux import memory, mount, namespace
from ..monitor.build import read_plan, write_plan
from ..monitor.plan import Brief
from ..monitor.rehearsal import ROUNDS
from ..runtime import cgroup, init, plan_container, waiting
from ..runtime.channel import Channel
from ..runtime.dialogue import compile_filter
from ..runtime.rootfs import Overlay
from ..runtime.step import Context
from .config import Config, HostConfig
from .create import create
from .start import plan
from .store import Store
from .supervise import Owner


def rehearse(rounds: int = ROUNDS) -> None:
    """Nothing happens where there is no right to mount: commands only take a little longer then."""
    with place() as directory:
        for _ in range(rounds if directory else 0):
            life = _Life(directory)
            life.build()
            life.begin()
            life.end()


def learn() -> None:
    """Which pages a builder, and the init of a container, write to (``linux/memory.py``)."""
    with place() as directory:
        if not directory:
            return
        life = _Life(directory, "bridge")
        memory.learn("builder", life.build, life.begin, life.connect)
        orders = life.build()
        memory.learn("init", lambda: _become(orders, directory))
        life.end()


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
        self._memory = os.memfd_create("plan", os.MFD_CLOEXEC)
        write_plan(self._memory, plan(store, record))
        self._owner = Owner(
            Brief(
                root=store.root,
                state=store.state,
                id=record.id,
                run_directory=store.run_directory(record.id),
                log=None,
                stdin_once=False,
                attach=None,
                starter=-1,
                lock=os.dup(lock.fd),
                plan=self._memory,
                namespaces=[],
                named=[],
            )
        )
        lock.close()

    def build(self) -> bytes:
        """What a builder does before there is a process, but for making a cgroup: the orders for that."""
        made = read_plan(self._memory)
        spec: Any = made.spec
        linux = spec["linux"]
        filter = compile_filter(spec, made.seccomp_cache)
        with suppress(NotFound):
            cgroup.open(linux["cgroupsPath"])
        own = plan_container.Namespaces(linux["namespaces"])
        own.open()
        work = plan_container.make(
            spec,
            own,
            Overlay(made.lowers, made.upper, made.work, made.target),
            id="rehearsal",
            bundle=made.bundle,
            stdio=None,
            rows_columns=None,
            cgroups={},
        )
        for step in work.steps():
            step.describe()
        own.close()
        return waiting.encode(init.Start(work, spec["process"], filter, observing=False), [])

    def begin(self) -> None:
        self._owner.started(os.getpid())

    def connect(self) -> None:
        """In a network of the calling process's own."""
        namespace.unshare(namespace.CLONE_NEWNET)
        self._owner.connect(os.getpid())

    def end(self) -> None:
        self._owner.clear()
        self._owner.ended(0, oom_killed=False)
        os.close(self._memory)


def _become(orders: bytes, place: str) -> None:
    """Be init until it would execute its program, in namespaces that end with this process."""
    start, _ = waiting.decode(orders)
    namespace.unshare(
        namespace.CLONE_NEWNS | namespace.CLONE_NEWNET | namespace.CLONE_NEWIPC | namespace.CLONE_NEWUTS
    )
    mount.mount(None, "/", None, mount.MS_SLAVE | mount.MS_REC)
    tree = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    point = os.open("/tmp", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mount.move_mount(tree, point)
    _, channel = Channel.pair()
    for step in start.plan.steps():
        step.prepare()
    init.follow(start, Context(channel))
