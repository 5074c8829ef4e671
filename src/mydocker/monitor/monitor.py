"""The monitor of one container: it has it made, serves whoever is attached, and knows how it ended.

A monitor is the parent of the container's init process and of every process added by exec, which is why it
learns their exit codes exactly. It knows the socket and the streams; making things is left to builders
(``build.py``), and what a start or an end means for the container's record to its ``Owner``
(``owner.py``).

The order at the end is part of the interface: the cgroup is removed, output is drained, the owner writes the
state or removes the container, and only then do the attached clients hear EXIT. Whoever has seen a container
end can rely on what the next command shows.
"""

import _socket
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from .. import errors
from ..linux import pidfd, pty
from . import build, protocol
from .build import Built, tell
from .builders import Builders
from .children import Children
from .door import Door
from .health import Checks, Output
from .log_sink import Log
from .loop import POLLIN, Loop
from .owner import Owner
from .past import Past
from .plan import Brief
from .process import Process
from .protocol import AttachRequest, ControlRequest, Failure, Kind, Started, packet
from .streams import Client, Sink, Streams, impatience
from .wires import Wires

if TYPE_CHECKING:
    from signal import SIGKILL
else:
    from _signal import SIGKILL  # without enumerations, each of which would be touched and so copied

_TIMERS = ("timeout", "kill")
"""those of one run of the container"""
_FORK_PAUSE = 1.0
_PATIENCE = 1.0
"""seconds for what has been killed with its container; it may be traced by somebody who does not care"""
_KILLED = 128 + 9


class Monitor:
    def __init__(self, brief: Brief, owner: Owner) -> None:
        self._brief = brief
        self._owner = owner
        self._loop = Loop()
        self._children = Children(self._loop, f"{brief.state}/monitor-crash.log")
        self._wires = Wires(self._loop, owner, self._children)
        self._processes: dict[int, Process] = {}
        self._builders = Builders(self._loop, self._children)
        self._last = 0
        self._past = Past()
        self._paused = False
        self._leaving: list[Streams] = []
        self._door: Door | None = None
        self._ended = False
        self._checks: Checks | None = None
        self._resting: Streams | None = None
        self._making = False
        self._log: Log | None = None
        self._code = 0
        self._signals: list[int] = []

    def run(self) -> None:
        """Have a builder make the container, and be its monitor."""
        brief = self._brief
        builder, connection = self._builders.fork(
            lambda theirs: build.container(brief, self._owner, socket.socket(fileno=brief.starter), theirs)
        )
        for fd in brief.namespaces:
            os.close(fd)
        message, descriptors = build.receive(connection)
        self._builders.part(builder, connection)
        if message:
            self.serve(message, descriptors)
        else:
            self._builders.see_off()  # it could not be started, and owner and starter know; or it was killed

    def go_on(
        self, builder: tuple[int, _socket.socket] | None, message: bytes, descriptors: list[int]
    ) -> None:
        """Be the monitor of what a ``builder`` has handed over that was forked before (``dormant.py``); None
        if it has ended since."""
        if builder is not None:
            pid, handle = builder
            connection = socket.socket(fileno=handle.detach())
            message, descriptors = build.rest(connection, message, descriptors)
            self._builders.take(pid, connection)
        if message:
            self.serve(message, descriptors)

    def serve(self, message: bytes, descriptors: list[int]) -> None:
        """Until the container has ended and all who were attached know."""
        self._builders.widen()
        self._begin(build.built.decode(message[1:]), descriptors)
        try:
            while not self._ended:
                self._loop.turn(self._impatience())
        except BaseException:
            # a mistake of ours must not leave a container that nobody watches
            self._owner.clear()
            raise
        while any(client.queue for streams in self._leaving for client in streams.clients):
            self._loop.turn(self._impatience())
        self._owner.finish()
        self._builders.see_off()

    def _begin(self, made: Built, descriptors: list[int]) -> None:
        brief = self._brief
        init, listener, *rest = descriptors
        self._door = Door(self._loop, listener, self._enter)
        streams = self._run(made, init, rest)
        starter = socket.socket(fileno=brief.starter)
        if brief.attach is None:
            starter.close()
        else:
            tell(starter, packet(Kind.STARTED, protocol.encode(Started(pid=made.pid))))
            self._join(starter, streams, brief.attach, owner=True)

    def _run(self, made: Built, init: int, rest: list[int]) -> Streams:
        brief = self._brief
        rest = self._wires.take(made, rest)
        if self._log is None and brief.log is not None:
            self._log = Log(brief.log, self._loop, self._children)
        streams = self._streams(made, rest, self._log, close_on_leave=brief.stdin_once)
        self._processes[0] = Process(0, made.pid, init, streams)
        self._children.know(made.pid)
        self._loop.watch(init, POLLIN, self._exited)
        if brief.timeout:
            self._loop.after("timeout", brief.timeout, self._stop)
        if brief.health is not None:
            self._checks = Checks(self._loop, brief.health, self._probe, self._kill_probe, self._probed)
        return streams

    def _streams(
        self, made: Built, descriptors: list[int], log: Sink | None, *, close_on_leave: bool
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
        self._leaving = [streams for streams in self._leaving if streams.clients]
        return impatience([*(each.streams for each in self._processes.values()), *self._leaving])

    def _exited(self, _: int) -> None:
        """Init has ended, and with it (PID namespace, cgroup) everything in the container."""
        init = self._processes[0]
        code = self._children.reaped(init.pidfd, lambda: self._exited(0))
        if code is None:
            return
        self._builders.let_go()
        del self._processes[0]
        self._children.part(init.pid, init.pidfd)
        self._wires.cut()  # so that a port that is given back is free
        oom_killed = self._owner.clear()
        init.streams.drain()
        if self._checks is not None:
            self._checks.cancel()
            self._checks = None
        for process in [*self._processes.values()]:
            killed = pidfd.reaped(process.pidfd, _PATIENCE)
            self._exec_ended(process, _KILLED if killed is None else killed)
        for name in _TIMERS:
            self._loop.cancel(name)
        self._paused = False
        self._code = code
        delay = self._owner.ended(code, oom_killed=oom_killed)
        if delay is None:
            self._finish(init.streams)
        else:
            self._resting = init.streams
            self._loop.after("restart", delay, self._again)

    def _finish(self, streams: Streams) -> None:
        assert self._door is not None
        self._door.close()
        self._farewell(streams, self._code)
        self._ended = True

    def _stop(self) -> None:
        """Ask init to end, and make it after a time, as ``stop`` does."""
        number, patience = self._owner.stop_signal()
        self._signal(number)
        if patience >= 0:
            self._loop.after("kill", patience, lambda: self._signal(SIGKILL))

    def _signal(self, number: int, process: Process | None = None) -> None:
        try:
            pidfd.pidfd_send_signal((process or self._processes[0]).pidfd, number)
        except OSError:
            return  # it has just ended, which is what a signal is for; or there is no such signal

    # -- the next start

    def _again(self) -> None:
        try:
            builder, made = self._builders.fork(lambda theirs: build.again(self._brief, self._owner, theirs))
        except OSError:  # too many processes: there may be fewer later
            self._loop.after("restart", _FORK_PAUSE, self._again)
            return
        self._making = True
        self._loop.watch(made.fileno(), POLLIN, lambda _: self._made_again(builder, made))

    def _made_again(self, builder: int, made: socket.socket) -> None:
        self._loop.forget(made.fileno())
        message, descriptors = build.receive(made)
        self._builders.part(builder, made)
        self._making = False
        resting, self._resting = self._resting, None
        assert resting is not None
        if not message or message[0] != Kind.STARTED:
            self._builders.see_off()
            if message:
                self._code = int(message[1:])
                self._finish(resting)
            self._ended = True  # otherwise the builder was killed, and whoever looks next puts it right
            return
        init, *rest = descriptors
        streams = self._run(build.built.decode(message[1:]), init, rest)
        streams.take_over(resting)
        for number in self._signals:
            self._signal(number)
        self._signals = []

    def _exec_exited(self, process: Process) -> None:
        code = self._children.reaped(process.pidfd, lambda: self._exec_exited(process))
        if code is not None:
            self._exec_ended(process, code)

    def _exec_ended(self, process: Process, code: int) -> None:
        del self._processes[process.number]
        self._children.part(process.pid, process.pidfd)
        process.streams.drain()
        if process.checks is not None and process.checks is self._checks:
            self._owner.exec_ended(process.id, code)
            process.checks.ended(code)
            return
        self._past.note(process, code)
        self._owner.exec_ended(process.id, code)
        self._farewell(process.streams, code)

    def _farewell(self, streams: Streams, code: int) -> None:
        for client in [*streams.clients]:
            streams.tell(client, packet(Kind.EXIT, b"%d" % code))
        self._leaving.append(streams)

    # -- the socket

    def _enter(self, connection: socket.socket) -> None:
        self._loop.watch(connection.fileno(), POLLIN, lambda _: self._first(connection))

    def _first(self, connection: socket.socket) -> None:
        """The packet that says what a connection is for, or one more CONTROL."""
        try:
            flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            message, descriptors, _, _ = socket.recv_fds(connection, protocol.LONG_PACKET, 2, flags)
        except BlockingIOError:
            return
        except ConnectionResetError:
            message, descriptors = b"", []
        kind = message[0] if message else 0
        if kind == Kind.RESOLVE:
            self._answer(connection, lambda: self._wires.resolve(descriptors))
            return
        if kind == Kind.PORT:
            self._answer(
                connection,
                lambda: self._wires.change(protocol.port_request.decode(message[1:]), descriptors),
            )
            return
        for descriptor in descriptors:
            os.close(descriptor)
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
        except Exception as error:  # noqa: BLE001 - whatever somebody asks for, the container goes on
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
        if request.clear and self._log is not None:
            self._log.clear()
        if request.paused is not None:
            self._owner.pause(paused=request.paused)
            self._paused = request.paused
        if request.signal and not request.process:
            self._owner.signalled(request.signal)
        if self._resting is not None and not request.process:
            self._while_resting(request)
            return
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

    def _while_resting(self, request: ControlRequest) -> None:
        """There is no process: a signal is for the one that is being made, or tells not to make one."""
        assert self._resting is not None
        if not request.signal:
            return
        if self._making:
            self._signals.append(request.signal)
        elif self._owner.stopped():
            self._loop.cancel("restart")
            resting, self._resting = self._resting, None
            self._finish(resting)

    def _join(
        self, connection: socket.socket, streams: Streams, request: AttachRequest, *, owner: bool
    ) -> None:
        streams.join(
            Client(connection, stdin=request.stdin, stdout=request.stdout, stderr=request.stderr, owner=owner)
        )

    def _attach(self, connection: socket.socket, body: bytes) -> None:
        streams = self._resting or (self._processes[0].streams if 0 in self._processes else None)
        if streams is None:  # it has ended since they connected
            connection.close()
            return
        try:
            request = protocol.attach_request.decode(body)
            connection.send(packet(Kind.STARTED, protocol.encode(Started())), socket.MSG_DONTWAIT)
        except (msgspec.MsgspecError, OSError):
            connection.close()
            return
        self._join(connection, streams, request, owner=False)

    def _list(self, connection: socket.socket) -> None:
        self._past.tell(connection, [each for each in self._processes.values() if each.number])
        connection.close()

    # -- exec

    def _exec(self, connection: socket.socket, body: bytes) -> None:
        why = ""
        if self._resting is not None:
            why = f"Container {self._brief.id} is restarting, wait until the container is running"
        elif self._paused:  # the process would stand still before it could say that it was made
            why = f"container {self._brief.id} is paused, unpause the container before exec"
        if why:
            tell(connection, packet(Kind.ERROR, protocol.encode(Failure("Conflict", why))))
            connection.close()
            return
        if 0 not in self._processes:
            connection.close()
            return
        init = self._processes[0]
        try:
            builder, made = self._builders.fork(
                lambda theirs: build.process(self._brief, init.pid, init.pidfd, body, theirs)
            )
        except OSError as error:  # too many processes
            tell(connection, packet(Kind.ERROR, protocol.encode(Failure.of(error))))
            connection.close()
            return
        self._loop.watch(made.fileno(), POLLIN, lambda _: self._added(builder, made, connection))

    def _handed_over(self, builder: int, made: socket.socket) -> tuple[bytes, list[int]]:
        """A builder has handed over a process, or has failed, or was killed: then it is an ERROR."""
        self._loop.forget(made.fileno())
        message, descriptors = build.receive(made)
        self._builders.part(builder, made)
        if not message:
            refusal = Failure("StartFailed", "the process that was to start it was killed")
            message = packet(Kind.ERROR, protocol.encode(refusal))
        elif message[0] == Kind.STARTED and 0 not in self._processes:  # the container has ended, and it too
            for descriptor in descriptors:
                os.close(descriptor)
            refusal = Failure("Unavailable", "the container has ended")
            message = packet(Kind.ERROR, protocol.encode(refusal))
        if message[0] != Kind.STARTED:
            self._builders.end_strangers()
        return message, descriptors

    def _take_in(
        self, added: Built, descriptors: list[int], sink: Sink | None, checks: Checks | None
    ) -> Process:
        descriptor, *rest = descriptors
        self._last += 1
        with suppress(OSError):  # no room: it is not listed
            path = f"{self._brief.run_directory}/{protocol.ADDED}"
            os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))
        streams = self._streams(added, rest, sink, close_on_leave=True)
        about = added.about.copy()
        process = Process(self._last, added.pid, descriptor, streams, added.id, about, checks)
        self._processes[process.number] = process
        self._children.know(added.pid)
        self._loop.watch(descriptor, POLLIN, lambda _: self._exec_exited(process))
        return process

    def _added(self, builder: int, made: socket.socket, connection: socket.socket) -> None:
        message, descriptors = self._handed_over(builder, made)
        if message[0] != Kind.STARTED:
            tell(connection, message)
            connection.close()
            return
        added = build.built.decode(message[1:])
        process = self._take_in(added, descriptors, None, None)
        started = Started(process=process.number, pid=added.pid)
        tell(connection, packet(Kind.STARTED, protocol.encode(started)))
        if added.detach:
            connection.close()
        else:
            wanted = AttachRequest(stdin=added.stdin, stdout=added.stdout, stderr=added.stderr)
            self._join(connection, process.streams, wanted, owner=True)

    # -- the health check

    def _probe(self, output: Output) -> None:
        """Have its command run; whatever becomes of that, ``self._checks`` hears it."""
        init, checks = self._processes[0], self._checks
        assert checks is not None
        if self._paused:  # it could not run either
            checks.cancel()
            checks.rest()
            return
        try:
            builder, made = self._builders.fork(
                lambda theirs: build.process(self._brief, init.pid, init.pidfd, self._owner.probe(), theirs)
            )
        except OSError as error:
            checks.failed(str(error))
            return
        self._loop.watch(made.fileno(), POLLIN, lambda _: self._probing(builder, made, output, checks))

    def _probing(self, builder: int, made: socket.socket, output: Output, checks: Checks) -> None:
        message, descriptors = self._handed_over(builder, made)
        if message[0] == Kind.STARTED:
            process = self._take_in(build.built.decode(message[1:]), descriptors, output, checks)
            if checks.late:
                self._signal(SIGKILL, process)
        elif checks is self._checks:
            checks.failed(protocol.failure.decode(message[1:]).message)

    def _kill_probe(self) -> None:
        for process in self._processes.values():
            if process.checks is not None:
                self._signal(SIGKILL, process)

    def _probed(self, start: str, end: str, code: int, output: str) -> bool:
        starting, action = self._owner.probed(start, end, code, output)
        if action == "kill":
            self._signal(SIGKILL)
        elif action:
            self._stop()
        return starting
