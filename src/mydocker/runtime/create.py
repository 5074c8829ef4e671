"""Creating a container: the cgroup, the clone, and every step up to the point where init waits.

What it is from then on is in ``runtime/task.py``, which is kept apart so that the commands that only deal
with a running container load none of this.
"""

from __future__ import annotations

import _socket
import os

from mydocker import errors
from mydocker.errors import InvalidArgument, StartFailed
from mydocker.linux import namespace
from mydocker.linux.pidfd import is_exiting
from mydocker.runtime import cgroup as cgroups
from mydocker.runtime import clone, init, state
from mydocker.runtime import plan_container as plans
from mydocker.runtime.channel import Channel
from mydocker.runtime.dialogue import compile_filter, follow
from mydocker.runtime.rootfs import BoundRootfs, RootfsStep
from mydocker.runtime.step import Event, Step
from mydocker.runtime.steps.namespaces import ConnectedNetwork, JoinNamespace
from mydocker.runtime.task import Stdio, Task, end, set_oom_score

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mydocker.oci.runtime import NetDevice, Spec
    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.waiting import WaitingInit

    Observer = Callable[[Event], None]


def create(
    spec: Spec,
    *,
    id: str,
    bundle: str,
    rootfs: RootfsStep | None = None,
    stdio: Stdio | None,
    console_rows_columns: tuple[int, int] | None = None,
    init_binary: bool = False,
    observer: Observer | None = None,
    parent_death_signal: int = 0,
    listener: _socket.socket | None = None,
    seccomp_cache: str | None = None,
    for_parent: bool = False,
    preserve: Sequence[int] = (),
    move_root: bool = False,
    keep_keyring: bool = False,
    rootless: bool = False,
    cgroup_manager: str = "cgroupfs",
    connect: Callable[[int], object] | None = None,
    at_once: bool = False,
    waiting: WaitingInit | None = None,
) -> Task:
    """Make the container ``id`` from ``spec`` up to the point where init would execute its program.

    Raises a class of ``errors``, with everything undone. ``observer`` is called with an ``Event`` for each
    step. With a ``listener``, init waits for a connection there instead of ``Task.start``, and outlives the
    caller. ``parent_death_signal`` is sent to init when its parent ends. With
    ``for_parent`` that is the caller's parent, which reaps init, and what ends before it is ready. The
    program inherits the descriptors ``preserve``. With ``move_root`` the root is moved in the place of
    pivot_root, with ``keep_keyring`` the session keyring stays. With ``rootless`` a container without limits
    does without the cgroups that this user may not make. The ``cgroup_manager`` is ``cgroupfs``, ``systemd``
    (``runtime/cgroup_systemd.py``), or ``disabled``: then none are made, and limits are refused. ``connect``
    is called with init's number to connect its network, while init makes its mounts; the links are there when
    init sets its kernel parameters. With ``at_once``, init goes on to its program without waiting for
    ``Task.start``, which only says how that went. ``waiting`` becomes its init if it fits, and is
    discarded otherwise.
    """
    if "process" not in spec:
        raise InvalidArgument("the runtime document has no process")
    linux = spec.get("linux", {})
    if rootfs is None:
        root = spec.get("root", {}).get("path")
        if not root:
            raise InvalidArgument("the runtime document has no root.path")
        rootfs = BoundRootfs(os.path.realpath(os.path.join(bundle, root)))
    own = plans.Namespaces(linux.get("namespaces", []))
    filter = compile_filter(spec, seccomp_cache)
    cgroup: Cgroup | None = None
    steps: list[Step] = []
    ours: Channel | None = None
    done = False
    try:
        own.open()
        place = linux.get("cgroupsPath") or plans.default_cgroup(id)
        if waiting is not None and waiting.fits(spec, own, place):
            cgroup = waiting.limited(linux.get("resources", {}))
        else:
            if waiting is not None:
                waiting.discard()
                waiting = None
            cgroup = prepare_cgroup(cgroup_manager, place, spec, rootless)
        if cgroup is not None and "cgroup" in own.new and _is_to_divide(cgroup, spec):
            from mydocker.runtime import cgroup_owner

            cgroup_owner.give(cgroup, spec)
        if observer is not None and cgroup is not None:
            for file, value in cgroup.describe():
                observer(Event(f"limit by {file}", value))
        work = plans.make(
            spec,
            own,
            rootfs,
            id=id,
            bundle=bundle,
            stdio=stdio,
            rows_columns=console_rows_columns,
            cgroups=cgroup.paths() if cgroup is not None else {},
            move_root=move_root,
            keep_keyring=keep_keyring,
        )
        connection = None
        if connect is not None:
            connection = ConnectedNetwork()
            work.inside.insert(0, connection)
        for step in work.steps():
            steps.append(step)
            step.prepare()
        start = init.Start(work, spec["process"], filter, observer is not None)
        if init_binary:
            from mydocker.runtime.reaper import become_init

            start.reaper = become_init
        start.listener = listener
        start.waits = not at_once
        start.preserve = preserve
        start.parent_death_signal = parent_death_signal
        start.start_hooks = spec.get("hooks", {}).get("startContainer", [])
        if start.start_hooks:
            from mydocker.runtime import hooks

            start.run_hooks = hooks.run
        start.state = state.document(spec, id, "created", 1, bundle) if start.start_hooks else ""
        if waiting is not None:
            pid, pidfd, ours = waiting.begin(start, own)
        else:
            pid, pidfd, ours = _clone(start, own, cgroup, for_parent)
        task = Task(spec, id, bundle, pid=pid, pidfd=pidfd, cgroup=cgroup, channel=ours, filter=filter)
        task.waits = not at_once
        try:
            if cgroup is not None:
                cgroup.settle()
            if "user" in own.joined:
                from mydocker.runtime import idmap

                idmap.require(linux, pid)
            set_oom_score(spec["process"], task)
            if devices := linux.get("netDevices"):
                _give_network_devices(devices, own, pid)
            if connect is not None and connection is not None:
                try:
                    connect(pid)
                except Exception:
                    if is_exiting(pid, pidfd):
                        follow(ours, task, task, observer)  # raises what init has to say
                    raise
                connection.done()
            follow(ours, task, task, observer)
            task._observer = observer
        except BaseException:
            end(pidfd, None)
            os.close(pidfd)
            if task.console is not None:
                os.close(task.console)
            raise
        if cgroup is not None:
            cgroup.close()
        done = True
        return task
    finally:
        for step in steps:
            step.release()
        own.close()
        if not done:
            if ours is not None:
                ours.close()
            if cgroup is not None:
                cgroup.remove()


def _clone(
    start: init.Start, own: plans.Namespaces, cgroup: Cgroup | None, for_parent: bool
) -> tuple[int, int, Channel]:
    """Clone init; its pid, its pidfd, and the channel to it."""
    ours, theirs = Channel.pair()

    def main(joined: bool) -> None:
        ours.close()
        joins = [] if joined else [k for k in clone.join_order(own) if k != "pid"]
        init.main(
            start,
            theirs,
            lambda context: init.enter_container(
                context,
                cgroup=cgroup,
                joins=[JoinNamespace(k, *own.joined[k]) for k in joins],
                new_user="user" in own.new,
                observing=start.observing,
            ),
        )

    try:
        pid, pidfd = clone.start(main, own, cgroup.fd if cgroup else None, for_parent=for_parent)
    except BaseException as error:
        ours.close()
        if isinstance(error, OSError):
            raise StartFailed(f"cannot clone init: {(error.strerror or '').lower()}") from error
        raise
    finally:
        theirs.close()
    return pid, pidfd, ours


def prepare_cgroup(manager: str, path: str, spec: Spec, rootless: bool) -> Cgroup | None:
    """The cgroup for ``spec`` with its limits; none if nobody makes any (``disabled``), or may do so."""
    resources = spec.get("linux", {}).get("resources", {})
    limits = [name for name, section in resources.items() if name != "devices" and section]
    if manager == "disabled":
        if limits:
            raise InvalidArgument(f"linux.resources.{limits[0]} needs a cgroup, and cgroups are disabled")
        return None
    if manager == "systemd":
        from mydocker.runtime import cgroup_systemd

        return cgroup_systemd.prepare(path, resources, spec.get("annotations", {}))
    try:
        return cgroups.prepare(path, resources)
    except (errors.Forbidden, errors.NotSupported):
        if not rootless or limits:
            raise
        return None


def _is_to_divide(cgroup: Cgroup, spec: Spec) -> bool:
    """Whether the container sees the root of its own cgroup namespace read-write. Not of version 1, which is
    not safe to hand over (cgroups(7), "Cgroups delegation")."""
    return list(cgroup.paths()) == ["unified"] and any(
        entry.get("source") == "cgroup"
        and os.path.normpath(entry["destination"]) == "/sys/fs/cgroup"
        and "ro" not in entry.get("options", [])
        for entry in spec.get("mounts", [])
    )


def _give_network_devices(devices: dict[str, NetDevice], own: plans.Namespaces, pid: int) -> None:
    from mydocker.runtime import netdevices

    if "network" in own.joined:
        netdevices.move(devices, own.joined["network"][1])
        return
    target = namespace.open_namespace("network", pid)
    try:
        netdevices.move(devices, target)
    finally:
        os.close(target)
