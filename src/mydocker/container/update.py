"""``update``: other limits for a container, at once if it runs, and from its next start on; and another
restart policy, which counts from its next end on.

The kernel is asked first: limits that it refuses are not written into the record. Out of scope: how a limit
becomes a file of some cgroup version (``runtime/cgroup.py``).
"""

from __future__ import annotations

import time

import msgspec

from ..errors import Conflict, InvalidArgument, NotFound, Unavailable
from ..oci.runtime import Resources
from ..runtime import cgroup
from . import events, resources
from .config import Config, HostConfig, RestartPolicy
from .record import Record
from .spec import cgroup_path
from .state import ALIVE, Status
from .store import Store
from .validate import validate

LIMITS = frozenset(
    ("blkio_weight", "cpu_period", "cpu_quota", "cpu_shares", "cpuset_cpus", "cpuset_mems", "memory",
     "memory_reservation", "memory_swap", "nano_cpus", "pids_limit")
)  # fmt: skip
"""the fields of ``HostConfig`` that can be changed"""

_PATIENCE = 10.0


def update(
    store: Store, record: Record, changes: dict[str, int | str], policy: RestartPolicy | None = None
) -> Record:
    """The record with ``changes``, fields of ``LIMITS``; zeros and empty texts change nothing.

    ``InvalidArgument`` and ``Conflict`` in Docker's words for what does not fit, or what the kernel refuses.
    """
    unknown = changes.keys() - LIMITS
    if unknown:
        raise InvalidArgument(f"{min(unknown)} cannot be updated")
    changes = {name: value for name, value in changes.items() if value not in (0, "", None)}
    _check_alone(changes)
    deadline = time.monotonic() + _PATIENCE
    while True:
        with store.editing(record.id) as current:
            status = store.read_state(record.id).status
            if status in ALIVE or not store.held(record.id):
                changed = _change(current, status, changes, policy)
                store.write_record(changed)
                break
        if time.monotonic() > deadline:
            raise Unavailable(f"container {record.id[:12]} is being started or removed by somebody else")
        time.sleep(0.005)  # it takes the limits of the record as it was before
    events.container(store, changed, "update")
    return changed


def _check_alone(changes: dict[str, int | str]) -> None:
    """What is wrong whatever the container has; a limit of swap alone may go with the memory it has."""
    alone = {name: value for name, value in changes.items() if name != "memory_swap" or "memory" in changes}
    validate(Config(), msgspec.structs.replace(HostConfig(), **alone))


def _change(
    record: Record, status: Status, changes: dict[str, int | str], policy: RestartPolicy | None
) -> Record:
    if status in (Status.REMOVING, Status.DEAD):
        raise Conflict(
            f'Container is marked for removal and cannot be "update".: cannot update container {record.id}'
        )
    try:
        host = merged(record.host_config, changes)
    except (Conflict, InvalidArgument) as error:
        raise type(error)(f"Cannot update container {record.id}: {error}") from error
    if policy is not None and policy.name:
        if host.auto_remove and policy.name != "no":
            raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
        host = msgspec.structs.replace(host, restart_policy=policy)
    validate(record.config, host)
    if status in ALIVE and changes:
        try:
            cgroup.open(cgroup_path(record)).update(limits(host, changes))
        except NotFound:
            pass  # it has just ended
        except InvalidArgument as error:
            raise InvalidArgument(f"Cannot update container {record.id}: {error}") from error
    return msgspec.structs.replace(record, host_config=host)


def merged(host: HostConfig, changes: dict[str, int | str]) -> HostConfig:
    """``host`` with the changes, if they go with what was set before (moby, ``UpdateContainer``)."""
    for new, old, what in (
        ("nano_cpus", host.cpu_period, "Nano CPUs cannot be updated as CPU Period has already been set"),
        ("nano_cpus", host.cpu_quota, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        ("cpu_period", host.nano_cpus, "CPU Period cannot be updated as NanoCPUs has already been set"),
        ("cpu_quota", host.nano_cpus, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ):
        if new in changes and old:
            raise Conflict(f"Conflicting options: {what}")
    memory = changes.get("memory", 0)
    if isinstance(memory, int) and "memory_swap" not in changes and memory > max(0, host.memory_swap):
        raise Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at "
            "the same time"
        )
    return msgspec.structs.replace(host, **changes)


def limits(host: HostConfig, changes: dict[str, int | str]) -> Resources:
    """What to ask the kernel for. Memory and swap go together, as one limit is checked against the other."""
    names = {*changes}
    if names & {"memory", "memory_swap"}:
        names |= {"memory", "memory_swap"}
    wanted = HostConfig(**{name: getattr(host, name) for name in names})
    result = resources.resources(wanted, [])
    if "pids_limit" in changes:
        result["pids"] = {"limit": host.pids_limit or -1}
    return result
