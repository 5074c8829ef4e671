"""The forkserver: waits for launchers with everything imported, and forks a worker for each.

A loop over the listening socket and the pidfds of the children (epoll(7): monitors live as long as their
containers); nothing in it depends on a client's behaviour, as the worker itself reads the request. Of each
kind of child a spare one waits (``child.py``). The server keeps a launcher's connection open as long as both
it and the worker live, to report a death that the worker could not report. Killing the server at any instant
does no harm: workers go on and report their exit themselves, and launchers that were not served yet see the
end of file.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

from ..linux import memory
from ..linux.process import set_name
from . import child, cold, worker
from .child import Child
from .launcher import START_LOCK, identity, socket_path
from .zygote import Zygote

IDLE_SECONDS = 300.0
_CHECK_SECONDS = 30.0  # how often a server looks whether launchers still come to it, or to a newer version
_QUIET_SECONDS = 0.05  # how long nothing has to happen before a spare child is forked
_BACKLOG = 128
# What monitors and builders may import late, and so the zygote has to have.
_PARTS = ("linux", "monitor", "network", "oci", "runtime")
# What is played through before anything is forked, so that children find it done (monitor/rehearsal.py).
_REHEARSAL = "mydocker.container.rehearsal:rehearse"
# What learns which pages workers, and which ones monitors and what they make, write to (linux/memory.py).
_LEARN = "mydocker.cli.rehearsal:learn"
_LEARN_OUTLIVING = "mydocker.container.rehearsal:learn"
# Modules of libraries that commands import late, when they need them.
_LIBRARIES = ("importlib.metadata", "rich.console", "rich.progress", "rich.table", "traceback")


def serve(package_parent: str, path: str, idle: str = "") -> NoReturn:
    """Serve launchers at ``path`` until there was none for ``idle`` seconds, or the package changed.

    The caller has passed a lock, by which at most one server starts at a time in a directory.
    """
    own_identity = identity(package_parent)
    if socket_path(os.path.dirname(path), own_identity) != path:
        sys.exit(f"{path}: not the name of a socket of this process; nobody would find it")
    if _answers(path):
        sys.exit()
    sweep(os.path.dirname(path))
    for part in _PARTS:
        preload(package_parent, part)
    zygote = Zygote(own_identity, os.path.dirname(path), lambda: _rehearse(_LEARN_OUTLIVING))
    preload(package_parent)
    listener = _listen(path)
    os.close(START_LOCK)
    _rehearse(_LEARN)

    def is_current() -> bool:
        try:
            return identity(package_parent) == own_identity
        except OSError:  # the package is gone
            return False

    try:
        _Server(listener, path, zygote).run(float(idle) if idle else IDLE_SECONDS, is_current)
    except _InWorker as forked:
        channel, in_advance = forked.args
    else:
        sys.exit()
    if in_advance:
        memory.own_pages(worker.KIND)
    try:
        connection = child.wait(channel)
    except EOFError:
        os._exit(0)
    worker.run(connection, path, own_identity)


class _InWorker(BaseException):
    """Raised in a new worker, with its channel and whether it has time, so that it leaves nothing of the
    server on its stack."""


def _rehearse(learn: str) -> None:
    cold.load(_REHEARSAL)()
    gc.collect()
    gc.freeze()
    cold.load(learn)()


def preload(package_parent: str, part: str = "") -> list[str]:
    """Import every module of the package, or of one ``part`` of it; return the names of those imported.

    One that cannot be imported here (a library that is not installed) is left to the command that needs it,
    which can say so.
    """
    names = [] if part else list(_LIBRARIES)
    for directory, directories, files in os.walk(os.path.join(package_parent, "mydocker", part)):
        directories[:] = sorted(d for d in directories if os.path.exists(f"{directory}/{d}/__init__.py"))
        prefix = os.path.relpath(directory, package_parent).replace(os.sep, ".")
        names.extend(
            f"{prefix}.{name.removesuffix('.py')}"
            for name in sorted(files)
            if name.endswith(".py") and name not in ("__init__.py", "__main__.py")
        )
    imported = []
    for name in names:
        try:
            import_module(name)
        except ImportError:
            continue
        imported.append(name)
    return imported


def sweep(directory: str) -> None:
    """Remove the sockets that killed servers have left in ``directory``; the caller holds the lock."""
    for name in os.listdir(directory):
        path = f"{directory}/{name}"
        if name.startswith("forkserver-") and not _answers(path):
            with suppress(FileNotFoundError):  # of another that has just left, and taken it away
                os.unlink(path)


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        return True


def _listen(path: str) -> socket.socket:
    """A listening socket that appears at ``path`` complete, in place of one that a killed server has left."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    temporary = f"{path}.{os.getpid()}"
    listener.bind(temporary)
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    os.rename(temporary, path)
    return listener


class _Server:
    """The loop over the listening socket and the children."""

    def __init__(self, listener: socket.socket, path: str, zygote: Zygote) -> None:
        self._listener = listener
        self._path = path
        self._inode = os.stat(path).st_ino
        self._zygote = zygote
        self._spare_worker: Child | None = None
        self._spare_outliving: Child | None = None
        self._children: dict[int, socket.socket | None] = {}
        """a connection to whoever waits for its end, by pidfd"""
        self._leaving = False
        self._poll = select.epoll()
        self._poll.register(listener, select.EPOLLIN)
        self._poll.register(zygote, select.EPOLLIN)

    def run(self, idle: float, is_current: Callable[[], bool]) -> None:
        """Have a child for each connection."""
        last = time.monotonic()
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(self._patience(idle))]
            if self._listener.fileno() in ready:
                self._serve()
            for pidfd in self._children.keys() & ready:
                self._poll.unregister(pidfd)
                _report(pidfd, self._children.pop(pidfd))
            if self._zygote.fileno() in ready and not self._zygote.hear():
                self._poll.unregister(self._zygote)
                self._leave()  # somebody has killed it; the next server has another
            if ready or self._is_needed():
                last = time.monotonic()
            if ready:
                continue
            if self._lacks_spare():  # not while commands come and go, nor beside the end of one
                self._fork_spares()
            if self._leaving and not self._is_needed():
                return
            if not self._leaving and (time.monotonic() - last >= idle or not is_current()):
                self._leave()

    def _is_needed(self) -> bool:
        """Whether a launcher waits for its worker's end. The end of a monitor is no business of ours: a
        connection at whose other end nobody is any more is closed."""
        for pidfd, connection in self._children.items():
            if connection is not None and not _is_awaited(connection):
                connection.close()
                self._children[pidfd] = None
        return any(self._children.values())

    def _lacks_spare(self) -> bool:
        lacks_outliving = self._spare_outliving is None and self._zygote.ready
        return not self._leaving and (self._spare_worker is None or lacks_outliving)

    def _patience(self, idle: float) -> float:
        if self._leaving and not self._is_needed():
            return 0
        return min(idle, _QUIET_SECONDS if self._lacks_spare() else _CHECK_SECONDS)

    def _serve(self) -> None:
        connection, outlives = _accept(self._listener)
        if connection is None:
            return
        if outlives:
            fork = self._zygote.fork
            spare, self._spare_outliving = self._spare_outliving, None
        else:
            fork = self._fork_worker
            spare, self._spare_worker = self._spare_worker, None
        if spare is None or not spare.give(connection):
            try:
                spare = fork(in_advance=False)
            except OSError:  # whoever has connected sees the end of it, and does without us
                connection.close()
                return
            spare.give(connection)
        self._children[spare.pidfd] = connection
        self._poll.register(spare.pidfd, select.EPOLLIN)

    def _fork_spares(self) -> None:
        with suppress(OSError):  # too many processes
            if self._spare_outliving is None and self._zygote.ready:
                self._spare_outliving = self._zygote.fork(in_advance=True)
            if self._spare_worker is None:
                self._spare_worker = self._fork_worker(in_advance=True)

    def _fork_worker(self, *, in_advance: bool) -> Child:
        ours, theirs = socket.socketpair()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid:
            theirs.close()
            return Child(os.pidfd_open(pid), ours)
        # what others are told by the end of a connection must not wait for this child's
        ours.close()
        for connection in filter(None, self._children.values()):
            connection.close()
        for other in (self._spare_worker, self._spare_outliving, self._zygote):
            if other is not None:
                other.forget()
        set_name(child.NAME)
        raise _InWorker(theirs, in_advance)

    def _leave(self) -> None:
        """Whoever has connected already is still served; whoever comes now finds no server."""
        if os.path.exists(self._path) and os.stat(self._path).st_ino == self._inode:
            os.unlink(self._path)
        self._leaving = True


def _accept(listener: socket.socket) -> tuple[socket.socket | None, bool]:
    """A connection, and whether its other end has a name: so ``spawn.py`` asks for a clean process."""
    try:
        connection, name = listener.accept()
    except (BlockingIOError, ConnectionAbortedError):
        return None, False
    connection.setblocking(True)
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid != os.geteuid():
        connection.close()
        return None, False
    return connection, bool(name)


def _is_awaited(connection: socket.socket) -> bool:
    """Whether the other end of a connection, which never sends any more, is still there."""
    poll = select.poll()
    poll.register(connection, 0)
    return not poll.poll(0)


def _report(pidfd: int, connection: socket.socket | None) -> None:
    """Tell the launcher how its worker ended, in case that the worker did not."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)
    if connection is None:
        return
    with connection:
        if result is None:
            return
        kind = b"E" if result.si_code == os.CLD_EXITED else b"S"
        try:
            connection.sendall(worker.reply(kind, result.si_status), socket.MSG_DONTWAIT)
        except OSError:  # the launcher has its answer from the worker, and is gone
            return
