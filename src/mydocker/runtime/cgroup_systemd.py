"""The cgroup of a container where systemd makes them: a transient scope (``--systemd-cgroup``).

    cgroupsPath  slice:prefix:name  ->  the unit prefix-name.scope in the slice;  :prefix:name is system.slice

systemd wants to be the only one that makes cgroups in its tree, and gives away what is below a unit with
``Delegate``. It makes no scope without a process. So a process that does nothing holds the place until init
is in there (``Cgroup.settle``). For the rest the scope is a cgroup like any other: init is cloned into it,
what systemd has no properties for is set in its files, and it is frozen, read and killed there. When the last
process has ended systemd removes it, but for one that failed (of memory, say), which is kept for somebody to
see until ``remove``. Out of scope: which properties there are (``systemd_properties``), and the systemd of a
user.
"""

from __future__ import annotations

import contextlib
import os

from mydocker.errors import (
    Forbidden,
    InvalidArgument,
    NotFound,
    NotSupported,
    StartFailed,
    Unavailable,
)
from mydocker.linux import systemd
from mydocker.linux.dbus import BusError
from mydocker.linux.pidfd import pidfd_send_signal, reap
from mydocker.linux.process import SIGKILL, clone3
from mydocker.runtime import cgroup as cgroups
from mydocker.runtime import cgroup_v1, systemd_properties
from mydocker.runtime.cgroup import REMOVE_TIMEOUT, Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mydocker.oci import runtime as oci
    from mydocker.runtime.cgroup_limit import Group

SLICE = "system.slice"


class Scope(Cgroup):
    """A cgroup that is a unit of systemd."""

    __slots__ = ("_holder", "_pids", "unit")

    def __init__(self, unit: str, path: str, groups: Sequence[Group]) -> None:
        super().__init__(path, groups)
        self.unit = unit
        self._holder: _Holder | None = None
        self._pids = 0

    def settle(self) -> None:
        if self._holder is not None:
            self._holder.end()
            self._holder = None
        if self._pids:
            super().update({"pids": {"limit": self._pids}})

    def update(self, resources: oci.Resources) -> None:
        memory = resources.get("memory") or {}
        limit = memory.get("limit") or 0
        if memory.get("checkBeforeUpdate") and limit > 0 and (usage := self.stats().memory):
            cgroup_v1.check_usage(limit, usage.usage, self.path)
        with _talking(self.unit, "change the unit") as manager:
            found = systemd_properties.of_resources(
                resources, unified=_is_unified(self._groups), version=manager.version, fresh=False
            )
            manager.set_properties(self.unit, found)
        super().update(resources)

    def remove(self, timeout: float = REMOVE_TIMEOUT) -> None:
        # First the processes: systemd would send SIGTERM, and wait for TimeoutStopSec.
        super().remove(timeout)
        if self._holder is not None:
            self._holder.end()
            self._holder = None
        stop(self.unit)


class _Holder:
    """A process that waits: until it is told, or the process that made it is gone."""

    __slots__ = ("_pidfd", "_pipe", "pid")

    def __init__(self) -> None:
        self._pipe = os.pipe()
        self.pid, self._pidfd = clone3()
        if self.pid == 0:
            try:
                os.close(self._pipe[1])
                os.read(self._pipe[0], 1)
            finally:
                os._exit(0)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            pidfd_send_signal(self._pidfd, SIGKILL)
        reap(self._pidfd)
        for descriptor in (self._pidfd, *self._pipe):
            os.close(descriptor)


def unit_of(place: str) -> tuple[str, str]:
    """The slice and the unit that a cgroupsPath means."""
    pieces = place.split(":")
    if len(pieces) != 3:
        raise InvalidArgument(
            f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got "{place}" '
            "instead"
        )
    slice_, prefix, name = pieces
    slice_ = slice_ or SLICE
    if not slice_.endswith(".slice") or "/" in slice_:
        raise InvalidArgument(f"linux.cgroupsPath: {slice_!r} is not the name of a slice of systemd")
    if not name or "/" in name or name.endswith(".slice"):
        raise InvalidArgument(f"linux.cgroupsPath: no scope of systemd can have the name {name!r}")
    return slice_, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"


def prepare(place: str, resources: oci.Resources, annotations: Mapping[str, str]) -> Scope:
    """Have systemd make the scope, and set its limits; everything is undone if that fails."""
    slice_, unit = unit_of(place)
    extra = systemd_properties.of_annotations(annotations)
    unified = _is_unified(cgroups.locate(f"/{unit}"))
    with _talking(unit, "start the unit") as manager:
        limits = systemd_properties.of_resources(
            resources, unified=unified, version=manager.version, fresh=True
        )
        holder = _Holder()
        try:
            accounting = ("CPUAccounting", "IOAccounting" if unified else "BlockIOAccounting")
            properties = [
                ("Description", ("s", f"mydocker container {unit.removesuffix('.scope')}")),
                ("Slice", ("s", slice_)),
                ("Delegate", ("b", True)),
                ("PIDs", ("au", [holder.pid])),
                *((name, ("b", True)) for name in ("MemoryAccounting", "TasksAccounting", *accounting)),
                ("DefaultDependencies", ("b", False)),
                *limits,
                *extra,
            ]
            manager.start_transient(unit, properties)
            path = manager.control_group(unit)
        except BaseException:
            holder.end()  # and with it what was made of the scope
            raise
    scope = Scope(unit, path, cgroups.locate(path))
    scope._holder = holder
    try:
        if (resources.get("pids") or {}).get("limit") in (0, 1):
            # Too few for two: init, and who holds its place.
            resources = {**resources, "pids": {"limit": 2}}
            scope._pids = 1
        cgroups.establish(scope, resources, occupied=True)
    except BaseException:
        scope.remove()
        raise
    return scope


def open(unit: str, paths: Mapping[str, str]) -> Scope:
    """The scope that ``prepare`` made; NotFound once its cgroup is gone."""
    groups = [group for group in cgroups.groups_at(paths) if group.exists()]
    if not groups:
        raise NotFound(f"no such cgroup: that of the unit {unit}")
    return Scope(unit, groups[-1].path, groups)


def stop(unit: str) -> None:
    """Have systemd forget a unit that has no processes; one that is not there is no error."""
    with _talking(unit, "stop the unit") as manager:
        manager.stop(unit)


def _is_unified(groups: Sequence[Group]) -> bool:
    return len(groups) == 1 and groups[0].unified


@contextlib.contextmanager
def _talking(unit: str, task: str) -> Iterator[systemd.Manager]:
    """A conversation with systemd about one unit, its refusals in our words."""
    if not systemd.booted():
        raise NotSupported("systemd not running on this host, cannot use systemd cgroups manager")
    try:
        with systemd.Manager() as manager:
            yield manager
    except BusError as error:
        raise StartFailed(f"systemd cannot {task} {unit}: {error}") from error
    except PermissionError as error:
        raise Forbidden(
            f"systemd cannot {task} {unit}: {(error.strerror or str(error)).lower()} (only root may ask it)"
        ) from error
    except TimeoutError as error:
        raise Unavailable(f"systemd did not {task} {unit} within {systemd.TIMEOUT:g} s") from error
    except (FileNotFoundError, ConnectionError) as error:
        raise Unavailable(f"systemd cannot {task} {unit}: {error}") from error
