"""The root directory of a container as a descriptor, with its volumes and bind mounts in it.

    running    /proc/<init>/root: exactly what its processes see, in their own mount namespace
    stopped    put together anew: the overlay, and on it the binds, volumes and files of the engine, in a
               mount namespace of a process that ends at once; what remains is a tree of mounts that is
               attached nowhere, and is gone with its descriptor

Either way paths below it are resolved by openat2(2) with RESOLVE_IN_ROOT (``linux/path.py``) and never by
string (CVE-2018-15664, CVE-2019-14271). Of a stopped container the lock is held meanwhile, so that it is not
started on a read-write layer that is in use.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import errors
from ..linux import mount, namespace, path
from ..runtime import idmap
from . import document, files, rootfs, sources, volumes
from .reconcile import settle
from .record import Record
from .state import ALIVE, Status
from .store import Lock, Store

_ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_PATIENCE = 10.0
_SAFE = mount.MOUNT_ATTR_NOSUID | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOEXEC
_PSEUDO = frozenset(
    (mount.PROC_SUPER_MAGIC, mount.SYSFS_MAGIC, mount.CGROUP_SUPER_MAGIC, mount.CGROUP2_SUPER_MAGIC,
     mount.DEVPTS_SUPER_MAGIC)
)  # fmt: skip


@contextmanager
def opened(store: Store, record: Record) -> Iterator[int]:
    """A descriptor (O_PATH) of the root directory, for the ``with`` block."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        root = _running(store, record)
        if root is not None:
            with _closing(root):
                yield root
            return
        lock = store.lock(record.id)
        if lock is not None:
            break
        if time.monotonic() > deadline:
            raise errors.Unavailable(f"container {record.short_id} is being started, copied or removed")
        time.sleep(0.01)
    with lock:
        root = _locked(store, record, lock)
        try:
            with _closing(root):
                yield root
        finally:
            store.release(record.id, lock)


def leaves(root: int) -> Callable[[int], bool]:
    """For ``archive.diff.pack_entry``: whether a directory is the kernel's (/proc), or the engine's /dev."""
    top = os.fstat(root)
    device = None
    try:
        descriptor = path.open_in_root(root, "dev", _ROOT)
    except (FileNotFoundError, NotADirectoryError):
        pass  # it has none
    else:
        with _closing(descriptor):
            status = os.fstat(descriptor)
            if status.st_dev != top.st_dev:
                device = status

    def leave(descriptor: int) -> bool:
        if device is not None and os.path.samestat(os.fstat(descriptor), device):
            return True
        return mount.filesystem_magic(descriptor) in _PSEUDO

    return leave


def _running(store: Store, record: Record) -> int | None:
    state = store.read_state(record.id)
    if state.status not in ALIVE:
        return None
    if state.status is Status.RESTARTING:
        raise errors.Conflict(f"Container {record.id} is restarting, wait until the container is running")
    try:
        root = os.open(f"/proc/{state.pid}/root", _ROOT)
    except (FileNotFoundError, ProcessLookupError):
        settle(store, record.id)
        return None
    # It was not started again until now, and its lock is still held: the process was the container's, and no
    # later one of the same number.
    if store.read_state(record.id).started_at == state.started_at and store.held(record.id):
        return root
    os.close(root)
    return None


def _locked(store: Store, record: Record, lock: Lock) -> int:
    try:
        status = store.read_state(record.id).status
        if status in (Status.REMOVING, Status.DEAD):
            raise errors.Conflict(f"container {record.short_id} is {status}, its files cannot be copied")
        return _assembled(store, record)
    except BaseException:
        store.release(record.id, lock)
        raise


def _assembled(store: Store, record: Record) -> int:
    """The tree of a container that does not run. ``OSError`` names what could not be mounted."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        try:
            try:
                tree = _assemble(store, record)
                socket.send_fds(theirs, [b"0"], [tree])
            except OSError as error:
                theirs.send(b"%d %s" % (error.errno or 0, os.fsencode(error.filename or "")))
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        answer, descriptors, _, _ = socket.recv_fds(ours, 8192, 1)
    os.waitpid(child, 0)
    if descriptors:
        return descriptors[0]
    number, _, name = answer.partition(b" ")
    if not number:
        raise errors.Unavailable(f"the files of container {record.short_id} could not be mounted")
    code = int(number)
    raise OSError(code, os.strerror(code), os.fsdecode(name) or store.directory(record.id))


def _assemble(store: Store, record: Record) -> int:
    namespace.unshare(namespace.CLONE_NEWNS)
    os.umask(0)  # mount points that are made have the mode that init would give them
    mount.mount(None, "/", None, mount.MS_PRIVATE | mount.MS_REC)
    overlay = rootfs.stack(store.directory(record.id), record)
    overlay.mount_privately()
    root = os.open(overlay.target, _ROOT)
    with volumes.opening(store) as held:
        for tree, destination in _mounts(store, record, held):
            is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
            make = path.make_directory_in_root if is_directory else path.make_file_in_root
            try:
                mount.move_mount(tree, make(root, destination))
            except OSError as error:
                raise OSError(error.errno, error.strerror, destination) from None
    whole = mount.open_tree(overlay.target, mount.OPEN_TREE_CLONE | mount.AT_RECURSIVE)
    mount.mount_setattr(whole, _SAFE, recursive=True)
    if record.host_config.readonly_rootfs:
        mount.mount_setattr(whole, mount.MOUNT_ATTR_RDONLY)
    return whole


def _mounts(store: Store, record: Record, held: volumes.Opening) -> Iterator[tuple[int, str]]:
    """Mounts that are attached nowhere yet, and where they belong, outer ones first."""
    points = {point.destination: point for point in record.mounts if point.type in ("bind", "volume")}
    ours = {
        destination: source
        for destination, source in files.sources(store, record).items()
        if destination not in points and os.path.exists(source)
    }
    opened = volumes.opened(store, record)
    for destination in sorted([*points, *ours], key=document.outer_first):
        if destination in ours:
            yield mount.open_tree(ours[destination], mount.OPEN_TREE_CLONE), destination
            continue
        point = points[destination]
        if destination in opened:
            tree = held.tree(point)
        else:
            sources.make(point)
            flags = mount.OPEN_TREE_CLONE | (mount.AT_RECURSIVE if point.recursive else 0)
            tree = mount.open_tree(point.source, flags)
        if point.id_map:
            with _closing(idmap.user_namespace(*document.id_mappings(point))) as userns:
                mount.mount_setattr(tree, mount.MOUNT_ATTR_IDMAP, userns=userns, recursive=point.recursive)
        if not point.rw:
            mount.mount_setattr(tree, mount.MOUNT_ATTR_RDONLY, recursive=True)
        yield tree, destination


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
