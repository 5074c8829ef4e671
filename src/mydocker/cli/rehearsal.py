"""Commands in small, for a process that wants to know what they touch (``linux/memory.py``)."""

from __future__ import annotations

import os
import socket

from mydocker.cli.main import main
from mydocker.container import rehearsal, start
from mydocker.forkserver import worker
from mydocker.linux import memory
from mydocker.monitor.plan import Brief
from mydocker.monitor.protocol import Kind, Started, encode, packet


def learn() -> None:
    memory.learn(worker.KIND, worker.rehearse, rehearse, worker.clear_up)


def rehearse() -> None:
    """With containers of which nothing can be seen, and the standard streams as they are."""
    with rehearsal.place() as place:
        if place:
            engine = ["--root", f"{place}/root", "--state", f"{place}/state"]
            container = ["--rm", "--network", "none", "--name", "rehearsal", "--rootfs", "/", "true"]
            for command in (["create", *container], ["ps", "--all"], ["rm", "rehearsal"]):
                main([*engine, *command])
            before, start._launch = start._launch, _play
            try:
                main([*engine, "run", *container])
            finally:
                start._launch = before


def _play(brief: Brief) -> None:
    """Be the monitor of a container that ends at once."""
    with socket.socket(fileno=os.dup(brief.starter)) as connection:
        connection.send(packet(Kind.STARTED, encode(Started(pid=os.getpid()))))
        connection.send(packet(Kind.EXIT, b"0"))
