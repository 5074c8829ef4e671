"""Commands in small, for a process that wants to know what they touch (``linux/memory.py``)."""

from __future__ import annotations

from mydocker.cli.main import main
from mydocker.container import rehearsal
from mydocker.forkserver import worker
from mydocker.linux import memory


def learn() -> None:
    memory.learn(worker.KIND, worker.rehearse, rehearse)


def rehearse() -> None:
    """With containers of which nothing can be seen, and the standard streams as they are."""
    with rehearsal.place() as place:
        if place:
            engine = ["--root", f"{place}/root", "--state", f"{place}/state"]
            container = ["--rm", "--network", "none", "--name", "rehearsal", "--rootfs", "/", "true"]
            for command in (["create", *container], ["ps", "--all"], ["rm", "rehearsal"]):
                main([*engine, *command])
    rehearsal.rehearse(1)
