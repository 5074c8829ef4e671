"""Making the container and adding processes to it, in a process of their own that ends when it is done.

A builder is forked by the monitor. What it makes are children of the monitor (``CLONE_PARENT``), and it hands
over a descriptor for everything that the monitor then serves: pidfd, listening socket, pipes or terminal.

Why not in the monitor itself: the work writes to some thousand pages, each of which the kernel would copy for
the monitor, to be kept for as long as the container runs. That is the difference between a monitor of 6 MB
and one that weighs what conmon does.
"""

import os
import signal
import socket
from typing import Any

import msgspec

from .. import errors
from ..linux.pidfd import is_exiting
from ..runtime import cgroup
from ..runtime import task as runtime
from ..runtime.create import create
from ..runtime.dialogue import compile_filter
from ..runtime.rootfs import Overlay
from ..runtime.waiting import WaitingInit
from . import protocol
from .client import listen
from .owner import Connected, Starting
from .plan import Brief, Plan, decode_plan, encode
from .protocol import Event, Failure, Kind, Started, packet

HELD = 200
"""descriptors in one message; the kernel takes 253 (SCM_MAX_FD)"""


class Built(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Handed over with the descriptors pidfd, then for a container's first start its listening socket, then
    the streams: the terminal's master, or what there is of standard input, output and error; then ``dns`` of
    its resolver. The ``held`` ones come in messages that follow; the first of them are ``served`` by the
    proxy, each for the address and port that is told."""

    pid: int
    terminal: bool = False
    input: bool = False
    output: bool = False
    dns: int = 0
    held: int = 0
    served: list[tuple[str, int]] = []
    # what an exec asked for
    id: str = ""
    about: msgspec.Raw = msgspec.Raw(b"null")
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach: bool = False


built = msgspec.json.Decoder(Built)


class _Pipes:
    """The standard streams of a process without a terminal: our ends, and its own until it has them."""

    __slots__ = ("ours", "theirs")

    def __init__(self, *, stdin: bool, output: bool) -> None:
        self.ours: list[int] = []
        self.theirs: list[int] = []
        for fd in (0, 1, 2):
            if fd == 0 and stdin:
                theirs, ours = os.pipe2(os.O_CLOEXEC)
            elif fd and output:
                ours, theirs = os.pipe2(os.O_CLOEXEC)
            else:
                self.theirs.append(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC))
                continue
            self.ours.append(ours)
            self.theirs.append(theirs)

    @property
    def stdio(self) -> runtime.Stdio:
        return runtime.Stdio(*self.theirs)


def read_plan(fd: int) -> Plan:
    return decode_plan(os.pread(fd, os.fstat(fd).st_size, 0))


def write_plan(fd: int, plan: Plan) -> None:
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    view = memoryview(encode(plan))
    while view:
        view = view[os.write(fd, view) :]


def container(
    brief: Brief,
    owner: Starting,
    starter: socket.socket,
    monitor: socket.socket,
    waiting: WaitingInit | None = None,
    *,
    orders: bool = False,
) -> None:
    """Make and start the container and hand it over, with ``orders`` for a monitor that knows nothing of it
    (``dormant.py``); or tell the owner and the starter why not."""
    plan = read_plan(brief.plan)
    _renumber(plan.spec, brief)
    try:
        _make(brief, owner, plan, monitor, starter, waiting, orders=orders)
    except Exception as error:  # noqa: BLE001 - whatever it was goes to the starter
        owner.failed(error)
        tell(starter, packet(Kind.ERROR, protocol.encode(Failure.of(error))))


def again(brief: Brief, owner: Starting, monitor: socket.socket) -> None:
    """The same for one that has ended and is started again, as its record says by now.

    The monitor, which goes on listening, hears the exit code (EXIT) where that fails.
    """
    try:
        plan = owner.plan()
        write_plan(brief.plan, plan)
        _make(brief, owner, plan, monitor, None)
    except Exception as error:  # noqa: BLE001 - whatever it was is written down
        tell(monitor, packet(Kind.EXIT, b"%d" % owner.failed(error)))


def _make(
    brief: Brief,
    owner: Starting,
    plan: Plan,
    monitor: socket.socket,
    starter: socket.socket | None,
    waiting: WaitingInit | None = None,
    *,
    orders: bool = False,
) -> None:
    terminal = bool(plan.spec["process"].get("terminal"))
    task = None
    network = Connected()

    def connect(pid: int) -> None:
        nonlocal network
        network = owner.connect(pid)

    try:
        with owner.trees(plan.spec):
            pipes = None if terminal else _Pipes(stdin=plan.open_stdin, output=True)
            task = create(
                plan.spec,  # type: ignore[arg-type]
                id=brief.id,
                bundle=plan.bundle,
                rootfs=Overlay(plan.lowers, plan.upper, plan.work, plan.target, volatile=plan.volatile),
                stdio=pipes.stdio if pipes is not None else None,
                console_rows_columns=plan.size,
                init_binary=plan.init,
                observer=_observer(starter) if plan.explain and starter is not None else None,
                parent_death_signal=signal.SIGKILL,
                seccomp_cache=plan.seccomp_cache,
                for_parent=True,
                connect=connect if plan.connected else None,
                at_once=True,
                waiting=waiting,
            )
            # while init makes its mounts: whoever waits for a short program waits for what comes after it
            listener = [listen(brief.run_directory)] if starter is not None else []
            note = owner.starting()
            task.start()
            note(task.pid)
        if orders:
            known = msgspec.structs.replace(brief, namespaces=[], named=[])
            socket.send_fds(monitor, [encode(known)], known.descriptors)
        kind = Kind.QUIET if starter is not None and brief.rests and not network.held else Kind.STARTED
        _hand_over_task(monitor, kind, task, pipes, network, listener, plan)
        owner.begun()
        if starter is not None and brief.attach is None:
            tell(starter, packet(Kind.STARTED, protocol.encode(Started(pid=task.pid))))
    except Exception:
        if task is not None:
            task.delete()  # also one that runs, for its monitor is gone
        raise


def _hand_over_task(
    monitor: socket.socket,
    kind: Kind,
    task: runtime.Task,
    pipes: _Pipes | None,
    network: Connected,
    listener: list[socket.socket],
    plan: Plan,
) -> None:
    streams = [task.console] if pipes is None and task.console is not None else []
    if pipes is not None:
        streams += pipes.ours
    dns = [each.fileno() for each in network.dns]
    ports = sorted(network.held, key=lambda each: not each.address)
    held = [each.handle.fileno() for each in ports]
    answer = Built(
        pid=task.pid,
        terminal=pipes is None,
        input=plan.open_stdin,
        output=True,
        dns=len(dns),
        held=len(held),
        served=[(each.address, each.port) for each in ports if each.address],
    )
    _hand_over(monitor, kind, answer, [task.pidfd, *(each.fileno() for each in listener), *streams, *dns])
    for first in range(0, len(held), HELD):
        socket.send_fds(monitor, [b"held"], held[first : first + HELD])


def process(brief: Brief, pid: int, pidfd: int, body: bytes, monitor: socket.socket) -> None:
    """Add a process to the container whose init this is and hand it over; or tell the monitor why not."""
    try:
        request = protocol.exec_request.decode(body)
        plan = read_plan(brief.plan)
        spec: Any = plan.spec
        task = runtime.Task(
            spec,
            brief.id,
            plan.bundle,
            pid=pid,
            pidfd=pidfd,
            cgroup=cgroup.open(spec["linux"]["cgroupsPath"]),
            channel=None,
            filter=compile_filter(spec, plan.seccomp_cache),
        )
        terminal = bool(request.process.get("terminal"))
        pipes = None if terminal else _Pipes(stdin=request.stdin, output=not request.detach)
        added = task.exec(
            request.process,  # type: ignore[arg-type]
            pipes.stdio if pipes is not None else None,
            console_rows_columns=(request.rows, request.columns) if request.rows else None,
            parent_death_signal=signal.SIGKILL,
            for_parent=True,
        )
    except Exception as error:  # noqa: BLE001 - whatever it was goes to the client
        ended = is_exiting(pid, pidfd)  # that is why, however it showed
        failure = Failure.of(errors.Unavailable("the container has ended") if ended else error)
        tell(monitor, packet(Kind.ERROR, protocol.encode(failure)))
        return
    streams = [added.console] if pipes is None and added.console is not None else []
    if pipes is not None:
        streams += pipes.ours
    answer = Built(
        pid=added.pid,
        terminal=terminal,
        input=request.stdin,
        output=not request.detach,
        id=request.id,
        about=request.about,
        stdin=request.stdin,
        stdout=request.stdout,
        stderr=request.stderr,
        detach=request.detach,
    )
    _hand_over(monitor, Kind.STARTED, answer, [added.pidfd, *streams])


def _renumber(spec: dict[str, Any], brief: Brief) -> None:
    """Have the document call the namespaces of other containers by the numbers that they have here."""
    place = "/proc/self/fd/{}".format
    places = {place(there): place(here) for there, here in zip(brief.named, brief.namespaces, strict=True)}
    for namespace in spec["linux"]["namespaces"]:
        if namespace.get("path") in places:
            namespace["path"] = places[namespace["path"]]


def _observer(starter: socket.socket) -> Any:
    def observe(event: Any) -> None:
        tell(starter, packet(Kind.EVENT, protocol.encode(Event(event.step, event.observed))))

    return observe


def _hand_over(monitor: socket.socket, kind: Kind, answer: Built, descriptors: list[int]) -> None:
    socket.send_fds(monitor, [packet(kind, protocol.encode(answer))], descriptors)


def tell(connection: socket.socket, message: bytes) -> None:
    """Send to somebody who may have been killed by now: nothing depends on whether it is heard."""
    try:
        connection.send(message)
    except OSError:
        return


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """What a builder says, and the descriptors that it hands over; nothing if it was killed, or if there is
    no room for all of these (RLIMIT_NOFILE)."""
    message, descriptors, flags, _ = socket.recv_fds(
        connection, protocol.LONG_PACKET, protocol.DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
    )
    if flags & socket.MSG_CTRUNC:
        for descriptor in descriptors:
            os.close(descriptor)
        return b"", []
    return rest(connection, message, descriptors)


def rest(connection: socket.socket, message: bytes, descriptors: list[int]) -> tuple[bytes, list[int]]:
    """The same, when its first message has been received."""
    left = built.decode(message[1:]).held if message and message[0] == Kind.STARTED else 0
    while left > 0:
        _, held, _, _ = socket.recv_fds(connection, 8, HELD, socket.MSG_CMSG_CLOEXEC)
        if not held:
            return b"", []
        descriptors += held
        left -= len(held)
    return message, descriptors
