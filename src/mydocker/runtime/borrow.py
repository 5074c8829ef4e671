"""Take a part of another process's file system as a mount that is attached nowhere.

A process of the runtime's enters the other's mount namespace, resolves the path in its root, and hands the
cloned tree back: open_tree(2) clones only what is in the caller's own namespace.
"""

from __future__ import annotations

import os

from mydocker.errors import NotFound
from mydocker.linux import mount, namespace, path, prctl
from mydocker.linux.pidfd import pidfd_open, reap
from mydocker.linux.process import clone3
from mydocker.runtime.channel import Channel


def borrow(pid: int, name: str, *, recursive: bool) -> int:
    """A descriptor of a clone of what process ``pid`` has at ``name``; ``NotFound`` if it has nothing.

    ``recursive``: with what is mounted below it.
    """
    try:
        pidfd = pidfd_open(pid)
    except ProcessLookupError:
        raise NotFound(f"no such process to take {name} from: {pid}") from None
    ours, theirs = Channel.pair()
    try:
        helper, child = clone3()
        if helper == 0:
            _lend(pidfd, name, theirs, recursive)
        theirs.close()
        kind, fields, descriptors = ours.receive()
        reap(child)
        os.close(child)
    finally:
        os.close(pidfd)
        ours.close()
        theirs.close()
    if not descriptors:
        reason = fields[0] if kind == "error" and fields else "the helper process ended"
        raise NotFound(f"cannot take {name} from process {pid}: {reason}")
    return descriptors[0]


def _lend(pidfd: int, name: str, channel: Channel, recursive: bool) -> None:
    """In a process of its own: send the tree at ``name`` in the mount namespace of ``pidfd``."""
    try:
        prctl.set_dumpable(False)
        namespace.setns(pidfd, namespace.CLONE_NEWNS)
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        point = path.open_in_root(root, name)
        flags = mount.OPEN_TREE_CLONE | mount.AT_EMPTY_PATH | (mount.AT_RECURSIVE if recursive else 0)
        channel.send("tree", descriptors=[mount.open_tree("", flags, point)])
    except OSError as error:
        channel.send("error", (error.strerror or str(error)).lower())
    finally:
        os._exit(0)
