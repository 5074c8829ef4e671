"""The life of a container in small, played through by the process that workers and monitors are forked from.

``monitor/rehearsal.py`` says why. A container is created, planned as its builder would, noted as running and
as ended, and removes itself; no process is made for it. Its directories are on a file system that is mounted
nowhere and goes with its last descriptor, so nothing can be seen of it, and nothing stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..errors import NotFound
from ..image.store import ImageStore
from ..linux import mount
from ..monitor import rehearsal as monitor
from ..monitor.build import read_plan, write_plan
from ..monitor.plan import Brief
from ..monitor.rehearsal import ROUNDS
from ..runtime import cgroup, plan_container
from ..runtime.dialogue import compile_filter
from ..runtime.rootfs import Overlay
from .config import Config, HostConfig
from .create import create
from .start import plan
from .store import Store
from .supervise import Owner


def rehearse(rounds: int = ROUNDS) -> None:
    """Nothing happens where there is no right to mount: commands only take a little longer then."""
    with place() as directory:
        for _ in range(rounds if directory else 0):
            _once(directory)


def rehearse_once() -> None:
    """For a process that only wants to know what is touched (``linux/memory.py``)."""
    monitor.rehearse(1)
    rehearse(1)


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


def _once(place: str) -> None:
    store = Store(f"{place}/root", f"{place}/state")
    record, lock = create(
        store,
        ImageStore(store.root),
        Config(cmd=["true"]),
        HostConfig(rootfs="/", network_mode="none", auto_remove=True),
        starting=True,
    )
    assert lock is not None
    memory = os.memfd_create("plan", os.MFD_CLOEXEC)
    write_plan(memory, plan(store, record))
    _plan_again(memory)
    owner = Owner(
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
            plan=memory,
            namespaces=[],
            named=[],
        )
    )
    lock.close()
    owner.started(os.getpid())
    owner.clear()
    owner.ended(0, oom_killed=False)
    os.close(memory)


def _plan_again(memory: int) -> None:
    """What a builder does before the first process is made, but for making a cgroup."""
    made = read_plan(memory)
    linux = made.spec["linux"]
    compile_filter(made.spec, made.seccomp_cache)  # type: ignore[arg-type]
    with suppress(NotFound):
        cgroup.open(linux["cgroupsPath"])
    own = plan_container.Namespaces(linux["namespaces"])
    own.open()
    work = plan_container.make(
        made.spec,  # type: ignore[arg-type]
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
