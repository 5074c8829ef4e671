"""What a stack of layers adds up to, to be read: an overlay without a read-write layer, mounted nowhere.

The mount exists as a descriptor only, so no process sees it and nothing has to be undone: with the
descriptor it is gone. It is read-only, and opening a device in it does nothing (``nodev``), as a container
may be at work in its uppermost layer. ``alone`` gives the same for one directory.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence

from .. import errors
from ..linux import mount, namespace
from ..runtime.rootfs import Overlay

_SAFE = (
    mount.MOUNT_ATTR_RDONLY
    | mount.MOUNT_ATTR_NOSUID
    | mount.MOUNT_ATTR_NODEV
    | mount.MOUNT_ATTR_NOEXEC
    | mount.MOUNT_ATTR_NOATIME
    | mount.MOUNT_ATTR_NOSYMFOLLOW
)


class View:
    """``with merged(layers) as directory:`` has a descriptor to read from, at the top of the tree."""

    def __init__(self, tree: int) -> None:
        self._tree = tree
        self._directory = -1

    def __enter__(self) -> int:
        try:
            mount.mount_setattr(self._tree, _SAFE, mount.MOUNT_ATTR__ATIME)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
            self._directory = os.open(".", flags, dir_fd=self._tree)
        except BaseException:
            os.close(self._tree)
            raise
        return self._directory

    def __exit__(self, *exc: object) -> None:
        os.close(self._directory)
        os.close(self._tree)


def alone(directory: str) -> View:
    """The one directory ``directory``, without what is mounted below it."""
    return View(mount.open_tree(directory, mount.OPEN_TREE_CLONE))


def merged(layers: Sequence[str]) -> View:
    """``layers`` (the top first, at least two) as overlayfs shows them."""
    overlay = Overlay(list(layers), "", "", layers[0], options=())
    try:
        return View(_mounted(overlay))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise errors.NotSupported(
            f"one of the layers lies inside of another one, which overlayfs does not merge: {layers[-1]}"
        ) from error


def _mounted(overlay: Overlay) -> int:
    try:
        return overlay.detached()
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
    return _from_namespace(overlay)


def _from_namespace(overlay: Overlay) -> int:
    """The same before Linux 6.8: by mount(2), in a mount namespace of a process that ends at once."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        try:
            namespace.unshare(namespace.CLONE_NEWNS)
            mount.mount(None, "/", None, mount.MS_PRIVATE | mount.MS_REC)
            overlay.mount_on_target()
            tree = mount.open_tree(overlay.target, mount.OPEN_TREE_CLONE)
            socket.send_fds(theirs, [b"0"], [tree])
        except OSError as error:
            theirs.send(b"%d" % (error.errno or errno.EIO))
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        answer, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
    os.waitpid(child, 0)
    if descriptors:
        return descriptors[0]
    number = int(answer or errno.EIO)
    raise OSError(number, os.strerror(number), overlay.lowers[0])
