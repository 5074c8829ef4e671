"""The clone: one process in its new namespaces and its cgroup, with the joins that have to come before it.

New namespaces are made by clone3(2) itself. Joined ones are entered by init after the clone, except where
order forbids that:

- A PID namespace is entered only by children. The runtime sets it for its next child (``setns``, which
  changes ``pid_for_children`` alone) and sets its own back at once.
- With a user namespace, new or joined, the namespaces to be joined may belong to the outer one, and new ones
  have to belong to the inner one. Then a process in between joins what is to be joined and clones init as
  its sibling (``CLONE_PARENT``), so that init is the runtime's own child all the same.
"""

from __future__ import annotations

import os

from mydocker.errors import StartFailed
from mydocker.linux import namespace
from mydocker.linux.namespace import CLONE_NEWPID
from mydocker.linux.pidfd import pidfd_open, reap
from mydocker.linux.process import CLONE_PARENT, clone3
from mydocker.runtime.channel import Channel
from mydocker.runtime.steps.namespaces import become_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from mydocker.runtime.plan_container import Namespaces


def start(
    main: Callable[[bool], None], own: Namespaces, cgroup: int | None, *, for_parent: bool = False
) -> tuple[int, int]:
    """Clone a process that calls ``main(joined)`` and ends; return its (pid, pidfd).

    ``joined`` tells whether the namespaces to be joined have been joined already. With ``for_parent`` the
    process is a child of the caller's parent, which has to reap it, and what else ends on the way.
    """
    flags = own.clone_flags() | (CLONE_PARENT if for_parent else 0)
    if own.joined and "user" in own.own():
        return _start_between(main, own, flags, cgroup)
    if "pid" not in own.joined:
        return clone(lambda: main(False), flags, cgroup)
    return clone_into_pid_namespace(lambda: main(False), own.joined["pid"][1], flags, cgroup)


def clone_into_pid_namespace(
    main: Callable[[], None], descriptor: int, flags: int, cgroup: int | None, kind: int = CLONE_NEWPID
) -> tuple[int, int]:
    """Clone into the PID namespace of ``descriptor`` (namespace or pidfd); the caller stays where it was."""
    before = os.open("/proc/self/ns/pid_for_children", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespace.setns(descriptor, kind)
        try:
            return clone(main, flags, cgroup)
        finally:
            namespace.setns(before, CLONE_NEWPID)
    finally:
        os.close(before)


def join_order(own: Namespaces) -> list[str]:
    """The kinds to be joined, in order: what our user namespace owns, then the user namespace, the rest."""
    kinds = [kind for kind in namespace.KINDS if kind in own.joined and kind != "user"]
    if "user" not in own.joined:
        return kinds
    ours = namespace.open_namespace("user")
    try:
        outer = [kind for kind in kinds if _is_owned_by(own.joined[kind][1], ours)]
    finally:
        os.close(ours)
    return [*outer, "user", *(kind for kind in kinds if kind not in outer)]


def _start_between(
    main: Callable[[bool], None], own: Namespaces, flags: int, cgroup: int | None
) -> tuple[int, int]:
    ours, theirs = Channel.pair()
    with ours, theirs:
        # Already in the cgroup, which init inherits: from inside of the user namespace it may not be entered.
        pid, pidfd = clone3(flags & CLONE_PARENT, cgroup=cgroup)
        if pid == 0:
            try:
                _between(main, own, flags, theirs)
            finally:
                os._exit(1)
        theirs.close()
        try:
            kind, fields, descriptors = ours.receive()
        finally:
            if not flags & CLONE_PARENT:
                reap(pidfd)
            os.close(pidfd)
    if kind == "error" or not fields:
        raise StartFailed(
            fields[0] if fields else "the process between the runtime and init ended unexpectedly"
        )
    return int(fields[0]), descriptors[0] if descriptors else pidfd_open(int(fields[0]))


def _between(main: Callable[[bool], None], own: Namespaces, flags: int, channel: Channel) -> None:
    kind = ""
    try:
        for kind in join_order(own):
            namespace.setns(own.joined[kind][1], namespace.KINDS[kind][0])
            if kind == "user":
                become_root()
        kind = ""
        pid, pidfd = clone(lambda: main(True), flags | CLONE_PARENT, None)
    except OSError as error:
        what = f"join the {kind} namespace {own.joined[kind][0]}" if kind else "clone init"
        channel.send("error", f"cannot {what}: {(error.strerror or '').lower()}")
        os._exit(1)
    channel.send("pid", str(pid), descriptors=[pidfd])
    os._exit(0)


def clone(main: Callable[[], None], flags: int, cgroup: int | None) -> tuple[int, int]:
    pid, pidfd = clone3(flags, cgroup=cgroup)
    if pid == 0:
        try:
            main()
        finally:
            os._exit(1)
    return pid, pidfd


def _is_owned_by(descriptor: int, user_namespace: int) -> bool:
    owner = namespace.owner_of(descriptor)
    try:
        return os.path.sameopenfile(owner, user_namespace)
    finally:
        os.close(owner)
