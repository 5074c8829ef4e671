"""An init that waits for its container: what takes long, and most containers need alike, done in advance.

    made = wait("/mydocker/<id>", {…})    a cgroup in every hierarchy, new namespaces, a process in them
    create(spec, …, waiting=made)         gives it limits and orders, and it goes on as init
    made.discard()                        nothing is left of it; without effect once it is a container's

It is in PID, network, IPC and UTS namespaces of its own, and until it has orders in the mount namespace of
its maker: it keeps no file system busy, and sees what is mounted later. It ends when its maker does.

The orders are the steps that the maker has prepared (``step.py``), pickled, since both are forks of one
process; and all descriptors of the maker, under the numbers that they have there, as after a fork.
"""

from __future__ import annotations

import _pickle
import fcntl
import os

from mydocker.errors import Error
from mydocker.linux import memory, namespace, prctl
from mydocker.linux.host import interface_up
from mydocker.linux.namespace import CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWUTS
from mydocker.linux.pidfd import is_exiting
from mydocker.linux.process import CLONE_PARENT, SIGKILL, close_all_but
from mydocker.runtime import cgroup as cgroups
from mydocker.runtime import clone, init
from mydocker.runtime.channel import DESCRIPTORS, Channel
from mydocker.runtime.step import Context, run
from mydocker.runtime.steps.limits import KernelParameters
from mydocker.runtime.steps.namespaces import JoinNamespace
from mydocker.runtime.task import end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import Resources, Spec
    from mydocker.runtime.cgroup import Cgroup
    from mydocker.runtime.plan_container import Namespaces

_OWN = ("network", "ipc", "uts")
"""kinds that it has anew, besides ``pid``, and can leave for others"""
_MOST_MOUNTS = 200
"""each may have a descriptor, and there is a moment when init has them twice"""


class WaitingInit:
    """The maker's side. It owns the process, the cgroup and the channel until ``begin``."""

    __slots__ = ("_cgroup", "_channel", "_path", "_pid", "_pidfd")

    def __init__(self, path: str, cgroup: Cgroup, channel: Channel, pid: int, pidfd: int) -> None:
        self._path = path
        self._cgroup: Cgroup | None = cgroup
        self._channel = channel
        self._pid = pid
        self._pidfd = pidfd

    def fits(self, spec: Spec, own: Namespaces, path: str) -> bool:
        """Whether it can be the init of a container with these namespaces, and this path of its cgroup."""
        alone = "pid" in own.new and "mount" in own.new and "user" not in own.own()
        few = len(spec.get("mounts", ())) <= _MOST_MOUNTS
        return alone and few and path == self._path and not is_exiting(self._pid, self._pidfd)

    def limited(self, resources: Resources) -> Cgroup:
        """Its cgroup, with the limits of ``linux.resources``. It stays this object's until ``begin``."""
        assert self._cgroup is not None
        self._cgroup.update(resources)
        return self._cgroup

    def begin(self, start: init.Start, own: Namespaces) -> tuple[int, int, Channel]:
        """Give it its orders; return pid, pidfd and channel, which are the caller's then, as is the cgroup.

        If it has ended meanwhile, the channel says so.
        """
        joined = {**own.joined, **{kind: own.hold_host(kind) for kind in _OWN if kind not in own.own()}}
        orders = encode(start, [JoinNamespace(kind, *place) for kind, place in joined.items()])
        descriptor = os.memfd_create("orders", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, orders)
            self._cgroup = None
            send(self._channel, descriptor)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            os.close(descriptor)
        return self._pid, self._pidfd, self._channel

    def discard(self) -> None:
        cgroup, self._cgroup = self._cgroup, None
        if cgroup is not None:
            self._channel.close()
            try:
                end(self._pidfd, cgroup)
            finally:
                os.close(self._pidfd)


def encode(start: init.Start, joins: list[JoinNamespace]) -> bytes:
    return _pickle.dumps((start, joins))


def decode(orders: bytes) -> tuple[init.Start, list[JoinNamespace]]:
    """What ``encode`` was given, in another fork of the same process."""
    found: tuple[init.Start, list[JoinNamespace]] = _pickle.loads(orders)
    return found


def wait(path: str, parameters: dict[str, str]) -> WaitingInit:
    """Make one, in the cgroup ``path`` without limits, as a child of the caller's parent. Its namespaces have
    the kernel ``parameters`` (sysctl(8)).

    Raises a class of ``errors`` or ``OSError``; nothing is left then.
    """
    cgroup = cgroups.prepare(path, {})
    ours, theirs = Channel.pair()
    try:
        flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PARENT
        pid, pidfd = clone.clone(lambda: _wait(theirs, cgroup, parameters), flags, cgroup.fd)
    except BaseException:
        ours.close()
        cgroup.remove()
        raise
    finally:
        theirs.close()
    cgroup.close()
    return WaitingInit(path, cgroup, ours, pid, pidfd)


def _wait(channel: Channel, cgroup: Cgroup, parameters: dict[str, str]) -> None:
    prctl.set_dumpable(False)
    prctl.set_pdeathsig(SIGKILL)
    memory.own_pages("init")  # before it is in the cgroup of version 1, where they would count
    cgroup.join()
    interface_up("lo")
    try:
        KernelParameters(parameters, {"network"}).apply(Context(channel))
    except (Error, OSError):
        parameters = {}  # it fails again in the container, which can say so
    close_all_but((0, 1, 2, channel.fileno()))
    channel, start, joins = receive(channel)

    def enter(context: Context) -> None:
        context.parameters = parameters
        namespace.unshare(namespace.CLONE_NEWNS)
        run([*joins], context, start.observing)

    init.main(start, channel, enter)


def send(channel: Channel, orders: int) -> None:
    """All descriptors of this process but the standard streams and the channel; among them are the orders."""
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    wanted = sorted(
        n for n in numbers if n > 2 and n != channel.fileno() and os.path.lexists(f"/proc/self/fd/{n}")
    )
    for first in range(0, len(wanted), DESCRIPTORS):
        some = wanted[first : first + DESCRIPTORS]
        channel.send("descriptors", *map(str, some), descriptors=some)
    channel.send("orders", str(orders))


def receive(channel: Channel) -> tuple[Channel, init.Start, list[JoinNamespace]]:
    """Have what ``send`` has sent. Returns the channel, which may have had to give way, and the orders."""
    numbers: list[int] = []
    received: list[int] = []
    while True:
        kind, fields, descriptors = channel.receive()
        if kind == "orders":
            break
        if kind != "descriptors":
            os._exit(0)  # nobody needs it
        numbers += map(int, fields)
        received += descriptors
    above = max(*numbers, *received) + 1
    channel = channel.moved(above)  # all are out of the way of each other
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in received]
    os.closerange(3, above)
    for descriptor, number in zip(moved, numbers, strict=True):
        os.dup2(descriptor, number, inheritable=False)
        os.close(descriptor)
    descriptor = int(fields[0])
    orders = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    return channel, *decode(orders)
