"""The monitor of one container: it has it made, serves whoever is attached, and knows how it ended.

A monitor is the parent of the container's init process and of every process added by exec, which is why it
learns their exit codes exactly. It knows the socket and the streams; making things is left to builders
(``build.py``), and what a start or an end means for the container's record to its ``Owner``
(``container/supervise.py``).

The order at the end is part of the interface: the cgroup is removed, output is drained, the owner writes the
state or removes the container, and only then do the attached clients hear EXIT. Whoever has seen a container
end can rely on what the next command shows.
"""

import os
import socket
from collections.abc import Callable
from typing import Protocol

import msgspec

from .. import errors
from ..linux import pidfd, pty
from . import build, protocol
from .build import Built, tell
from .log import Writer
from .loop import POLLIN, Loop
from .plan import Brief
from .protocol import Added, AttachRequest, ControlRequest, Failure, Kind, Started, packet
from .spawn import forked
from .streams import Client, Streams

_REMEMBERED = 16
"""added processes whose exit codes can still be asked for"""


class Owner(build.Starting, Protocol):
    """What happens to the container's record and its cgroup. None of these may leave anything half done."""

    def clear(self) -> bool:
        """End what is left of it, remove the cgroup; whether anything was killed for want of memory."""

    def ended(self, code: int, *, oom_killed: bool) -> None:
        """It is gone from the kernel: write this down or remove it, and give up the lock."""

    def pause(self, *, paused: bool) -> None:
        """Write down that it is frozen, or not any more; ``Conflict`` if it is already."""

    def keep(self) -> None:
        """It is not to remove itself when it ends."""

    def exec_ended(self, identifier: str, code: int) -> None:
        """An added process has ended, the container has not."""


class _Process:
    """An exec'd process, or (number 0) the container's init."""

    __slots__ = ("about", "id", "number", "pid", "pidfd", "streams")

    def __init__(
        self,
        number: int,
        pid: int,
        descriptor: int,
        streams: Streams,
        id: str = "",
        about: msgspec.Raw = msgspec.Raw(b"null"),  # noqa: B008 - immutable
    ) -> None:
        self.id = id
        self.about = about
        self.number = number
        self.pid = pid
        self.pidfd = descriptor
        self.streams = streams


class Monitor:
    def __init__(self, brief: Brief, owner: Owner) -> None:
        self._brief = brief
        self._owner = owner
        self._loop = Loop()
        self._processes: dict[int, _Process] = {}
        self._builders: set[int] = set()
        self._last = 0
        self._past: list[Added] = []
        self._paused = False
        self._leaving: list[Streams] = []
        self._listener: socket.socket | None = None
        self._ended = False

    def run(self) -> None:
        """Until the container has ended and everybody who was attached knows."""
        brief = self._brief
        starter = socket.socket(fileno=brief.starter)
        builder, connection = forked(
            lambda theirs: build.container(brief, self._owner, starter, theirs),
            f"{brief.state}/monitor-crash.log",
        )
        with connection:
            message, descriptors = _receive(connection)
        os.waitpid(builder, 0)
        for fd in brief.namespaces:
            os.close(fd)
        if not message:
            return  # it could not be started, and owner and starter know; or the builder was killed
        self.serve(build.built.decode(message[1:]), descriptors, starter)

    def serve(self, made: Built, descriptors: list[int], starter: socket.socket) -> None:
        """What follows when the container has been made: all that a monitor does for most of its life."""
        self._begin(made, descriptors, starter)
        try:
            while not self._ended:
                self._loop.turn(self._impatience())
        except BaseException:
            # a mistake of ours must not leave a container that nobody watches
            self._owner.clear()
            raise
        while any(client.queue for streams in self._leaving for client in streams.clients):
            self._loop.turn(self._impatience())

    def _begin(self, made: Built, descriptors: list[int], starter: socket.socket) -> None:
        brief = self._brief
        init, listener, *rest = descriptors
        log = Writer(brief.log) if brief.log else None
        streams = self._streams(made, rest, log, close_on_leave=brief.stdin_once)
        self._processes[0] = _Process(0, made.pid, init, streams)
        self._listener = socket.socket(fileno=listener)
        self._loop.watch(listener, POLLIN, self._accept)
        self._loop.watch(init, POLLIN, self._exited)
        tell(starter, packet(Kind.STARTED, protocol.encode(Started(pid=made.pid))))
        if brief.attach is None:
            starter.close()
        else:
            self._join(starter, streams, brief.attach, owner=True)

    def _streams(
        self, made: Built, descriptors: list[int], log: Writer | None, *, close_on_leave: bool
    ) -> Streams:
        if made.terminal:
            return Streams(self._loop, console=descriptors[0], log=log, close_on_leave=close_on_leave)
        rest = iter(descriptors)
        return Streams(
            self._loop,
            stdin=next(rest) if made.input else -1,
            stdout=next(rest) if made.output else -1,
            stderr=next(rest) if made.output else -1,
            log=log,
            close_on_leave=close_on_leave,
        )

    # -- the end

    def _impatience(self) -> float | None:
        soonest: float | None = None
        self._leaving = [streams for streams in self._leaving if streams.clients]
        for streams in (*(process.streams for process in self._processes.values()), *self._leaving):
            left = streams.impatience()
            if left is not None and (soonest is None or left < soonest):
                soonest = left
        return soonest

    def _exited(self, _: int) -> None:
        """Init has ended, and with it (PID namespace, cgroup) everything in the container."""
        init = self._processes.pop(0)
        self._loop.forget(init.pidfd)
        code = pidfd.reap(init.pidfd)
        oom_killed = self._owner.clear()
        init.streams.drain()
        for process in [*self._processes.values()]:
            self._exec_exited(process)
        assert self._listener is not None
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        self._owner.ended(code, oom_killed=oom_killed)
        self._farewell(init.streams, code)
        self._ended = True

    def _exec_exited(self, process: _Process) -> None:
        del self._processes[process.number]
        self._loop.forget(process.pidfd)
        code = pidfd.reap(process.pidfd)
        os.close(process.pidfd)
        process.streams.drain()
        ended = Added(id=process.id, pid=process.pid, about=process.about, exit_code=code)
        self._past = [*self._past[1 - _REMEMBERED :], ended]
        self._owner.exec_ended(process.id, code)
        self._farewell(process.streams, code)
        self._reap_strangers()

    def _farewell(self, streams: Streams, code: int) -> None:
        for client in [*streams.clients]:
            streams.tell(client, packet(Kind.EXIT, b"%d" % code))
        self._leaving.append(streams)

    def _reap_strangers(self) -> None:
        """Children that nobody told of: what a builder cloned and then could not start.

        One of ours that has ended, and that its own handler reaps, hides those behind it until then.
        """
        known = {process.pid for process in self._processes.values()} | self._builders
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in known:
                return
            os.waitpid(found.si_pid, 0)

    # -- the socket

    def _accept(self, _: int) -> None:
        assert self._listener is not None
        try:
            connection, _address = self._listener.accept()
        except BlockingIOError:
            return
        self._loop.watch(connection.fileno(), POLLIN, lambda _: self._first(connection))

    def _first(self, connection: socket.socket) -> None:
        """The packet that says what a connection is for, or one more CONTROL."""
        try:
            message = connection.recv(protocol.LONG_PACKET, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionResetError:
            message = b""
        kind = message[0] if message else 0
        if kind == Kind.CONTROL:
            self._answer(connection, lambda: self._control(protocol.control_request.decode(message[1:])))
            return
        self._loop.forget(connection.fileno())
        if kind == Kind.ATTACH:
            self._attach(connection, message[1:])
        elif kind == Kind.EXEC:
            self._exec(connection, message[1:])
        elif kind == Kind.LIST:
            self._list(connection)
        else:
            connection.close()

    def _answer(self, connection: socket.socket, action: Callable[[], None]) -> None:
        try:
            action()
            answer = packet(Kind.DONE)
        except (errors.Error, OSError, msgspec.MsgspecError) as error:
            answer = packet(Kind.ERROR, protocol.encode(Failure.of(error)))
        try:
            connection.send(answer, socket.MSG_DONTWAIT)
        except OSError:
            self._loop.forget(connection.fileno())
            connection.close()

    def _control(self, request: ControlRequest) -> None:
        if self._ended:
            raise errors.Unavailable("the container has ended")
        if request.keep:
            self._owner.keep()
        if request.paused is not None:
            self._owner.pause(paused=request.paused)
            self._paused = request.paused
        process = self._processes.get(request.process)
        if process is None:
            return  # it has ended, and whoever is attached to it is about to hear
        if request.signal:
            try:
                pidfd.pidfd_send_signal(process.pidfd, request.signal)
            except ProcessLookupError:
                return  # it has just ended, which is what a signal is for
        if request.rows and request.columns and process.streams.console >= 0:
            pty.set_size(process.streams.console, request.rows, request.columns)

    def _join(
        self, connection: socket.socket, streams: Streams, request: AttachRequest, *, owner: bool
    ) -> None:
        streams.join(
            Client(connection, stdin=request.stdin, stdout=request.stdout, stderr=request.stderr, owner=owner)
        )

    def _attach(self, connection: socket.socket, body: bytes) -> None:
        if 0 not in self._processes:  # it has ended since they connected
            connection.close()
            return
        try:
            request = protocol.attach_request.decode(body)
            connection.send(packet(Kind.STARTED, protocol.encode(Started())), socket.MSG_DONTWAIT)
        except (msgspec.MsgspecError, OSError):
            connection.close()
            return
        self._join(connection, self._processes[0].streams, request, owner=False)

    def _list(self, connection: socket.socket) -> None:
        added = [each for each in self._processes.values() if each.number]
        running = [Added(id=each.id, pid=each.pid, about=each.about) for each in added]
        tell(connection, packet(Kind.LISTED, protocol.encode([*self._past, *running])))
        connection.close()

    # -- exec

    def _exec(self, connection: socket.socket, body: bytes) -> None:
        if 0 not in self._processes:
            connection.close()
            return
        init = self._processes[0]
        if self._paused:  # the process would stand still before it could say that it was made
            why = f"container {self._brief.id} is paused, unpause the container before exec"
            tell(connection, packet(Kind.ERROR, protocol.encode(Failure("Conflict", why))))
            connection.close()
            return
        try:
            builder, made = forked(
                lambda theirs: build.process(self._brief, init.pid, init.pidfd, body, theirs),
                f"{self._brief.state}/monitor-crash.log",
            )
        except OSError as error:  # too many processes
            tell(connection, packet(Kind.ERROR, protocol.encode(Failure.of(error))))
            connection.close()
            return
        self._builders.add(builder)
        self._loop.watch(made.fileno(), POLLIN, lambda _: self._added(builder, made, connection))

    def _added(self, builder: int, made: socket.socket, connection: socket.socket) -> None:
        """A builder has handed over a process, or has failed, or was killed."""
        self._loop.forget(made.fileno())
        with made:
            message, descriptors = _receive(made)
        os.waitpid(builder, 0)
        self._builders.discard(builder)
        if not message or message[0] != Kind.STARTED:
            refusal = Failure("StartFailed", "the process that was to start it was killed")
            tell(connection, message or packet(Kind.ERROR, protocol.encode(refusal)))
            connection.close()
            self._reap_strangers()
            return
        added = build.built.decode(message[1:])
        descriptor, *rest = descriptors
        self._last += 1
        streams = self._streams(added, rest, None, close_on_leave=True)
        process = _Process(self._last, added.pid, descriptor, streams, added.id, added.about.copy())
        self._processes[process.number] = process
        self._loop.watch(descriptor, POLLIN, lambda _: self._exec_exited(process))
        tell(
            connection, packet(Kind.STARTED, protocol.encode(Started(process=process.number, pid=added.pid)))
        )
        if added.detach:
            connection.close()
        else:
            wanted = AttachRequest(stdin=added.stdin, stdout=added.stdout, stderr=added.stderr)
            self._join(connection, streams, wanted, owner=True)


def _receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    message, descriptors, _, _ = socket.recv_fds(connection, protocol.PACKET, 8, socket.MSG_CMSG_CLOEXEC)
    return message, descriptors
