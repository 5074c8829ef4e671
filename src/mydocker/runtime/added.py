"""An added process: ``exec`` into a running container.

It is cloned into the container's cgroup and PID namespace, enters all its other namespaces with one setns(2)
on init's pidfd, and then is made like init: terminal, limits, identity, seccomp filter. Before it enters, it
is not dumpable and its interpreter is sealed (``linux/sealed.py``), so that nothing in there can use it as a
bridge.
"""

from __future__ import annotations

import os

from mydocker.errors import Conflict, StartFailed
from mydocker.linux import namespace
from mydocker.linux.namespace import CLONE_NEWPID
from mydocker.linux.pidfd import has_exited
from mydocker.linux.process import CLONE_PARENT
from mydocker.runtime import clone, init, plan
from mydocker.runtime.channel import Channel
from mydocker.runtime.dialogue import compile_filter, finish_start, follow
from mydocker.runtime.step import Event
from mydocker.runtime.steps import limits
from mydocker.runtime.task import (
    AddedProcess,
    Stdio,
    Task,
    end,
    set_oom_score,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mydocker.oci.runtime import Process


def start(
    task: Task,
    process: Process,
    stdio: Stdio | None,
    rows_columns: tuple[int, int] | None,
    observer: Callable[[Event], None] | None,
    *,
    parent_death_signal: int = 0,
    seccomp_cache: str | None = None,
    for_parent: bool = False,
    preserve: Sequence[int] = (),
) -> AddedProcess:
    """Start ``process`` in the container of ``task``; raises with nothing left behind.

    ``for_parent``: as a child of the caller's parent. The program inherits the descriptors ``preserve``.
    """
    if has_exited(task.pidfd):
        raise Conflict(f"container {task.id} is not running")
    document: Process = {**task.spec["process"], "terminal": False, "consoleSize": None, **process}  # type: ignore[typeddict-item]
    filter = task._filter or compile_filter(task.spec, seccomp_cache)
    work = plan.make_added(document, task.spec.get("linux", {}), stdio, rows_columns)
    launch = init.Start(work, document, filter, observer is not None)
    launch.parent_death_signal = parent_death_signal
    launch.preserve = preserve
    try:
        kinds = joinable(task.pid)
    except FileNotFoundError:  # it ended between the two looks
        raise Conflict(f"container {task.id} is not running") from None
    cgroup = task.cgroup
    initial, final = limits.affinity(document)
    if final:
        work.inside.insert(0, limits.Affinity(final))
    ours, theirs = Channel.pair()
    with ours, theirs:
        if cgroup is not None:
            cgroup.open_join()

        def main() -> None:
            ours.close()
            init.main(
                launch,
                theirs,
                lambda context: init.enter_running(
                    context, cgroup=cgroup, pidfd=task.pidfd, kinds=kinds & ~CLONE_NEWPID
                ),
            )

        at = cgroup.fd_beside(task.pid) if cgroup is not None else None
        before = os.sched_getaffinity(0)
        flags = CLONE_PARENT if for_parent else 0
        try:
            if initial:
                os.sched_setaffinity(0, initial)
            if kinds & CLONE_NEWPID:
                pid, pidfd = clone.clone_into_pid_namespace(main, task.pidfd, flags, at)
            else:
                pid, pidfd = clone.clone(main, flags, at)
        except OSError as error:
            raise StartFailed(
                f"cannot clone a process into {task.id}: {(error.strerror or '').lower()}"
            ) from error
        finally:
            if initial:
                os.sched_setaffinity(0, before)
        theirs.close()
        added = AddedProcess(pid, pidfd, None, [])
        try:
            set_oom_score(document, added)
            follow(ours, added, None, observer)
            ours.send("go")
            finish_start(ours, task, added.pid, added.pidfd)
        except BaseException:
            end(pidfd, None)
            os.close(pidfd)
            if added.console is not None:
                os.close(added.console)
            raise
    return added


def joinable(pid: int) -> int:
    """The kinds of namespaces in which the process ``pid`` is not with the caller, as CLONE_NEW* flags.

    setns(2) into one's own user namespace is an error, into others only superfluous.
    """
    kinds = 0
    for kind, (flag, _) in namespace.KINDS.items():
        try:
            if namespace.inode(kind, pid) != namespace.inode(kind):
                kinds |= flag
        except FileNotFoundError:
            if kind not in ("time", "cgroup"):  # this kernel may lack these
                raise
    return kinds
