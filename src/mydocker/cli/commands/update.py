"""``update``: other limits for containers, at once where they run."""

from __future__ import annotations

from mydocker import errors
from mydocker.cli.command import Command, Invocation
from mydocker.cli.commands.each import each
from mydocker.cli.flags.container import CONTAINER, REFUSED

_FIELDS = {
    "blkio-weight": "blkio_weight",
    "cpu-period": "cpu_period",
    "cpu-quota": "cpu_quota",
    "cpu-shares": "cpu_shares",
    "cpus": "nano_cpus",
    "cpuset-cpus": "cpuset_cpus",
    "cpuset-mems": "cpuset_mems",
    "memory": "memory",
    "memory-reservation": "memory_reservation",
    "memory-swap": "memory_swap",
    "pids-limit": "pids_limit",
}
"""which field of ``HostConfig`` a flag sets"""
_REFUSED = ("cpu-rt-period", "cpu-rt-runtime", "kernel-memory", "restart")


def run(invocation: Invocation) -> int:
    if not invocation.given:
        raise errors.InvalidArgument("you must provide one or more flags when using this command")
    limits = {_FIELDS[name]: invocation[name] for name in _FIELDS if name in invocation.given}

    def update(reference: str) -> str:
        invocation.engine.containers.get(reference).update(**limits)
        return reference

    return each(invocation.arguments, update)


COMMAND = Command(
    "update [OPTIONS] CONTAINER [CONTAINER...]",
    "Update configuration of one or more containers",
    run,
    flags=(
        *(flag for flag in CONTAINER if flag.name in _FIELDS),
        *(flag for flag in REFUSED if flag.name in _REFUSED),
    ),
    least=1,
    most=None,
)
