"""The cgroup of one container: one path, a directory in every hierarchy that the host has mounted.

    cgroup = prepare("/mydocker/<id>", resources)    made everywhere, limits set; nothing left if that fails
    clone3(CLONE_INTO_CGROUP, cgroup.fd)             v2, and the unified side of a hybrid host
    cgroup.join()                                    in the child: the v1 hierarchies
    cgroup.stats(), freeze(), kill(9), update(…)
    cgroup.remove()                                  kills what is left; may be repeated

    v1      a directory per controller mount, and in name=systemd; limits by cgroup_v1
    v2      one directory, controllers enabled on the way down to it; limits by cgroup_v2
    hybrid  both: each limit goes where its controller is, freezing and killing to the v2 side

Joining v1 is done by the child itself, which writes ``0`` ("me") to ``tasks``: the kernel then takes no lock
on all processes, where moving another process through ``cgroup.procs`` waits for an RCU grace period of 10 ms
or more. The files are opened beforehand, so that the child needs no ``/sys``.

A path is taken as runc takes it: absolute means from the root of each hierarchy, relative means below the
caller's own cgroup (on v2 beside it, since a cgroup that has processes cannot have children with limits; man
7 cgroups, "no internal processes"). Out of scope: who joins when, and the cgroup mount inside of a container.
"""

import errno
import os
import time

from ..errors import Conflict, InvalidArgument, NotFound, NotSupported, Unavailable
from ..linux.cgroup import hierarchy as hierarchies
from ..linux.cgroup.directory import Directory
from ..linux.cgroup.hierarchy import UNIFIED
from . import cgroup_device
from .cgroup_limit import Group, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType
    from typing import Any

    from ..oci import runtime as oci
    from .cgroup_stats import Stats

FREEZE_TIMEOUT = 10.0
REMOVE_TIMEOUT = 10.0
"""Seconds. A killed process leaves its cgroup in milliseconds, unless the kernel itself holds it (state
D)."""

SIGKILL = 9  # import signal costs 7 ms of a cold start
_JOIN = os.O_WRONLY | os.O_CLOEXEC
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Cgroup:
    """A container's directories. Owns descriptors: close it, or use it as a context manager."""

    __slots__ = ("_controllers", "_fd", "_groups", "_join", "_unified", "path")

    def __init__(self, path: str, groups: "Sequence[Group]"):
        self.path = path
        self._groups = tuple(groups)
        self._unified = next((group for group in groups if group.unified), None)
        self._controllers: dict[str, Group] | None = None
        self._fd: int | None = None
        self._join: list[int] | None = None

    def __repr__(self) -> str:
        return f"Cgroup({self.path!r})"

    def __enter__(self) -> "Cgroup":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- where it is ---------------------------------------------------------------------------------

    def paths(self) -> dict[str, str]:
        """The directory in each hierarchy: ``{"memory": "/sys/fs/cgroup/memory/mydocker/x", …}``; v2 is
        ``unified``."""
        return {group.hierarchy.name: group.path for group in self._groups}

    @property
    def fd(self) -> int | None:
        """An O_PATH descriptor of the v2 directory for CLONE_INTO_CGROUP; None on a host with v1 alone."""
        if self._fd is None and self._unified is not None:
            try:
                self._fd = os.open(self._unified.path, _PATH)
            except FileNotFoundError as error:
                raise NotFound(f"no such cgroup: {self._unified.path} (its container has ended)") from error
        return self._fd

    def fd_beside(self, pid: int) -> int | None:
        """``fd`` for a process that is added to the container of ``pid``.

        A container that divides its own cgroup (an init system does, and so does another engine) has its
        processes below it: v2 takes none there any more. Then it is the cgroup that ``pid`` is in, if that is
        below ours.
        """
        unified = self._unified
        if unified is None or not unified.read("cgroup.subtree_control"):
            return self.fd
        own = unified.hierarchy.directory(hierarchies.path_in(unified.hierarchy, hierarchies.membership(pid)))
        if not own.startswith(f"{unified.path}/"):
            return self.fd
        if self._fd is not None:
            os.close(self._fd)
        self._fd = os.open(own, _PATH)
        return self._fd

    def _find(self, controller: str) -> Group | None:
        """The directory that has this controller, by its v1 name; ``unified`` is the one of v2."""
        if self._controllers is None:
            found = {}
            if self._unified is not None:
                found[UNIFIED] = self._unified
                try:
                    names = self._unified.read("cgroup.controllers").split()
                except OSError as error:
                    raise refusal(error, str(error.filename)) from error
                for name in names:
                    found[{"io": "blkio"}.get(name, name)] = self._unified
            for group in self._groups:
                found.update(dict.fromkeys(group.hierarchy.controllers, group))
            self._controllers = found
        return self._controllers.get(controller)

    # -- joining -------------------------------------------------------------------------------------

    def open_join(self) -> None:
        """Open what ``join`` writes to; before the clone, in the parent."""
        if self._join is None:
            opened: list[int] = []
            try:
                for group in self._groups:
                    if not group.unified:
                        opened += [os.open(f"{group.path}/tasks", _JOIN)]
            except OSError as error:
                for descriptor in opened:
                    os.close(descriptor)
                raise refusal(error, str(error.filename)) from error
            self._join = opened

    def join(self) -> None:
        """Move the calling thread, which has to be its process's only one, into every v1 hierarchy."""
        self.open_join()
        for descriptor, group in zip(self._join or (), self._groups, strict=False):
            try:
                os.write(descriptor, b"0")
            except OSError as error:
                raise refusal(error, f"{group.path}/tasks", "0") from error

    def settle(self) -> None:
        """Init is in it now: what had to hold the place for it may go. Here that is nothing."""

    def close(self) -> None:
        """Close the descriptors; the object can still be used, it opens them again."""
        opened = self._join or []
        if self._fd is not None:
            opened.append(self._fd)
        self._fd = self._join = None
        for descriptor in opened:
            os.close(descriptor)

    # -- limits --------------------------------------------------------------------------------------

    def update(self, resources: "oci.Resources") -> None:
        """Set the limits that ``linux.resources`` names and leave the others as they are."""
        self._apply(resources, fresh=False)

    def _apply(self, resources: "oci.Resources", *, fresh: bool) -> None:
        if self._unified is not None:
            from .cgroup_unified import enable_controllers

            enable_controllers(self._unified, resources, alone=len(self._groups) == 1)
        memory, cpu, blkio = resources.get("memory"), resources.get("cpu"), resources.get("blockIO")
        if memory:
            self._limit("memory", memory, "memory")
        if cpu:
            if cpu.get("cpus") or cpu.get("mems"):
                self._limit("cpuset", cpu, "cpuset", alike=True)
            if any(key not in ("cpus", "mems") for key in cpu):
                self._limit("cpu", cpu, "cpu")
        if pids := resources.get("pids"):
            self._limit("pids", pids, "pids", alike=True)
        if blkio:
            self._limit("blkio", blkio, "block_io")
        if pages := resources.get("hugepageLimits"):
            self._limit("hugetlb", pages, "hugetlb")
        if network := resources.get("network"):
            if network.get("classID"):
                self._limit("net_cls", network, "network_class")
            if network.get("priorities"):
                self._limit("net_prio", network, "network_priorities")
        if devices := resources.get("rdma"):
            self._limit("rdma", devices, "rdma", alike=True)
        # For a new cgroup no list is an empty list: a container that says nothing gets the default devices.
        if fresh or resources.get("devices"):
            self._limit_devices(resources.get("devices") or (), fresh=fresh)
        if files := resources.get("unified"):
            if self._unified is None:
                raise NotSupported(
                    "linux.resources.unified needs cgroup v2, which is not mounted on this host"
                )
            from . import cgroup_v2

            cgroup_v2.unified(self._unified, files)

    def _limit(
        self,
        controller: str,
        section: "Any",
        name: str,
        *,
        alike: bool = False,
    ) -> None:
        """Call the function ``name`` of the version that has the controller; ``alike``: v1's serves both."""
        group = self._find(controller)
        function: Callable[[Group, Any], None] | None = None
        if group is not None:
            function = getattr(_version(v2=group.unified and not alike), name, None)
        if group is None or function is None:
            raise NotSupported(
                f"this host offers no cgroup controller {controller}, which a limit of the container needs "
                "(leave the limit out, or mount the controller)"
            )
        try:
            function(group, section)
        except OSError as error:
            raise refusal(error, str(error.filename)) from error

    def _limit_devices(self, rules: "Sequence[oci.DeviceRule]", *, fresh: bool) -> None:
        policy = cgroup_device.Policy.of(rules)
        group = self._find("devices")
        try:
            if group is not None:
                cgroup_device.apply_v1(group, policy, fresh=fresh)
                group.note("devices.list")
            elif self.fd is not None:
                cgroup_device.apply_v2(self.fd, policy, fresh=fresh)
            elif policy.rules or not policy.default:
                raise NotSupported(
                    "device rules need the devices controller of cgroup v1, or cgroup v2; neither is mounted"
                )
        except OSError as error:
            place = group.path if group is not None else str(self._unified)
            raise refusal(error, error.filename or f"the device rules of {place}") from error

    def describe(self) -> list[tuple[str, str]]:
        """Each file that was set through this object, with what the kernel says now is in it.

        The device program of v2 has no file; its id stands for it (``bpftool prog dump xlated id N`` shows
        it).
        """
        found = [
            (f"{group.path}/{file}", group.read(file)) for group in self._groups for file in group.written
        ]
        if self._unified is not None and self._find("devices") is None and self.fd is not None:
            from ..linux import bpf

            programs = ", ".join(f"program {number}" for number in bpf.query(self.fd))
            found.append((f"{self._unified.path} (BPF_CGROUP_DEVICE)", programs or "none"))
        return found

    # -- what is in it -------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """The processes in the cgroup and below it."""
        return self._groups[-1].pids()

    def stats(self) -> "Stats":
        from . import cgroup_stats

        try:
            return cgroup_stats.read(self._find)
        except OSError as error:
            raise refusal(error, str(error.filename)) from error

    def oom_kills(self) -> int:
        """How many processes the OOM killer has taken because of this cgroup's limit or those below it."""
        group = self._find("memory")
        if group is None:
            return 0
        try:
            if group.unified:
                return group.flat("memory.events").get("oom_kill", 0)
            # v1 counts for each cgroup apart; a container may have made some below its own.
            return sum(below.flat("memory.oom_control").get("oom_kill", 0) for below in group.walk())
        except OSError as error:
            raise refusal(error, str(error.filename)) from error

    # -- freezing and killing ------------------------------------------------------------------------

    def _freezer(self) -> Group:
        """v2 where it is there: a process frozen that way can still be killed."""
        unified = self._unified
        if unified is not None and unified.has("cgroup.freeze"):
            return unified
        if group := self._find("freezer"):
            return group
        raise NotSupported(
            "freezing needs cgroup v2 or the freezer controller of cgroup v1; neither is mounted"
        )

    def frozen(self) -> bool:
        group = self._freezer()
        try:
            return group.frozen()
        except OSError as error:
            raise refusal(error, str(error.filename)) from error

    def freeze(self) -> None:
        """Stop every process; returns when all stand still."""
        group = self._freezer()
        try:
            group.freeze(FREEZE_TIMEOUT)
        except TimeoutError as error:
            raise Unavailable(
                f"cannot freeze {group.path}: some process did not stop in {FREEZE_TIMEOUT:g} s"
            ) from error
        except OSError as error:
            raise refusal(error, str(error.filename)) from error

    def thaw(self) -> None:
        group = self._freezer()
        try:
            group.thaw()
        except OSError as error:
            raise refusal(error, str(error.filename)) from error

    def kill(self, signal: int = SIGKILL) -> None:
        """Send a signal to every process, so that none escapes by forking meanwhile. Nothing there is no
        error."""
        if signal == SIGKILL and self._unified is not None and self._unified.kill():
            return
        if not self.pids():
            return
        # SIGKILL reaches a process that the v1 freezer holds only once it is thawed; other signals may wait
        # for whoever has frozen the container.
        thaw = signal == SIGKILL
        try:
            if not self.frozen():
                thaw = True
                self.freeze()
        except (NotSupported, Unavailable):
            # No freezer, or a process that the kernel holds. One that forks right now may escape the signal;
            # remove() repeats until nothing is left.
            thaw = False
        try:
            self._signal(signal)
        finally:
            if thaw:
                self.thaw()

    def _signal(self, signal: int) -> None:
        for pid in {pid for group in self._groups for pid in group.pids()}:
            try:
                os.kill(pid, signal)
            except ProcessLookupError:
                continue  # it left between the look and the signal

    # -- removal -------------------------------------------------------------------------------------

    def remove(self, timeout: float = REMOVE_TIMEOUT) -> None:
        """Kill what is left in the cgroup and remove it, in every hierarchy, with all cgroups below it.

        What is gone already is fine. Raises Unavailable when a process does not die within ``timeout``
        seconds.
        """
        left = [group for group in self._groups if not _gone(group)]
        if left:
            self._remove_busy(left, timeout)
        self.close()

    def _remove_busy(self, left: list[Group], timeout: float) -> None:
        end = time.monotonic() + timeout
        pause = 0.0005
        while True:
            self.kill(SIGKILL)
            self._signal(SIGKILL)  # in a nested v1 cgroup something may be that has left the v2 side
            if self._unified in left:
                self._unified.wait_until_empty(end)
            left = [group for group in left if not _gone(group)]
            if not left:
                return
            if time.monotonic() > end:
                pids = ", ".join(str(pid) for pid in left[0].pids()) or "unknown"
                raise Unavailable(
                    f"cannot remove the cgroup {left[0].path}: still in it after {timeout:g} s: {pids}"
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.05)


def _version(*, v2: bool) -> "ModuleType":
    """The module with the limits of one version: a host needs one of them, as a rule."""
    if v2:
        from . import cgroup_v2

        return cgroup_v2
    from . import cgroup_v1

    return cgroup_v1


def prepare(path: str, resources: "oci.Resources") -> Cgroup:
    """Make the cgroup ``path`` in every hierarchy and set its limits; everything is undone if that fails.

    An empty cgroup that is there already is taken over, one with processes in it is a Conflict.
    """
    cgroup = Cgroup(path, locate(path))
    establish(cgroup, resources)
    return cgroup


def establish(cgroup: Cgroup, resources: "oci.Resources", *, occupied: bool = False) -> None:
    """Make the directories and set the limits, or undo it; ``occupied`` if processes may be in there."""
    groups = cgroup._groups
    if not groups:
        raise NotSupported("no cgroup hierarchy is mounted (mount cgroup2 on /sys/fs/cgroup)")
    made: list[Group] = []
    try:
        for group in groups:
            if _make(group):
                made.append(group)
            elif not occupied and group.populated():
                raise Conflict(f"the cgroup {group.path} has processes in it (use another path, or end them)")
            if "cpuset" in group.hierarchy.controllers:
                from . import cgroup_v1

                cgroup_v1.inherit_cpuset(group)
        cgroup._apply(resources, fresh=True)
        cgroup.open_join()
    except BaseException as error:
        cgroup.close()
        for group in made:
            group.remove()
        if isinstance(error, OSError):
            raise refusal(error, str(error.filename)) from error
        raise


def open(path: str) -> Cgroup:
    """The cgroup that ``prepare`` made for this path; NotFound when no hierarchy has it."""
    return _existing(path, locate(path))


def open_paths(paths: "Mapping[str, str]") -> Cgroup:
    """The same from what ``Cgroup.paths`` said: right for a relative path, whoever asks."""
    return _existing(paths.get(UNIFIED) or next(iter(paths.values()), ""), groups_at(paths))


def groups_at(paths: "Mapping[str, str]") -> list[Group]:
    """The directories that ``Cgroup.paths`` said, whether they are there or not."""
    known = {hierarchy.name: hierarchy for hierarchy in hierarchies.discover()}
    groups = [Group(Directory(known[name], place)) for name, place in paths.items() if name in known]
    return sorted(groups, key=lambda group: group.unified)


def _existing(path: str, groups: "Sequence[Group]") -> Cgroup:
    found = [group for group in groups if group.exists()]
    if not found:
        raise NotFound(f"no such cgroup: {path}")
    return Cgroup(path, found)


def locate(path: str) -> list[Group]:
    """The directory that ``path`` means in each hierarchy that is mounted."""
    pieces = [piece for piece in path.split("/") if piece not in ("", ".")]
    if not pieces or ".." in pieces or "\0" in path or "\n" in path:
        raise InvalidArgument(f"cgroup path {path!r} is not a path below the root of the cgroup hierarchies")
    below = "/".join(pieces)
    found = hierarchies.discover()
    if path.startswith("/"):
        return [Group(Directory(hierarchy, f"{hierarchy.mount}/{below}")) for hierarchy in found]
    member = hierarchies.membership()
    groups = []
    for hierarchy in found:
        own = hierarchies.path_in(hierarchy, member)
        if hierarchy.unified and len(found) == 1:
            own = os.path.dirname(own)
        groups.append(Group(Directory(hierarchy, f"{hierarchy.directory(own)}/{below}")))
    return groups


def _make(group: Group) -> bool:
    """Make the directory and, the first time, those above it; False when it was there."""
    for _ in range(8):
        try:
            return group.make()
        except FileNotFoundError:
            if group.is_top():
                raise
            _make(Group(group.parent()))  # someone may remove it again, right now: hence the loop
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), group.path)


def _gone(group: Group) -> bool:
    try:
        return group.remove()
    except OSError as error:
        raise refusal(error, group.path) from error
