"""The forkserver: waits for launchers with everything imported, and forks a worker for each.

A poll loop over the listening socket and the pidfds of the workers; nothing in it depends on a client's
behaviour, as the worker itself reads the request. It keeps the launcher's connection open as long as the
worker lives, to report a death that the worker could not report. Killing it at any instant does no harm:
workers go on and report their exit themselves, and launchers that were not served yet see the end of file.
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
from importlib import import_module
from typing import NoReturn

from ..linux.process import fork
from . import cold, worker
from .launcher import START_LOCK, identity, socket_path
from .spare import Spare

IDLE_SECONDS = 300.0
_CHECK_SECONDS = 30.0  # how often a server looks whether launchers still come to it, or to a newer version
_QUIET_SECONDS = 0.05  # how long nothing has to happen before a spare worker is forked
_PATIENCE_SECONDS = 1.0  # with one of our own workers that is stopped in the middle of a request
_BACKLOG = 128
# What is played through before anything is forked, so that children find it done (monitor/rehearsal.py).
_REHEARSALS = ("mydocker.monitor.rehearsal:rehearse", "mydocker.container.rehearsal:rehearse")
# Modules of libraries that commands import late, when they need them.
_LIBRARIES = ("importlib.metadata", "rich.console", "rich.progress", "rich.table", "traceback")


def serve(package_parent: str, path: str, entry: str, idle: str = "") -> NoReturn:
    """Serve launchers at ``path`` until there was none for ``idle`` seconds, or the package changed.

    The caller has passed a lock, by which at most one server starts at a time in a directory. ``entry`` is
    what launchers mostly ask for: a spare worker rehearses it.
    A worker returns from the loop into ``worker.run``, so that it leaves nothing of the server on its stack.
    """
    own_identity = identity(package_parent)
    if socket_path(os.path.dirname(path), own_identity) != path:
        sys.exit(f"{path}: not the name of a socket of this process; nobody would find it")
    if _answers(path):
        sys.exit()
    preload(package_parent)
    sweep(os.path.dirname(path))
    listener = _listen(path)
    os.close(START_LOCK)
    for rehearsal in _REHEARSALS:
        cold.load(rehearsal)()
    gc.collect()
    gc.freeze()

    def is_current() -> bool:
        try:
            return identity(package_parent) == own_identity
        except OSError:  # the package is gone
            return False

    server = _Server(listener, path, own_identity, entry)
    connection = server.run(float(idle) if idle else IDLE_SECONDS, is_current)
    if connection is None:
        sys.exit()
    worker.run(connection, path, own_identity)


def preload(package_parent: str) -> list[str]:
    """Import every module of the package, and what it imports late; return the names of those imported.

    One that cannot be imported here (a library that is not installed) is left to the command that needs it,
    which can say so.
    """
    package = os.path.join(package_parent, "mydocker")
    names = list(_LIBRARIES)
    for directory, directories, files in os.walk(package):
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
    """The loop over the listening socket and the workers."""

    def __init__(self, listener: socket.socket, path: str, own_identity: bytes, entry: str) -> None:
        self._identity = own_identity
        self._listener = listener
        self._path = path
        self._inode = os.stat(path).st_ino
        self._entry = entry
        self._workers: dict[int, socket.socket] = {}
        self._spare: Spare | None = None
        self._leaving = False
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)

    def run(self, idle: float, is_current: Callable[[], bool]) -> socket.socket | None:
        """Have a worker for each connection. Returns the connection in a worker, None in the server."""
        last = time.monotonic()
        while True:
            ready = [descriptor for descriptor, _ in self._poll.poll(self._patience(idle) * 1000)]
            if self._listener.fileno() in ready:
                connection = self._serve()
                if connection is not None:
                    return connection
            for pidfd in self._workers.keys() & ready:
                self._poll.unregister(pidfd)
                _report(pidfd, self._workers.pop(pidfd))
            if ready or self._is_needed():
                last = time.monotonic()
            # Not while commands come one upon the other, and not beside the one that has just come.
            if self._spare is None and not self._leaving and self._listener.fileno() not in ready:
                connection = self._fork_spare()
                if connection is not None:
                    return connection
            if ready:
                continue
            if self._leaving and not self._is_needed():
                return None
            if not self._leaving and (time.monotonic() - last >= idle or not is_current()):
                self._leave()

    def _is_needed(self) -> bool:
        """Whether a launcher waits for its worker's end. The end of a monitor is no business of ours."""
        return any(_is_awaited(connection) for connection in self._workers.values())

    def _patience(self, idle: float) -> float:
        if self._leaving and not self._is_needed():
            return 0
        return min(idle, _QUIET_SECONDS if self._spare is None and not self._leaving else _CHECK_SECONDS)

    def _serve(self) -> socket.socket | None:
        connection, is_clean = _accept(self._listener)
        if connection is None:
            return None
        if is_clean:
            self._spawn(connection)
            return None
        spare, self._spare = self._spare, None
        if spare is not None and spare.give(connection):
            pidfd = spare.pidfd
        else:
            try:
                pid = os.fork()
            except OSError:  # the launcher sees the end of its connection, and runs the command itself
                connection.close()
                return None
            if pid == 0:
                return connection
            pidfd = os.pidfd_open(pid)
        self._workers[pidfd] = connection
        self._poll.register(pidfd, select.POLLIN)
        return None

    def _spawn(self, connection: socket.socket) -> None:
        """Start what a worker of ours asks for with ``spawn.py``. What can be done before the fork is done
        then: what the child does, it does to pages that it has to have copies of, for as long as it lives."""
        connection.settimeout(_PATIENCE_SECONDS)
        descriptors: list[int] = []
        try:
            request, descriptors = worker.read_request(connection)
            if request[0] != self._identity:  # another server hashes to the same name
                raise EOFError
            run = cold.load(request[1])(request[-1], descriptors)
            pid = fork()
            if pid == 0:
                worker.outlive(connection, run)
            pidfd = os.pidfd_open(pid)
        except (EOFError, OSError):  # it sees the end of its connection, and does without us
            connection.close()
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self._workers[pidfd] = connection
        self._poll.register(pidfd, select.POLLIN)

    def _fork_spare(self) -> socket.socket | None:
        """In the spare, once there is something to do, return its connection."""
        try:
            spare = Spare(self._entry)
        except OSError:  # too many processes
            return None
        if not spare.is_child:
            self._spare = spare
            return None
        for theirs in self._workers.values():
            theirs.close()
        return spare.wait()

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


def _report(pidfd: int, connection: socket.socket) -> None:
    """Tell the launcher how its worker ended, in case that the worker did not."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    os.close(pidfd)
    with connection:
        if result is None:
            return
        kind = b"E" if result.si_code == os.CLD_EXITED else b"S"
        try:
            connection.sendall(worker.reply(kind, result.si_status), socket.MSG_DONTWAIT)
        except OSError:  # the launcher has its answer from the worker, and is gone
            return
