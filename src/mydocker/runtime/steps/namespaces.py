"""What clone3 leaves to do about namespaces: to join, cgroup and time, maps of users; and names in them.

New user, mount, PID, network, IPC and UTS namespaces are flags of clone3(2) (``runtime/clone.py``). Left for
init: joining by path, ``unshare(CLONE_NEWCGROUP)`` (which takes the cgroup that init is in by now as its
root), and the time namespace, which a process can only enter after its offsets are written
(time_namespaces(7)).
"""

from __future__ import annotations

import errno
import os

from mydocker.errors import NotSupported
from mydocker.linux import namespace, prctl
from mydocker.linux.host import interface_up, setdomainname, sethostname
from mydocker.linux.keyring import join_session_keyring
from mydocker.runtime.channel import close_all
from mydocker.runtime.step import Context, Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.oci.runtime import TimeOffset


class JoinNamespace(Step):
    """setns(2) to a namespace given by path, of which the runtime holds a descriptor."""

    __slots__ = ("descriptor", "kind", "path")

    def __init__(self, kind: str, path: str, descriptor: int) -> None:
        self.kind = kind
        self.path = path
        self.descriptor = descriptor

    def describe(self) -> str:
        return f"join the {self.kind} namespace {self.path}"

    def apply(self, context: Context) -> None:
        namespace.setns(self.descriptor, namespace.KINDS[self.kind][0])
        if self.kind == "user":
            become_root()

    def observe(self, context: Context) -> str:
        return observed(self.kind)


class NewNamespaces(Step):
    """Nothing to do: shows what the clone made."""

    __slots__ = ("before", "kinds")

    def __init__(self, kinds: list[str]) -> None:
        self.kinds = kinds
        self.before = {kind: namespace.inode(kind) for kind in kinds}

    def describe(self) -> str:
        return f"clone a process into new namespaces: {', '.join(self.kinds)}"

    def apply(self, context: Context) -> None:
        pass

    def observe(self, context: Context) -> str:
        return ", ".join(f"{kind} {self.before[kind]} -> {namespace.inode(kind)}" for kind in self.kinds)


class JoinedCgroups(Step):
    """Nothing to do: shows where the clone and ``Cgroup.join`` have put this process."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self) -> str:
        return f"begin in the cgroup {self.path} of every hierarchy"

    def apply(self, context: Context) -> None:
        pass

    def observe(self, context: Context) -> str:
        with open("/proc/self/cgroup") as file:
            return ", ".join(line.strip().partition(":")[2] for line in file)


class MapUsers(Step):
    """Wait until the runtime has written uid_map and gid_map, then be root by them (user_namespaces(7))."""

    __slots__ = ()

    def describe(self) -> str:
        return "map user and group ids into the user namespace"

    def apply(self, context: Context) -> None:
        context.channel.send("map")
        if context.channel.receive()[0] != "go":
            os._exit(1)
        become_root()

    def observe(self, context: Context) -> str:
        with open("/proc/self/uid_map") as file:
            return "uid_map " + "; ".join(" ".join(line.split()) for line in file)


def become_root() -> None:
    """Take id 0 of the user namespace just entered, and with it the right to what its mounts need."""
    with open("/proc/self/setgroups") as file:
        allowed = file.read().strip() == "allow"
    os.setresgid(0, 0, 0)
    if allowed:
        os.setgroups([])
    os.setresuid(0, 0, 0)
    prctl.set_dumpable(False)  # a change of ids resets it, to fs.suid_dumpable


class NewCgroupNamespace(Step):
    __slots__ = ()

    def describe(self) -> str:
        return "make a new cgroup namespace, with this container's cgroups as its root"

    def apply(self, context: Context) -> None:
        namespace.unshare(namespace.CLONE_NEWCGROUP)

    def observe(self, context: Context) -> str:
        with open("/proc/self/cgroup") as file:
            groups = ", ".join(file.read().split())
        return f"{observed('cgroup')}; {groups}"


class NewTimeNamespace(Step):
    """A time namespace with offsets, which have to be written before anything enters it."""

    __slots__ = ("offsets",)

    def __init__(self, offsets: dict[str, TimeOffset]) -> None:
        self.offsets = offsets

    def describe(self) -> str:
        text = ", ".join(f"{c} {o.get('secs', 0):+d}s" for c, o in self.offsets.items())
        return "make a new time namespace" + (f", with offsets {text}" if text else "")

    def apply(self, context: Context) -> None:
        namespace.unshare(namespace.CLONE_NEWTIME)
        if self.offsets:
            # By the runtime: in a user namespace, who is not dumpable does not own its /proc files.
            lines = [f"{c} {o.get('secs', 0)} {o.get('nanosecs', 0)}\n" for c, o in self.offsets.items()]
            context.channel.send("offsets", "".join(lines))
            if context.channel.receive()[0] != "go":
                os._exit(1)
        descriptor = os.open("/proc/self/ns/time_for_children", os.O_RDONLY | os.O_CLOEXEC)
        try:
            namespace.setns(descriptor, namespace.CLONE_NEWTIME)
        finally:
            os.close(descriptor)

    def observe(self, context: Context) -> str:
        return observed("time")


class Loopback(Step):
    """A new network namespace starts with its only interface down."""

    __slots__ = ()

    def describe(self) -> str:
        return "bring the loopback interface up"

    def apply(self, context: Context) -> None:
        interface_up("lo")

    def observe(self, context: Context) -> str:
        return interfaces()


class ConnectedNetwork(Step):
    """Wait until the runtime has put its links into the network namespace. A pipe, so as not to wait for a
    runtime that is gone."""

    __slots__ = ("_pipe",)

    def __init__(self) -> None:
        self._pipe: list[int] = []

    def describe(self) -> str:
        return "wait until the network is connected"

    def prepare(self) -> None:
        self._pipe += os.pipe()

    def done(self) -> None:
        os.write(self._pipe[1], b".")

    def release(self) -> None:
        close_all(self._pipe)

    def apply(self, context: Context) -> None:
        reading, writing = self._pipe
        os.close(writing)
        if not os.read(reading, 1):
            os._exit(1)

    def observe(self, context: Context) -> str:
        return interfaces()


class Hostname(Step):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        return f"set the host name to {self.name}"

    def apply(self, context: Context) -> None:
        sethostname(self.name)

    def observe(self, context: Context) -> str:
        return f"uname -n: {os.uname().nodename}"


class Domainname(Step):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> str:
        return f"set the domain name to {self.name}"

    def apply(self, context: Context) -> None:
        setdomainname(self.name)

    def observe(self, context: Context) -> str:
        with open("/proc/sys/kernel/domainname") as file:
            return f"kernel.domainname: {file.read().strip()}"


class SessionKeyring(Step):
    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        self.id = id

    def describe(self) -> str:
        return "join a new session keyring"

    def apply(self, context: Context) -> None:
        new_keyring(self.id)


def new_keyring(id: str) -> None:
    try:
        join_session_keyring(f"_ses.{id}")
    except OSError as error:
        if error.errno != errno.ENOSYS:  # a kernel without keyrings has none to hide
            raise


class Session(Step):
    __slots__ = ()

    def describe(self) -> str:
        return "start a new session"

    def apply(self, context: Context) -> None:
        os.setsid()


def interfaces() -> str:
    with open("/proc/net/dev") as file:
        names = [line.split(":")[0].strip() for line in file if ":" in line]
    return f"interfaces: {', '.join(names)}"


def observed(kind: str) -> str:
    return f"{kind}:[{namespace.inode(kind)}]"


def require(kind: str) -> None:
    """Raise ``NotSupported`` if this kernel has no namespaces of ``kind``."""
    if not os.path.exists(f"/proc/self/ns/{namespace.KINDS[kind][1]}"):
        raise NotSupported(f"this kernel has no {kind} namespaces")
